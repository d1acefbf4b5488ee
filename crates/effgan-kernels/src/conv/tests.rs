use super::*;
use crate::naive::{assert_close, noise};

const LEAKY: Activation = Activation::LeakyRelu { slope: 0.2 };

/// The outer and the inner layer of a small DCGAN: few channels and Winograd's form.
fn geometries() -> [Geometry; 2] {
    let map = |channels, side| MapShape { channels, height: side, width: side };
    [Geometry::of_conv(map(1, 28), 16, 4, 2, 1), Geometry::of_conv(map(16, 14), 32, 4, 2, 1)]
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
    let forward = Forward { input: &input, weights: &weights, out: &out, activation };
    let grads = conv.backward(forward, &mut noise(out.len(), 4), Wants { params: true, input: true });
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
    let g = geometries()[1];
    for from in [Side::Input, Side::Output] {
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
fn dividing_a_batch_into_chunks_changes_nothing_but_the_order_of_sums() {
    let g = geometries()[1];
    let conv = Conv::new(Isa::wanted().unwrap(), Precision::F32, &g, Side::Input, 7);
    let in_chunks = |size, whole, last: Option<usize>| {
        let chunks =
            Chunks { layout: ProductLayout::new(&g, size), whole, last: last.map(|n| ProductLayout::new(&g, n)) };
        Conv { form: Form::Winograd(Arc::new(chunks)), ..conv.clone() }
    };
    let (input, weights) = (noise(7 * g.input.len(), 1), noise(g.num_weights(), 2));
    let run = |conv: &Conv| {
        let out = conv.forward(&input, &weights, &[0.0; 32], LEAKY);
        let forward = Forward { input: &input, weights: &weights, out: &out, activation: LEAKY };
        let grads = conv.backward(forward, &mut noise(out.len(), 4), Wants { params: true, input: true });
        [out, grads.input.unwrap(), grads.weights.unwrap()]
    };
    let [whole, chunked] = [run(&in_chunks(7, 1, None)), run(&in_chunks(3, 2, Some(1)))];
    assert_eq!(whole[..2], chunked[..2]);
    let exact: Vec<f64> = whole[2].iter().map(|&x| f64::from(x)).collect();
    // The sum over images is folded in another order.
    assert_close("weights", &chunked[2], &exact, 1e-5);
}

#[test]
fn chunks_cover_all_images_and_are_small_enough() {
    let map = MapShape { channels: 64, height: 14, width: 14 };
    let g = Geometry::of_conv(map, 128, 4, 2, 1);
    for n in [0, 1, 16, 63, 64, 65] {
        let chunks = Chunks::new(&g, n);
        assert_eq!(chunks.each().map(|(_, layout)| layout.images()).sum::<usize>(), n);
        assert!(chunks.each().all(|(_, layout)| layout.products_len(Side::Input) <= MAX_PRODUCTS + 4 * 64 * 100));
    }
}
