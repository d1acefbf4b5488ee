//! Membership inference is that of its definitions, as `scikit-learn` and `SciPy` compute them: `fixtures/membership.py`.

use std::collections::BTreeMap;

use effgan_metrics::{Membership, membership};

const DIM: usize = 84;

/// Features of 2,000 test digits and of 2,000 smeared training digits.
fn digits() -> [Vec<f32>; 2] {
    let bytes = include_bytes!("fixtures/digits.i16");
    let values: Vec<f32> =
        bytes.chunks_exact(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 256.0).collect();
    let (real, smeared) = values.split_at(values.len() / 2);
    [real.to_vec(), smeared.to_vec()]
}

fn rows(set: &[f32], range: std::ops::Range<usize>) -> &[f32] {
    &set[range.start * DIM..range.end * DIM]
}

#[test]
fn membership_among_digits_is_that_of_scikit_learn_and_scipy_for_any_number_of_threads() {
    let [real, smeared] = digits();
    let between = rows(&smeared, 0..700).iter().zip(rows(&smeared, 700..1400));
    let samples: Vec<f32> = between.map(|(one, other)| one * 0.75 + other * 0.25).collect();
    let cases: BTreeMap<String, Vec<Membership>> =
        serde_json::from_str(include_str!("fixtures/membership.json")).unwrap();
    for (name, held_out) in [("few", 500), ("many", 1200)] {
        let of = |jobs| {
            let (train, reference) = (rows(&smeared, 200..899), rows(&real, 1200..1900));
            membership(train, rows(&real, 0..held_out), &samples, Some(reference), DIM, jobs).unwrap()
        };
        let found = of(2);
        assert_eq!(found, of(1));
        assert_eq!(found.len(), cases[name].len());
        for (ours, theirs) in found.iter().zip(&cases[name]) {
            assert_eq!((ours.attack, ours.is_calibrated, ours.fpr), (theirs.attack, theirs.is_calibrated, theirs.fpr));
            let numbers = |of: &Membership| [of.auc, of.auc_low, of.auc_high, of.tpr, of.tpr_low, of.tpr_high];
            // The fixture has nine digits.
            let near = numbers(ours).iter().zip(numbers(theirs)).all(|(ours, theirs)| (ours - theirs).abs() < 1e-8);
            assert!(near, "{name}: {ours:?} {theirs:?}");
        }
    }
}

#[test]
fn copies_of_training_images_give_all_of_them_away_and_a_generator_that_never_saw_them_none() {
    let [real, smeared] = digits();
    let (train, held_out) = (rows(&smeared, 0..300), rows(&smeared, 300..900));
    let of = |samples, reference| membership(train, held_out, samples, reference, DIM, 2).unwrap();
    let copied = of(train, None);
    assert_eq!(copied.len(), 2);
    assert_eq!((copied[0].auc, copied[0].tpr, copied[0].tpr_high), (1.0, 1.0, 1.0));
    // What the same samples tell already is subtracted wholly.
    for membership in of(train, Some(train)).iter().filter(|membership| membership.is_calibrated) {
        assert_eq!((membership.auc, membership.tpr), (0.5, 0.0));
    }
    for unseen in of(rows(&real, 0..1000), Some(rows(&real, 1000..2000))) {
        assert!(unseen.auc_low < 0.5 && unseen.auc_high > 0.5, "{unseen:?}");
    }
}

#[test]
fn sets_that_are_too_small_are_named() {
    let error = |train: &[f32], held_out: &[f32], samples: &[f32]| {
        membership(train, held_out, samples, None, 1, 1).unwrap_err().to_string()
    };
    let two = [0.0, 1.0];
    let line = "1 training images, fewer than the 2 that membership inference needs; pass more images";
    assert_eq!(error(&[0.0], &two, &two), line);
    assert!(error(&two, &[1.0], &two).starts_with("1 held-out images"));
    assert!(error(&two, &two, &[]).starts_with("0 generated images"));
}
