//! The clauses of a policy: each rule beside what a run asks for, in words for the people at the site.

use effgan_data::datasets::MaxMemory;

use super::{Policy, RunRequest, Spent};
use crate::Refusal;
use crate::local::LocalWork;

/// One rule of a policy, what the run asks for, and whether the rule allows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Clause {
    /// What the rule is about.
    pub what: &'static str,
    /// What the run asks for.
    pub wanted: String,
    /// What the policy allows, with its key in `policy.toml`.
    pub allowed: String,
    /// The refusal where the rule forbids it; `None` where it is allowed.
    pub refusal: Option<Refusal>,
}

impl Policy {
    /// All rules that can be checked with what is known, in the order in which they are applied.
    pub fn clauses(&self, request: &RunRequest, spent: &Spent) -> Vec<Clause> {
        let mut clauses = self.config_clauses(request);
        clauses.extend(self.privacy_clauses(request));
        clauses.extend(self.image_clauses(request));
        clauses.extend(self.work_clauses(request, spent));
        clauses.extend(self.privacy_work_clauses(request, spent));
        clauses
    }

    fn config_clauses(&self, request: &RunRequest) -> Vec<Clause> {
        let yes_or_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let disclosure = |what, key: &str, wanted, allowed, refusal| {
            clause(what, yes_or_no(wanted), format!("{key} = {allowed}"), allowed || !wanted, refusal)
        };
        vec![
            clause(
                "algorithm",
                request.algorithm.clone(),
                format!("algorithms = {}", self.algorithms.join(", ")),
                self.algorithms.contains(&request.algorithm),
                Refusal::AlgorithmNotAllowed,
            ),
            clause(
                "share of the images held out",
                request.held_out.to_string(),
                format!("max_held_out = {}", self.max_held_out),
                (0.0..=self.max_held_out).contains(&request.held_out),
                Refusal::HoldOutTooLarge,
            ),
            clause(
                "images in a batch",
                request.batch_size.to_string(),
                format!("min_batch_size = {}", self.min_batch_size),
                request.batch_size >= self.min_batch_size,
                Refusal::BatchTooSmall,
            ),
            disclosure(
                "numbers of images by class leave the site",
                "label_counts",
                request.label_counts,
                self.label_counts,
                Refusal::LabelCountsNotAllowed,
            ),
            disclosure(
                "names of classes leave the site",
                "class_names",
                request.class_names,
                self.class_names,
                Refusal::ClassNamesNotAllowed,
            ),
        ]
    }

    fn image_clauses(&self, request: &RunRequest) -> Vec<Clause> {
        let size = |wanted: Option<u64>, what, key: &str, max: MaxMemory, refusal| {
            let allowed = format!("{key} = {max}");
            wanted.map(|bytes| clause(what, mebibytes(bytes), allowed, bytes <= max.bytes(), refusal))
        };
        let images = request.images.map(|images| {
            let allowed = format!("min_images = {}", self.min_images);
            clause("training images", images.to_string(), allowed, images >= self.min_images, Refusal::TooFewImages)
        });
        let side = request.image_size.map(|side| {
            let allowed = format!("max_image_size = {}", self.max_image_size);
            clause("pixels per side", side.to_string(), allowed, side <= self.max_image_size, Refusal::ImageTooLarge)
        });
        let model = size(request.model, "both networks", "max_model", self.max_model, Refusal::ModelTooLarge);
        let memory = size(request.memory, "memory", "max_memory", self.max_memory, Refusal::TooMuchMemory);
        [images, side, model, memory].into_iter().flatten().collect()
    }

    fn work_clauses(&self, request: &RunRequest, spent: &Spent) -> Vec<Clause> {
        let mut clauses: Vec<Clause> = self.whole_pass.then(|| whole_pass(request)).into_iter().collect();
        let others = &spent.others;
        let rounds = request.last_round();
        let amounts = [
            ("replies", Some(f64::from(rounds)), "rounds", self.max_rounds as f64, Refusal::TooManyRounds),
            (
                "training steps",
                request.total_steps().map(|n| n as f64),
                "steps",
                self.max_steps as f64,
                Refusal::TooManySteps,
            ),
            ("passes over the images", request.total_passes(), "passes", self.max_passes, Refusal::TooManyPasses),
        ];
        let totals = [
            (others.rounds as f64, self.total_rounds as f64),
            (others.steps as f64, self.total_steps as f64),
            (others.passes, self.total_passes),
        ];
        for (what, wanted, key, max, refusal) in amounts {
            let Some(wanted) = wanted else { continue };
            clauses.push(clause(what, number(wanted), format!("max_{key} = {max}"), wanted <= max, refusal));
        }
        for ((_, wanted, key, ..), (before, max)) in amounts.into_iter().zip(totals) {
            let Some(wanted) = wanted else { continue };
            let what = match key {
                "rounds" => "replies of all runs",
                "steps" => "training steps of all runs",
                _ => "passes of all runs",
            };
            let asked = format!("{} after {}", number(wanted), number(before));
            clauses.push(clause(
                what,
                asked,
                format!("total_{key} = {max}"),
                before + wanted <= max,
                Refusal::BudgetSpent,
            ));
        }
        clauses
    }
}

