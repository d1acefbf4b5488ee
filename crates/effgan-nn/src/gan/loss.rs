//! The losses of a GAN: means over a batch of logits `[n, 1]`.

use burn::tensor::activation::{log_sigmoid, relu};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::networks::layers;
use crate::{Device, Result};

/// The loss that both networks minimise; D is the discriminator's logit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Goodfellow et al. 2014 (arXiv:1406.2661, §3), in nats: −log σ(D(x)) − log(1 − σ(D(G(z)))), and −log σ(D(G(z)))
    /// for the generator; 2 log 2 ≈ 1.39 and log 2 ≈ 0.69 when the discriminator cannot tell them apart.
    #[default]
    NonSaturating,
    /// LSGAN (Mao et al. 2017, arXiv:1611.04076, eq. 9): (D(x) − 1)² / 2 + D(G(z))² / 2, and (D(G(z)) − 1)² / 2 for the
    /// generator; 1/4 and 1/8 when the discriminator cannot tell them apart (its optimal output is then 1/2).
    LeastSquares,
    /// Lim & Ye 2017 (arXiv:1705.02894): max(0, 1 − D(x)) + max(0, 1 + D(G(z))), and −D(G(z)) for the generator, which
    /// may be below 0; 2 and 0 when the discriminator cannot tell them apart.
    Hinge,
}

impl Loss {
    /// The discriminator's loss on real and on generated images.
    pub(super) fn discriminator(self, d_real: Tensor<2>, d_fake: Tensor<2>) -> Tensor<1> {
        self.of_real(d_real).mean() + self.of_fake(d_fake).mean()
    }

    /// The discriminator's loss on each real image.
    pub(super) fn of_real(self, d_real: Tensor<2>) -> Tensor<2> {
        match self {
            Self::NonSaturating => -log_sigmoid(d_real),
            Self::LeastSquares => (d_real - 1.0).square() * 0.5,
            Self::Hinge => relu(-d_real + 1.0),
        }
    }

    /// The discriminator's loss on each generated image.
    pub(super) fn of_fake(self, d_fake: Tensor<2>) -> Tensor<2> {
        match self {
            // 1 − σ(a) is σ(−a), whose logarithm does not overflow.
            Self::NonSaturating => -log_sigmoid(-d_fake),
            Self::LeastSquares => d_fake.square() * 0.5,
            Self::Hinge => relu(d_fake + 1.0),
        }
    }

    /// The share of generated images that the discriminator takes for such, given its logits.
    pub(super) fn share_recognised(self, d_fake: &[f32]) -> f64 {
        // The logit of an image of which the optimal discriminator says that both kinds are equally likely.
        let middle = if self == Self::LeastSquares { 0.5 } else { 0.0 };
        d_fake.iter().filter(|logit| **logit < middle).count() as f64 / d_fake.len() as f64
    }

    /// The generator's loss, given the discriminator's `logits` for its images, and the gradient at each logit; computed
    /// on `device`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn of_generator(self, logits: Vec<f32>, device: Device) -> Result<(f32, Vec<f32>)> {
        let (n, on) = (logits.len(), device.for_training());
        let logits = Tensor::<2>::from_data(TensorData::new(logits, [n, 1]), &on.burn).require_grad();
        let loss = self.generator(logits.clone());
        let gradient = logits.grad(&loss.backward()).expect("the loss depends on its logits");
        Ok((layers::read(loss.inner())?[0], layers::read(gradient)?))
    }

    /// The generator's loss.
    pub(super) fn generator(self, d_fake: Tensor<2>) -> Tensor<1> {
        match self {
            Self::NonSaturating => -log_sigmoid(d_fake).mean(),
            Self::LeastSquares => (d_fake - 1.0).square().mean() * 0.5,
            Self::Hinge => -d_fake.mean(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::layers::values;

    const LOSSES: [Loss; 3] = [Loss::NonSaturating, Loss::LeastSquares, Loss::Hinge];

    fn logits(values: [f32; 2]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), [2, 1]), &Device::of_tests().for_training().burn)
    }

    fn assert_close(ours: &[f32], theirs: &[f32]) {
        assert_eq!(ours.len(), theirs.len());
        // Rounding of a few f32 operations on numbers of about 1.
        assert!(ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-6), "{ours:?} is not {theirs:?}");
    }

    /// The losses of the discriminator and the generator.
    fn losses(loss: Loss, real: [f32; 2], fake: [f32; 2]) -> [f32; 2] {
        [loss.discriminator(logits(real), logits(fake)), loss.generator(logits(fake))].map(|loss| values(loss)[0])
    }

    #[test]
    fn losses_by_hand() {
        let ln_2 = std::f32::consts::LN_2;
        let at_zero = [[2.0 * ln_2, ln_2], [0.5, 0.5], [2.0, 0.0]];
        for (loss, expected) in LOSSES.into_iter().zip(at_zero) {
            assert_close(&losses(loss, [0.0; 2], [0.0; 2]), &expected);
        }
        // ln 3 is the logit of 3/4: −ln(3/4) for each correct output, −ln(1/4) for the generator.
        let sure = 3.0_f32.ln();
        assert_close(&losses(Loss::NonSaturating, [sure; 2], [-sure; 2]), &[2.0 * (4.0_f32 / 3.0).ln(), 4.0_f32.ln()]);
        // (4 + 0) / 4 + (1 + 0) / 4, and (4 + 1) / 4.
        assert_close(&losses(Loss::LeastSquares, [3.0, 1.0], [-1.0, 0.0]), &[1.25, 1.25]);
        // (0 + 0.5) / 2 + (0 + 1.5) / 2, and (2 − 0.5) / 2.
        assert_close(&losses(Loss::Hinge, [2.0, 0.5], [-2.0, 0.5]), &[1.0, 0.75]);
    }

    /// Gradients of the discriminator's loss at real and generated logits, and of the generator's.
    fn gradients(loss: Loss, real: [f32; 2], fake: [f32; 2]) -> [Vec<f32>; 3] {
        let (real, fake) = (logits(real).require_grad(), logits(fake).require_grad());
        let of_d = loss.discriminator(real.clone(), fake.clone()).backward();
        let of_g = loss.generator(fake.clone()).backward();
        [real.grad(&of_d), fake.grad(&of_d), fake.grad(&of_g)].map(|grad| values(grad.expect("the loss depends on it")))
    }

    #[test]
    fn gradients_by_hand() {
        let (real, fake) = ([2.0_f32, -0.5], [-3.0_f32, 0.25]);
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        // Means over two: each derivative is halved.
        let expected = [
            // −σ(−r), σ(f), −σ(−f)
            [real.map(|r| -sigmoid(-r)), fake.map(sigmoid), fake.map(|f| -sigmoid(-f))],
            // r − 1, f, f − 1
            [real.map(|r| r - 1.0), fake, fake.map(|f| f - 1.0)],
            // −1 where r < 1, 1 where f > −1, −1
            [[0.0, -1.0], [0.0, 1.0], [-1.0, -1.0]],
        ];
        for (loss, expected) in LOSSES.into_iter().zip(expected) {
            for (ours, by_hand) in gradients(loss, real, fake).iter().zip(expected) {
                assert_close(ours, &by_hand.map(|derivative| derivative / 2.0));
            }
        }
    }
}
