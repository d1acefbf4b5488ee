//! Scores show damaged images: by more than five standard errors of what real images have.

mod low_pass;
mod own_net;

/// Bytes of a linear congruential generator (Knuth's MMIX).
fn noise(len: usize) -> Vec<u8> {
    let next =
        |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    std::iter::successors(Some(1), next).map(|state| (state >> 56) as u8).take(len).collect()
}
