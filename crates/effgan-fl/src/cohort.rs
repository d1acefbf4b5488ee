//! Drawing the cohort of a round.

use effgan_data::ClientName;
use effgan_nn::{Purpose, Streams};
use rand::seq::SliceRandom;

use crate::roster::RoundContext;

/// `ceil(fraction · clients)` clients drawn for `round`, sorted by name; all clients when `fraction` is 1.
pub(crate) fn draw(ctx: &RoundContext, round: u32, fraction: f64) -> Vec<ClientName> {
    let size = size(ctx.roster.len(), fraction);
    let mut cohort = ctx.roster.to_vec();
    cohort.shuffle(&mut Streams::of_round(ctx.seed, round).at(Purpose::Cohort, 0));
    cohort.truncate(size);
    cohort.sort();
    cohort
}

/// `ceil(fraction · clients)`, and at least one.
pub(crate) fn size(clients: usize, fraction: f64) -> usize {
    // 0.07 · 100 is slightly above 7 in f64, and must not become 8.
    let exact = fraction * clients as f64 - 1e-9;
    (exact.ceil() as usize).clamp(1, clients)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cohort_is_the_fraction_rounded_up() {
        let sizes = [(100, 0.07), (50, 0.14), (100, 0.55), (7, 0.5), (10, 1.0), (10, 0.001)];
        assert_eq!(sizes.map(|(clients, fraction)| size(clients, fraction)), [7, 7, 55, 4, 10, 1]);
    }

    #[test]
    fn half_the_clients_sorted_and_others_in_another_round() {
        let roster: Vec<_> = (0..9).map(|i| ClientName::simulated(i, 9)).collect();
        let ctx = RoundContext { seed: 1, roster: &roster, num_examples: &[1; 9], counts: &[1; 9] };
        let rounds: Vec<_> = (1..6).map(|round| draw(&ctx, round, 0.5)).collect();
        assert!(rounds.iter().all(|cohort| cohort.len() == 5 && cohort.is_sorted()));
        assert!(rounds.iter().any(|cohort| cohort != &rounds[0]));
        assert_eq!(draw(&ctx, 1, 1.0), roster);
    }
}
