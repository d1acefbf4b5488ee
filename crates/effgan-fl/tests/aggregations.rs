//! The rules of aggregation, worked by hand on a few clients, and their properties on arbitrary ones.

use effgan_data::ClientName;
use effgan_fl::aggregate::{Rule, Weights};
use effgan_fl::message::Numbers;
use effgan_fl::{FlError, Update};
use effgan_nn::{Array, Params, Purpose, Streams};
use proptest::collection::vec;
use proptest::prelude::*;

/// Every rule that needs no more than `clients` replies.
fn every_rule(clients: usize) -> Vec<Rule> {
    let trims = (1..clients).filter(|trim| 2 * trim < clients).map(|trim| Rule::TrimmedMean { trim });
    let clips = [Some(0.5), Some(1e30), None].map(|clip| Rule::NormClippedMean { clip });
    [Rule::Mean, Rule::Median].into_iter().chain(trims).chain(clips).collect()
}

fn params(weight: &[f32], running: f32) -> Params {
    let tensors = [("fc.weight", weight.to_vec()), ("norm0.running_var", vec![running])];
    tensors.map(|(name, values)| (name.to_owned(), Array::new([values.len()], values))).into_iter().collect()
}

/// The result of `rule` for clients that were sent `base` and reply with the given parameters and numbers of images.
fn fold(rule: Rule, base: &Params, updates: &[(Params, u64)]) -> Result<Params, FlError> {
    let mut replies = updates.iter().enumerate().map(|(i, (params, num_examples))| {
        let update = Update { params: params.clone(), num_examples: *num_examples, metrics: Numbers::new() };
        Ok((ClientName::simulated(i, updates.len()), update))
    });
    rule.fold(base, &mut replies, Weights::Examples, 4, updates.len())
}

/// As [`fold`], of one value each, from 0, where the i-th client has i + 1 images.
fn fold_values(rule: Rule, values: &[f32]) -> f32 {
    let updates: Vec<_> = values.iter().zip(1..).map(|(&value, n)| (params(&[value], 1.0), n)).collect();
    fold(rule, &params(&[0.0], 1.0), &updates).unwrap().get("fc.weight").unwrap().values()[0]
}

#[test]
fn medians_by_hand_weight_all_clients_equally() {
    assert_eq!(fold_values(Rule::Median, &[5.0]), 5.0);
    assert_eq!(fold_values(Rule::Median, &[5.0, -1.0, 1e30]), 5.0);
    assert_eq!(fold_values(Rule::Median, &[5.0, -1.0, 1e30, 2.0]), 3.5); // (2 + 5) / 2
}

#[test]
fn trimmed_means_by_hand() {
    let trimmed = |trim, values: &[f32]| fold_values(Rule::TrimmedMean { trim }, values);
    assert_eq!(trimmed(1, &[1e30, 1.0, 2.0, -1e30, 6.0]), 3.0); // (1 + 2 + 6) / 3
    assert_eq!(trimmed(1, &[0.0, 1.0, 2.0, 9.0]), 1.5);
    assert_eq!(trimmed(2, &[0.0, 1.0, 2.0, 9.0, 50.0]), 2.0);
}

#[test]
fn norm_clipped_means_by_hand() {
    let clipped = |clip, values: &[f32]| fold_values(Rule::NormClippedMean { clip }, values);
    assert_eq!(clipped(Some(2.0), &[1.0, -8.0, 4.0]), 0.5); // (1 · 1 + 2 · −2 + 3 · 2) / 6
    assert_eq!(clipped(None, &[1.0, -8.0, 4.0]), 5.0 / 6.0); // norms 1, 8, 4: (1 · 1 + 2 · −4 + 3 · 4) / 6
}

#[test]
fn clipping_scales_the_whole_update_and_its_running_statistics() {
    let base = params(&[1.0, 1.0], 1.0);
    // The update (3, 4) of norm 5 is halved to (1.5, 2); so is the step of the variance from 1 to 9.
    let folded = fold(Rule::NormClippedMean { clip: Some(2.5) }, &base, &[(params(&[4.0, 5.0], 9.0), 1)]);
    assert_eq!(folded.unwrap(), params(&[2.5, 3.0], 5.0));
}

#[test]
fn running_statistics_do_not_count_towards_the_norm() {
    let (base, update) = (params(&[0.0], 1.0), params(&[1.0], 1000.0));
    assert_eq!(fold(Rule::NormClippedMean { clip: Some(1.0) }, &base, &[(update.clone(), 1)]).unwrap(), update);
}

