use super::*;
use crate::MapShape;
use crate::naive::{assert_close, noise};

const LEAKY: Activation = Activation::LeakyRelu { slope: 0.2 };

/// A layer for each form but im2col: few channels, two kinds of Winograd's, and one pixel.
fn geometries() -> [Geometry; 4] {
    let map = |channels, side| MapShape { channels, height: side, width: side };
    [
        Geometry::of_conv(map(1, 28), 16, 4, 2, 1),
        Geometry::of_conv(map(16, 14), 32, 4, 2, 1),
        Geometry::of_conv(map(16, 12), 32, 3, 1, 1),
        Geometry::of_conv(map(16, 14), 32, 1, 1, 0),
    ]
}

/// The same layer by im2col, for any shapes.
fn by_im2col(conv: &Conv) -> Conv {
    Conv { form: Form::Im2col, ..conv.clone() }
}

/// The output and all gradients.
fn both_ways(conv: &Conv, activation: Activation) -> Vec<Vec<f32>> {
    let (from, to) = (conv.g.map(conv.from), conv.g.map(conv.from.other()));
    let (input, bias) = (noise(3 * from.len(), 1), noise(to.channels, 3));
    // Weights for sums of about 1: tanh is flat at larger ones, and all that is left of their gradient is rounding.
    let weights: Vec<f32> = noise(conv.g.num_weights(), 2).iter().map(|w| 0.1 * w).collect();
    let out = conv.forward(&input, &weights, &bias, activation);
    let signs = activation::signs(conv.isa, &out);
    let activated = match activation {
        Activation::Identity => Activated::Identity,
        Activation::LeakyRelu { slope } => Activated::LeakyRelu(&signs, slope),
        Activation::Tanh => Activated::Tanh(&out),
    };
    let backward = |input| {
        conv.backward(input, &weights, activated, &mut noise(out.len(), 4), Wants { params: true, input: true })
    };
    let grads = backward(Input::Shared(&input));
    assert_eq!(backward(Input::Own(input.clone())), grads, "{}: the gradient may take the input's place", conv.form());
    vec![out, grads.weights.unwrap(), grads.bias.unwrap(), grads.input.unwrap()]
}

#[test]
fn all_forms_agree_forwards_and_backwards_with_every_activation() {
    for (g, isa) in geometries().iter().flat_map(|g| Isa::available().into_iter().map(move |isa| (g, isa))) {
        for (activation, from) in [Activation::Identity, LEAKY, Activation::Tanh]
            .into_iter()
            .flat_map(|activation| [(activation, Side::Input), (activation, Side::Output)])
        {
            let conv = Conv::new(isa, Precision::F32, g, from, 3);
            assert_ne!(conv.form(), "im2col", "{g:?}");
            let (fast, plain) = (both_ways(&conv, activation), both_ways(&by_im2col(&conv), activation));
            for (fast, plain) in fast.iter().zip(&plain) {
                let plain: Vec<f64> = plain.iter().map(|&x| f64::from(x)).collect();
                // f32 sums in another order. A leaky ReLU's derivative jumps at zero, but no sum here is that close.
                assert_close(isa.name(), fast, &plain, 5e-5);
            }
        }
    }
}

#[test]
fn bf16_products_are_close_to_f32_ones() {
    let isa = Isa::wanted().unwrap();
    if !Precision::Bf16.is_available(isa) {
        eprintln!("skipped: AVX-512 BF16 is not available with {}", isa.name());
        return;
    }
    for (g, from) in [geometries()[1], geometries()[2]].into_iter().flat_map(|g| [(g, Side::Input), (g, Side::Output)])
    {
        let [rounded, exact] = [Precision::Bf16, Precision::F32]
            .map(|precision| both_ways(&Conv::new(isa, precision, &g, from, 3), Activation::Identity));
        for (part, (rounded, exact)) in ["out", "weights", "bias", "input"].iter().zip(rounded.iter().zip(&exact)) {
            let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
            let off = norm(&mut rounded.iter().zip(exact).map(|(a, b)| a - b));
            let share = off / norm(&mut exact.iter().copied());
            // 8 bits of mantissa are off by 2⁻⁹, and the transforms multiply that by a few; no product is part of
            // the bias' gradient.
            assert!(share < 2e-2 && (share > 1e-4 || *part == "bias"), "{part} is off by {share}");
        }
    }
}

#[test]
fn no_images_give_no_maps_and_gradients_of_zero() {
    for (g, isa) in geometries().iter().flat_map(|g| Isa::available().into_iter().map(move |isa| (g, isa))) {
        for conv in [
            Conv::new(isa, Precision::F32, g, Side::Input, 0),
            by_im2col(&Conv::new(isa, Precision::F32, g, Side::Input, 0)),
        ] {
            let weights = noise(g.num_weights(), 1);
            let out = conv.forward(&[], &weights, &vec![1.0; g.output.channels], LEAKY);
            assert_eq!(out, []);
            let wants = Wants { params: true, input: true };
            let grads = conv.backward(Input::Shared(&[]), &weights, Activated::Identity, &mut [], wants);
            let zeros = |len| Some(vec![0.0; len]);
            let expected = (zeros(g.num_weights()), zeros(g.output.channels), zeros(0));
            assert_eq!((grads.weights, grads.bias, grads.input), expected, "{}", conv.form());
        }
    }
}

/// The name of the form of a layer that reads the input map.
fn form(g: Geometry, n: usize) -> &'static str {
    Conv::new(Isa::PORTABLE, Precision::F32, &g, Side::Input, n).form()
}

#[test]
fn each_layer_has_the_form_that_costs_least() {
    let map = |channels, side| MapShape { channels, height: side, width: side };
    for (g, name) in [
        (Geometry::of_conv(map(3, 32), 64, 4, 2, 1), "few channels"),
        (Geometry::of_conv(map(3, 32), 64, 3, 1, 1), "few channels"),
        (Geometry::of_conv(map(64, 14), 128, 4, 2, 1), "F(4, 2)"),
        (Geometry::of_conv(map(512, 8), 1024, 4, 2, 1), "F(4, 2)"),
        (Geometry::of_conv(map(64, 32), 64, 3, 1, 1), "F(4, 3)"),
        (Geometry::of_conv(map(64, 32), 64, 1, 1, 0), "pointwise"),
        (Geometry::of_conv(map(6, 9), 16, 5, 1, 0), "im2col"),
    ] {
        assert_eq!(form(g, 64), name, "{g:?}");
    }
}

#[test]
fn the_weights_of_a_wide_layer_are_not_transformed_for_a_single_image() {
    let g = Geometry::of_conv(MapShape { channels: 512, height: 8, width: 8 }, 1024, 4, 2, 1);
    assert_eq!(form(g, 1), "im2col");
}
