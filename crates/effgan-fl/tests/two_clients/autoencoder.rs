//! A second model: a linear denoising autoencoder in plain Rust, whose decoder is the generator. The crate uses it only
//! through [`Model`].

use std::collections::BTreeMap;

use effgan_nn::Adam;
use effgan_nn::model::{BATCH, Batch, LossName, Model, NetworkSpec, Part, Sampler, StepPlan, Trainer};
use effgan_nn::networks::{Init, TensorSpec, check};
use effgan_nn::{Array, Device, Params, Purpose, Streams, pixels};

const LATENT: usize = 4;
const PIXELS: usize = 64;
const ENCODER: &str = "encoder";
const DECODER: &str = "decoder";
const LOSSES: [LossName; 3] = [
    LossName { key: "loss_image", of: "autoencoder" },
    LossName { key: "loss_z", of: ENCODER },
    LossName { key: "loss_total", of: "autoencoder" },
];

/// x ↦ D E (x + noise) for 1 × 8 × 8 images, with a penalty on z = E (x + noise).
#[derive(Debug)]
pub(crate) struct Autoencoder;

impl Model for Autoencoder {
    fn image_shape(&self) -> [usize; 3] {
        [1, 8, 8]
    }

    fn networks(&self) -> Vec<NetworkSpec> {
        let weight = |shape| vec![TensorSpec::new("weight", shape, Init::Normal { mean: 0.0, std: 0.1 })];
        let shapes = [(ENCODER, [LATENT, PIXELS]), (DECODER, [PIXELS, LATENT])];
        shapes.map(|(name, shape)| NetworkSpec { name, tensors: weight(shape) }).into()
    }

    fn generator(&self) -> &'static str {
        DECODER
    }

    fn losses(&self) -> &'static [LossName] {
        &LOSSES
    }

    fn trainer(&self, start: &Params, plan: &StepPlan, _: Device) -> effgan_nn::Result<Box<dyn Trainer>> {
        for network in self.networks() {
            check(&start.under(network.name), &network.tensors)?;
        }
        let velocity = |(name, array): (&String, &Array)| (name.clone(), zeros_like(array));
        let velocities = start.iter().map(velocity).collect();
        let adam = plan.adam.clone();
        Ok(Box::new(Training { params: start.clone(), velocities, adam, steps: 0, losses: Vec::new() }))
    }

    fn sampler(&self, generator: &Params, _: Device) -> effgan_nn::Result<Box<dyn Sampler>> {
        Ok(Box::new(Decoder(generator.get("weight")?.values().to_vec())))
    }
}

fn zeros_like(array: &Array) -> Array {
    Array::new(array.shape.clone(), vec![0.0; array.values().len()])
}

/// Gradient descent with momentum β₁ and the learning rates of the plan's Adam.
struct Training {
    params: Params,
    velocities: Params,
    adam: BTreeMap<&'static str, Adam>,
    steps: u64,
    losses: Vec<Vec<f32>>,
}

impl Training {
    fn weight(&self, network: &str) -> &[f32] {
        self.params.get(&format!("{network}.weight")).expect("it was checked").values()
    }

    fn descend(&mut self, network: &str, gradient: &[f32]) {
        let (name, Adam { learning_rate, beta1 }) = (format!("{network}.weight"), self.adam[network]);
        let mut velocity = self.velocities.get(&name).expect("each weight has one").clone();
        let mut weight = self.params.get(&name).expect("it was checked").clone();
        for ((weight, velocity), gradient) in weight.values_mut().iter_mut().zip(velocity.values_mut()).zip(gradient) {
            *velocity = beta1 as f32 * *velocity + gradient;
            *weight -= learning_rate as f32 * *velocity;
        }
        self.velocities.insert(name.clone(), velocity);
        self.params.insert(name, weight);
    }
}