#[test]
fn the_fold_of_equal_models_is_that_model_to_the_bit() {
    let base = params(&vec![0.0; 10_000], 1.0);
    let model = params(&Streams::of_run(1).normal(Purpose::Init, 0, 10_000), 0.7);
    for clients in [1, 2, 3, 5, 8] {
        let updates: Vec<_> = (0..clients).map(|i| (model.clone(), 7 + i)).collect();
        for rule in
            every_rule(clients as usize).into_iter().filter(|rule| *rule != Rule::NormClippedMean { clip: Some(0.5) })
        {
            assert_eq!(fold(rule, &base, &updates).unwrap().hash(), model.hash(), "{rule:?}");
        }
    }
}

#[test]
fn a_clip_that_no_update_reaches_is_the_mean_to_the_bit() {
    let normal = |step| params(&Streams::of_run(2).normal(Purpose::Init, step, 10_000), 0.5 + step as f32);
    let updates: Vec<_> = (1..5).map(|step| (normal(step), 10 + step)).collect();
    let folded = |rule| fold(rule, &normal(0), &updates).unwrap().hash();
    assert_eq!(folded(Rule::NormClippedMean { clip: Some(1e9) }), folded(Rule::Mean));
}

#[test]
fn trimming_all_but_the_middle_is_the_median() {
    for values in
        [&[3.0, 1.0, 2.0][..], &[4.0, 1.5, 2.0, 8.0], &[1.0, 7.0, 3.0, 2.0, 9.0], &[0.1, 0.7, 0.2, 0.9, 0.4, 0.5]]
    {
        let trim = values.len().div_ceil(2) - 1;
        assert_eq!(fold_values(Rule::TrimmedMean { trim }, values), fold_values(Rule::Median, values));
    }
}

#[test]
fn too_few_replies_to_trim_are_an_error_that_names_the_round() {
    let updates = vec![(params(&[1.0], 1.0), 1); 6];
    let error = fold(Rule::TrimmedMean { trim: 3 }, &updates[0].0, &updates).unwrap_err().to_string();
    assert_eq!(
        error,
        "trimmed-mean with trim = 3 needs more than 6 replies, and round 4 has 6; lower aggregation.trim or raise \
         algorithm.cohort"
    );
}

#[test]
fn a_round_without_replies_is_an_error_of_every_rule() {
    for rule in every_rule(3) {
        let error = fold(rule, &params(&[1.0], 1.0), &[]).unwrap_err().to_string();
        assert_eq!(error, "no client answered in round 4", "{rule:?}");
    }
}

proptest! {
    #[test]
    fn a_median_lies_between_the_lowest_and_the_highest(values in vec(-1e6_f32..1e6, 1..12)) {
        let median = fold_values(Rule::Median, &values);
        let at_most = |bound: f32| values.iter().filter(|&&value| value <= bound).count();
        prop_assert!(values.iter().any(|&value| value <= median) && values.iter().any(|&value| value >= median));
        // Half of the values are at or below it.
        prop_assert!(2 * at_most(median) >= values.len());
    }

    #[test]
    fn as_many_bad_clients_as_are_trimmed_leave_the_result_in_the_range_of_the_others(
        honest in vec(-1e3_f32..1e3, 4..10), bad in vec(any::<f32>().prop_filter("finite", |x| x.is_finite()), 0..4),
    ) {
        let all = [&honest[..], &bad].concat();
        let lowest = honest.iter().copied().fold(f32::INFINITY, f32::min);
        let highest = honest.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for rule in [Rule::Median, Rule::TrimmedMean { trim: bad.len() }] {
            let folded = fold_values(rule, &all);
            prop_assert!((lowest..=highest).contains(&folded), "{rule:?}: {folded}");
        }
    }

    #[test]
    fn a_client_moves_a_clipped_mean_by_at_most_its_share_of_the_clip(
        honest in vec(-1e3_f32..1e3, 1..8), bad in -1e30_f32..1e30,
    ) {
        let rule = Rule::NormClippedMean { clip: Some(2.0) };
        let still = fold_values(rule, &[&honest[..], &[0.0]].concat());
        let moved = fold_values(rule, &[&honest[..], &[bad]].concat());
        let n = honest.len() as f32 + 1.0;
        let share = n / (n * (n + 1.0) / 2.0); // n images of 1 + 2 + … + n
        prop_assert!((moved - still).abs() <= share * 2.0 * (1.0 + 1e-5)); // f32 rounding of both
    }

    #[test]
    fn the_order_of_clients_does_not_matter_with_equal_weights(
        values in vec(-1e3_f32..1e3, 3..9), seed in 0u64..100,
    ) {
        use rand::seq::SliceRandom;
        let mut shuffled = values.clone();
        shuffled.shuffle(&mut Streams::of_run(seed).at(Purpose::Init, 0));
        for rule in [Rule::Median, Rule::TrimmedMean { trim: 1 }] {
            prop_assert_eq!(fold_values(rule, &values).to_bits(), fold_values(rule, &shuffled).to_bits());
        }
    }
}