/// Whether each reply is made of at least one pass over the images, as far as is known.
fn whole_pass(request: &RunRequest) -> Clause {
    let passes = |(_, work): (u64, LocalWork)| request.passes(work);
    // Work given in steps is checked once the images have been counted.
    let fewest = request.pieces().filter_map(passes).fold(f64::INFINITY, f64::min);
    let wanted = match fewest {
        _ if request.single_batch_replies => "a batch".to_owned(),
        f64::INFINITY => "not known yet".to_owned(),
        fewest => format!("{} passes", number(fewest)),
    };
    let holds = !request.single_batch_replies && fewest >= 1.0;
    clause("smallest reply", wanted, "whole_pass = true".into(), holds, Refusal::LessThanAPass)
}

pub(super) fn clause(what: &'static str, wanted: String, allowed: String, holds: bool, refusal: Refusal) -> Clause {
    Clause { what, wanted, allowed, refusal: (!holds).then_some(refusal) }
}

/// The number with at most one decimal digit.
fn number(value: f64) -> String {
    ((value * 10.0).round() / 10.0).to_string()
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", number(bytes as f64 / f64::from(1 << 20)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Amount;

    /// The request of an ordinary run: 40 passes over 3,600 images.
    fn request() -> RunRequest {
        RunRequest {
            name: "ordinary".into(),
            algorithm: "effgan".into(),
            rounds: 4,
            local: LocalWork::Epochs(5),
            fine_tune: Some(LocalWork::Epochs(20)),
            single_batch_replies: false,
            held_out: 0.1,
            images: Some(3_600),
            person: None,
            persons: None,
            batch_size: 64,
            batches_per_step: 1,
            image_size: Some(32),
            channels: Some(3),
            model: Some(20 << 20),
            memory: Some(300 << 20),
            seconds: 600.0,
            label_counts: false,
            class_names: false,
            conditional: false,
            privacy: None,
        }
    }

    fn refusals(policy: &Policy, request: &RunRequest, spent: &Spent) -> Vec<Refusal> {
        policy.clauses(request, spent).into_iter().filter_map(|clause| clause.refusal).collect()
    }

    #[test]
    fn an_ordinary_run_is_allowed() {
        assert_eq!(Policy::default().check(&request(), &Spent::default()), Ok(()));
        let early =
            RunRequest { images: None, image_size: None, channels: None, model: None, memory: None, ..request() };
        assert_eq!(Policy::default().check(&early, &Spent::default()), Ok(()), "before the images are counted");
    }

    #[test]
    fn steps_and_passes_of_a_run_by_hand() {
        // 3,600 / 64 = 56.25, so an epoch has 57 steps; 4 × 5 × 57 + 20 × 57 = 2,280 steps, and 4 × 5 + 20 = 40 passes.
        assert_eq!(
            (request().total_steps(), request().total_passes(), request().last_round()),
            (Some(2_280), Some(40.0), 5)
        );
        // 90 steps of 2 × 64 images are 11,520 images, or 3.2 passes over 3,600.
        let steps =
            RunRequest { fine_tune: None, rounds: 1, local: LocalWork::Steps(90), batches_per_step: 2, ..request() };
        assert_eq!((steps.total_steps(), steps.total_passes(), steps.last_round()), (Some(90), Some(3.2), 1));
        assert_eq!(RunRequest { images: None, ..steps }.total_passes(), None);
        // With fewer images than a batch holds, each step sees all of them.
        let few = RunRequest { images: Some(10), local: LocalWork::Steps(3), rounds: 1, fine_tune: None, ..request() };
        assert_eq!(few.total_passes(), Some(3.0));
    }

    #[test]
    fn a_run_that_would_train_on_a_single_image_breaks_four_rules() {
        let attack = RunRequest {
            held_out: 0.99,
            images: Some(1),
            fine_tune: Some(LocalWork::Steps(1500)),
            rounds: 0,
            batch_size: 1,
            ..request()
        };
        let expected =
            [Refusal::HoldOutTooLarge, Refusal::BatchTooSmall, Refusal::TooFewImages, Refusal::TooManyPasses];
        assert_eq!(refusals(&Policy::default(), &attack, &Spent::default()), expected);
    }

    #[test]
    fn each_rule_refuses_with_its_own_code_and_names_its_key() {
        let w = request;
        let run_of = |rounds| RunRequest { rounds, ..w() };
        for (request, refusal, allowed) in [
            (RunRequest { algorithm: "md-gan".into(), ..w() }, Refusal::AlgorithmNotAllowed, "algorithms = effgan, "),
            (
                RunRequest { algorithm: "cyclic-effgan".into(), ..w() },
                Refusal::AlgorithmNotAllowed,
                "algorithms = effgan, ",
            ),
            (RunRequest { held_out: 0.51, ..w() }, Refusal::HoldOutTooLarge, "max_held_out = 0.5"),
            (RunRequest { held_out: f64::NAN, ..w() }, Refusal::HoldOutTooLarge, "max_held_out = 0.5"),
            (RunRequest { batch_size: 7, ..w() }, Refusal::BatchTooSmall, "min_batch_size = 8"),
            (RunRequest { images: Some(99), ..w() }, Refusal::TooFewImages, "min_images = 100"),
            (RunRequest { label_counts: true, ..w() }, Refusal::LabelCountsNotAllowed, "label_counts = false"),
            (RunRequest { class_names: true, ..w() }, Refusal::ClassNamesNotAllowed, "class_names = false"),
            (RunRequest { image_size: Some(129), ..w() }, Refusal::ImageTooLarge, "max_image_size = 128"),
            (RunRequest { model: Some((128 << 20) + 1), ..w() }, Refusal::ModelTooLarge, "max_model = 128 MiB"),
            (RunRequest { memory: Some((4 << 30) + 1), ..w() }, Refusal::TooMuchMemory, "max_memory = 4 GiB"),
            (RunRequest { fine_tune: Some(LocalWork::Steps(56)), ..w() }, Refusal::LessThanAPass, "whole_pass = true"),
            (RunRequest { single_batch_replies: true, ..w() }, Refusal::LessThanAPass, "whole_pass = true"),
            (RunRequest { local: LocalWork::Epochs(1), ..run_of(200) }, Refusal::TooManyRounds, "max_rounds = 200"),
            (
                RunRequest { fine_tune: Some(LocalWork::Steps(200_000)), ..w() },
                Refusal::TooManySteps,
                "max_steps = 200000",
            ),
            (
                RunRequest { fine_tune: Some(LocalWork::Epochs(981)), ..w() },
                Refusal::TooManyPasses,
                "max_passes = 1000",
            ),
        ] {
            let clauses = Policy::default().clauses(&request, &Spent::default());
            let refused = clauses.iter().find(|clause| clause.refusal == Some(refusal)).expect("it is refused");
            assert!(refused.allowed.starts_with(allowed), "{refused:?}");
        }
    }

    #[test]
    fn the_total_budget_counts_other_runs_and_all_of_this_one() {
        let policy = Policy { total_passes: 100.0, ..Policy::default() };
        let after = |passes| Spent { run: Amount::default(), others: Amount { passes, ..Amount::default() } };
        assert_eq!(policy.check(&request(), &after(60.0)), Ok(()));
        assert_eq!(policy.check(&request(), &after(60.5)), Err(Refusal::BudgetSpent));
        let mine = Spent { run: Amount { passes: 39.0, ..Amount::default() }, ..after(60.0) };
        assert_eq!(policy.check(&request(), &mine), Ok(()), "the passes of this run are counted once");
    }

    #[test]
    fn a_run_that_repeats_rounds_may_train_up_to_twice_what_it_announced() {
        let policy = Policy { max_passes: 60.0, ..Policy::default() };
        let round = request().amount(LocalWork::Epochs(5)).unwrap();
        assert_eq!(round, Amount { rounds: 1, steps: 285, passes: 5.0, private: Vec::new() });
        let after =
            |rounds, passes| Spent { run: Amount { rounds, passes, ..Amount::default() }, others: Amount::default() };
        assert_eq!(policy.check_work(&request(), &after(5, 55.0), &round), Ok(()));
        assert_eq!(policy.check_work(&request(), &after(5, 55.5), &round), Err(Refusal::TooManyPasses));
        assert_eq!(Policy::default().check_work(&request(), &after(10, 0.0), &round), Err(Refusal::TooManyRounds));
        assert_eq!(Policy::default().check_work(&request(), &after(5, 76.0), &round), Err(Refusal::TooManyPasses));
        let others = Spent { run: Amount::default(), others: Amount { steps: 1_999_800, ..Amount::default() } };
        assert_eq!(Policy::default().check_work(&request(), &others, &round), Err(Refusal::BudgetSpent));
    }
}