/// The product of row-major `a` `[n, inner]` and `b` `[inner, m]`, given by `b(i, j)`.
fn product(a: &[f32], inner: usize, m: usize, b: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let row = |row: &[f32]| -> Vec<f32> { (0..m).map(|j| (0..inner).map(|i| row[i] * b(i, j)).sum()).collect() };
    a.chunks_exact(inner).flat_map(row).collect()
}

fn transposed(a: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|j| a.iter().skip(j).step_by(columns).copied()).collect()
}

fn mean_square(values: &[f32]) -> f32 {
    values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32
}

impl Trainer for Training {
    fn step(&mut self, batch: Batch<'_>, streams: &Streams) -> effgan_nn::Result<()> {
        let images = batch.images();
        let noise = streams.normal(Purpose::Latent, self.steps, images.len());
        let noisy: Vec<f32> = images.iter().zip(noise).map(|(pixel, noise)| pixel + 0.1 * noise).collect();
        let (e, d) = (self.weight(ENCODER), self.weight(DECODER));
        let z = product(&noisy, PIXELS, LATENT, |pixel, i| e[i * PIXELS + pixel]);
        let output = product(&z, LATENT, PIXELS, |i, pixel| d[pixel * LATENT + i]);
        let error: Vec<f32> = output.iter().zip(&images).map(|(output, image)| output - image).collect();
        let (loss_image, loss_z) = (mean_square(&error), 0.01 * mean_square(&z));
        // ∂loss/∂output and ∂loss/∂z.
        let by_output: Vec<f32> = error.iter().map(|error| 2.0 * error / images.len() as f32).collect();
        let mut by_z = product(&by_output, PIXELS, LATENT, |pixel, i| d[pixel * LATENT + i]);
        by_z.iter_mut().zip(&z).for_each(|(by_z, value)| *by_z += 0.02 * value / z.len() as f32);
        let n = images.len() / PIXELS;
        let by_d = product(&transposed(&by_output, PIXELS), n, LATENT, |row, i| z[row * LATENT + i]);
        let by_e = product(&transposed(&by_z, LATENT), n, PIXELS, |row, pixel| noisy[row * PIXELS + pixel]);
        self.descend(DECODER, &by_d);
        self.descend(ENCODER, &by_e);
        self.losses.push(vec![loss_image, loss_z, loss_image + loss_z]);
        self.steps += 1;
        Ok(())
    }

    fn drain_losses(&mut self) -> effgan_nn::Result<Vec<Vec<f32>>> {
        Ok(std::mem::take(&mut self.losses))
    }

    fn into_params(self: Box<Self>, part: Part) -> effgan_nn::Result<Params> {
        self.params(part)
    }

    fn params(&self, part: Part) -> effgan_nn::Result<Params> {
        Ok(match part {
            Part::Averaged => self.params.clone(),
            Part::Collected => self.params.under(DECODER).named_under(DECODER),
        })
    }

    fn state(&self) -> effgan_nn::Result<Params> {
        Ok(self.params.clone().merged_with(self.velocities.clone().named_under("velocity")))
    }

    fn restore(&mut self, state: &Params, steps: u64) -> effgan_nn::Result<()> {
        (self.velocities, self.steps) = (state.under("velocity"), steps);
        self.params = [ENCODER, DECODER]
            .map(|name| state.under(name).named_under(name))
            .into_iter()
            .fold(Params::new(), Params::merged_with);
        Ok(())
    }
}

/// z ↦ D z.
struct Decoder(Vec<f32>);

impl Sampler for Decoder {
    fn latent_dim(&self) -> usize {
        LATENT
    }

    fn draw(&self, z: Vec<f32>, _: &[u8]) -> effgan_nn::Result<Vec<u8>> {
        assert_eq!(z.len(), BATCH * LATENT);
        let images = product(&z, LATENT, PIXELS, |i, pixel| self.0[pixel * LATENT + i]);
        Ok(images.into_iter().map(|value| pixels::to_u8(value.clamp(-1.0, 1.0))).collect())
    }
}
