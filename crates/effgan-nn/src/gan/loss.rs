//! The non-saturating loss (Goodfellow et al. 2014, arXiv:1406.2661, §3), means over the batch of logits `[n, 1]`.

use burn::tensor::Tensor;
use burn::tensor::activation::log_sigmoid;

/// −log D(x) − log(1 − D(G(z))).
pub(super) fn discriminator(d_real: Tensor<2>, d_fake: Tensor<2>) -> Tensor<1> {
    // 1 − σ(a) is σ(−a), whose logarithm does not overflow.
    -log_sigmoid(d_real).mean() - log_sigmoid(-d_fake).mean()
}

/// −log D(G(z)).
pub(super) fn generator(d_fake: Tensor<2>) -> Tensor<1> {
    -log_sigmoid(d_fake).mean()
}
