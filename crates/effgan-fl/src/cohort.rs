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

/// The client whose turn `round` is: each has one before anyone has another, in an order that is drawn anew then.
pub(crate) fn in_turn(ctx: &RoundContext, round: u32) -> ClientName {
    let clients = u32::try_from(ctx.roster.len()).expect("a run has fewer than 2^32 clients");
    let turn = (round - 1) % clients;
    let mut order = ctx.roster.to_vec();
    order.shuffle(&mut Streams::of_round(ctx.seed, round - turn).at(Purpose::Cohort, 0));
    order.swap_remove(turn as usize)
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

    #[test]
    fn each_client_has_its_turn_once_before_anyone_has_a_second_and_the_order_changes() {
        let roster: Vec<_> = (0..7).map(|i| ClientName::simulated(i, 7)).collect();
        let ctx = RoundContext { seed: 1, roster: &roster, num_examples: &[1; 7], counts: &[1; 7] };
        let laps: Vec<Vec<ClientName>> =
            (0..4).map(|lap| (1..=7).map(|turn| in_turn(&ctx, 7 * lap + turn)).collect()).collect();
        for lap in &laps {
            let mut sorted = lap.clone();
            sorted.sort();
            assert_eq!(sorted, roster);
        }
        assert!(laps.iter().any(|lap| lap != &laps[0]));
        let other_seed = RoundContext { seed: 2, ..ctx };
        assert!((1..=7).any(|turn| in_turn(&other_seed, turn) != laps[0][turn as usize - 1]));
    }
}
