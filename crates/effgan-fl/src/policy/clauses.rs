//! Each rule of a policy against what a run wants, in words for people.

use effgan_data::datasets::MaxMemory;

use super::{Policy, RunRequest, Spent};
use crate::Refusal;
use crate::local::LocalWork;

/// A rule, what the run wants, and whether the rule allows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Clause {
    /// What it is about.
    pub what: &'static str,
    /// What the run wants.
    pub wanted: String,
    /// What the policy allows, with its key.
    pub allowed: String,
    /// Why the site does not do it; none where it may.
    pub refusal: Option<Refusal>,
}

impl Policy {
    /// All rules that can be held against what is known, in the order in which they refuse.
    pub fn clauses(&self, wishes: &RunRequest, spent: &Spent) -> Vec<Clause> {
        let mut clauses = self.of_the_config(wishes);
        clauses.extend(self.of_the_images(wishes));
        clauses.extend(self.of_the_work(wishes, spent));
        clauses
    }

    fn of_the_config(&self, wishes: &RunRequest) -> Vec<Clause> {
        let yes_or_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let told = |what, key: &str, wanted, allowed, refusal| {
            clause(what, yes_or_no(wanted), format!("{key} = {allowed}"), allowed || !wanted, refusal)
        };
        vec![
            clause(
                "algorithm",
                wishes.algorithm.clone(),
                format!("algorithms = {}", self.algorithms.join(", ")),
                self.algorithms.contains(&wishes.algorithm),
                Refusal::AlgorithmNotAllowed,
            ),
            clause(
                "share of the images held out",
                wishes.held_out.to_string(),
                format!("max_held_out = {}", self.max_held_out),
                (0.0..=self.max_held_out).contains(&wishes.held_out),
                Refusal::HoldOutTooLarge,
            ),
            clause(
                "images in a batch",
                wishes.batch_size.to_string(),
                format!("min_batch_size = {}", self.min_batch_size),
                wishes.batch_size >= self.min_batch_size,
                Refusal::BatchTooSmall,
            ),
            told(
                "numbers of images by class are told",
                "label_counts",
                wishes.label_counts,
                self.label_counts,
                Refusal::LabelCountsNotAllowed,
            ),
            told(
                "names of classes are told",
                "class_names",
                wishes.class_names,
                self.class_names,
                Refusal::ClassNamesNotAllowed,
            ),
        ]
    }

    fn of_the_images(&self, wishes: &RunRequest) -> Vec<Clause> {
        let size = |wanted: Option<u64>, what, key: &str, most: MaxMemory, refusal| {
            let allowed = format!("{key} = {most}");
            wanted.map(|bytes| clause(what, mebibytes(bytes), allowed, bytes <= most.bytes(), refusal))
        };
        let images = wishes.images.map(|images| {
            let allowed = format!("min_images = {}", self.min_images);
            clause("images that train", images.to_string(), allowed, images >= self.min_images, Refusal::TooFewImages)
        });
        let side = wishes.image_size.map(|side| {
            let allowed = format!("max_image_size = {}", self.max_image_size);
            clause("pixels a side", side.to_string(), allowed, side <= self.max_image_size, Refusal::ImageTooLarge)
        });
        let model = size(wishes.model, "both networks", "max_model", self.max_model, Refusal::ModelTooLarge);
        let memory = size(wishes.memory, "memory", "max_memory", self.max_memory, Refusal::TooMuchMemory);
        [images, side, model, memory].into_iter().flatten().collect()
    }

    fn of_the_work(&self, wishes: &RunRequest, spent: &Spent) -> Vec<Clause> {
        let mut clauses: Vec<Clause> = self.whole_pass.then(|| whole_pass(wishes)).into_iter().collect();
        let others = spent.others;
        let rounds = wishes.last_round();
        let amounts = [
            ("answers", Some(f64::from(rounds)), "rounds", self.max_rounds as f64, Refusal::TooManyRounds),
            (
                "training steps",
                wishes.all_steps().map(|n| n as f64),
                "steps",
                self.max_steps as f64,
                Refusal::TooManySteps,
            ),
            ("passes over the images", wishes.all_passes(), "passes", self.max_passes, Refusal::TooManyPasses),
        ];
        let totals = [
            (others.rounds as f64, self.total_rounds as f64),
            (others.steps as f64, self.total_steps as f64),
            (others.passes, self.total_passes),
        ];
        for (what, wanted, key, most, refusal) in amounts {
            let Some(wanted) = wanted else { continue };
            clauses.push(clause(what, number(wanted), format!("max_{key} = {most}"), wanted <= most, refusal));
        }
        for ((_, wanted, key, ..), (before, most)) in amounts.into_iter().zip(totals) {
            let Some(wanted) = wanted else { continue };
            let what = match key {
                "rounds" => "answers of all runs",
                "steps" => "training steps of all runs",
                _ => "passes of all runs",
            };
            let asked = format!("{} after {}", number(wanted), number(before));
            clauses.push(clause(
                what,
                asked,
                format!("total_{key} = {most}"),
                before + wanted <= most,
                Refusal::BudgetSpent,
            ));
        }
        clauses
    }
}

/// Whether each answer is made of every image at least once, as far as is known.
fn whole_pass(wishes: &RunRequest) -> Clause {
    let passes = |(_, work): (u64, LocalWork)| wishes.passes(work);
    // A work in steps over images that are not counted yet is held against them once they are.
    let least = wishes.pieces().filter_map(passes).fold(f64::INFINITY, f64::min);
    let wanted = match least {
        _ if wishes.by_the_batch => "a batch".to_owned(),
        f64::INFINITY => "not known yet".to_owned(),
        least => format!("{} passes", number(least)),
    };
    let holds = !wishes.by_the_batch && least >= 1.0;
    clause("smallest answer", wanted, "whole_pass = true".into(), holds, Refusal::LessThanAPass)
}

fn clause(what: &'static str, wanted: String, allowed: String, holds: bool, refusal: Refusal) -> Clause {
    Clause { what, wanted, allowed, refusal: (!holds).then_some(refusal) }
}

/// With at most one digit after the point.
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

    /// What an ordinary run wants: 40 passes over 3,600 images.
    fn wishes() -> RunRequest {
        RunRequest {
            name: "ordinary".into(),
            algorithm: "effgan".into(),
            rounds: 4,
            local: LocalWork::Epochs(5),
            fine_tune: Some(LocalWork::Epochs(20)),
            by_the_batch: false,
            held_out: 0.1,
            images: Some(3_600),
            batch_size: 64,
            batches_a_step: 1,
            image_size: Some(32),
            channels: Some(3),
            model: Some(20 << 20),
            memory: Some(300 << 20),
            seconds: 600.0,
            label_counts: false,
            class_names: false,
            conditional: false,
        }
    }

    fn refusals(policy: &Policy, wishes: &RunRequest, spent: &Spent) -> Vec<Refusal> {
        policy.clauses(wishes, spent).into_iter().filter_map(|clause| clause.refusal).collect()
    }

    #[test]
    fn an_ordinary_run_is_allowed() {
        assert_eq!(Policy::default().check(&wishes(), &Spent::default()), Ok(()));
        let early =
            RunRequest { images: None, image_size: None, channels: None, model: None, memory: None, ..wishes() };
        assert_eq!(Policy::default().check(&early, &Spent::default()), Ok(()), "before the images are counted");
    }

    #[test]
    fn steps_and_passes_of_a_run_by_hand() {
        // 3,600 / 64 = 56.25, begun 57 times; 4 × 5 × 57 + 20 × 57 = 2,280 steps, and 4 × 5 + 20 = 40 passes.
        assert_eq!((wishes().all_steps(), wishes().all_passes(), wishes().last_round()), (Some(2_280), Some(40.0), 5));
        // 90 steps of 2 × 64 images are 11,520, of 3,600: 3.2 passes.
        let steps =
            RunRequest { fine_tune: None, rounds: 1, local: LocalWork::Steps(90), batches_a_step: 2, ..wishes() };
        assert_eq!((steps.all_steps(), steps.all_passes(), steps.last_round()), (Some(90), Some(3.2), 1));
        assert_eq!(RunRequest { images: None, ..steps }.all_passes(), None);
        // Fewer images than a batch holds: all of them in each step.
        let few = RunRequest { images: Some(10), local: LocalWork::Steps(3), rounds: 1, fine_tune: None, ..wishes() };
        assert_eq!(few.all_passes(), Some(3.0));
    }

    #[test]
    fn the_attack_of_one_image_breaks_three_rules() {
        let attack = RunRequest {
            held_out: 0.99,
            images: Some(1),
            fine_tune: Some(LocalWork::Steps(1500)),
            rounds: 0,
            batch_size: 1,
            ..wishes()
        };
        let expected =
            [Refusal::HoldOutTooLarge, Refusal::BatchTooSmall, Refusal::TooFewImages, Refusal::TooManyPasses];
        assert_eq!(refusals(&Policy::default(), &attack, &Spent::default()), expected);
    }

    #[test]
    fn each_rule_refuses_with_its_code_and_its_key_is_said() {
        let w = wishes;
        let run_of = |rounds| RunRequest { rounds, ..w() };
        for (wishes, refusal, allowed) in [
            (RunRequest { algorithm: "md-gan".into(), ..w() }, Refusal::AlgorithmNotAllowed, "algorithms = effgan, "),
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
            (RunRequest { by_the_batch: true, ..w() }, Refusal::LessThanAPass, "whole_pass = true"),
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
            let clauses = Policy::default().clauses(&wishes, &Spent::default());
            let refused = clauses.iter().find(|clause| clause.refusal == Some(refusal)).expect("it is refused");
            assert!(refused.allowed.starts_with(allowed), "{refused:?}");
        }
    }

    #[test]
    fn what_is_left_for_all_runs_counts_the_others_and_the_whole_of_this_one() {
        let policy = Policy { total_passes: 100.0, ..Policy::default() };
        let after = |passes| Spent { run: Amount::default(), others: Amount { passes, ..Amount::default() } };
        assert_eq!(policy.check(&wishes(), &after(60.0)), Ok(()));
        assert_eq!(policy.check(&wishes(), &after(60.5)), Err(Refusal::BudgetSpent));
        let mine = Spent { run: Amount { passes: 39.0, ..Amount::default() }, ..after(60.0) };
        assert_eq!(policy.check(&wishes(), &mine), Ok(()), "this run's own are counted once");
    }

    #[test]
    fn a_run_that_is_repeated_may_train_twice_what_it_said_and_no_more() {
        let policy = Policy { max_passes: 60.0, ..Policy::default() };
        let round = wishes().amount(LocalWork::Epochs(5)).unwrap();
        assert_eq!(round, Amount { rounds: 1, steps: 285, passes: 5.0 });
        let after = |rounds, passes| Spent { run: Amount { rounds, steps: 0, passes }, others: Amount::default() };
        assert_eq!(policy.check_work(&wishes(), &after(5, 55.0), round), Ok(()));
        assert_eq!(policy.check_work(&wishes(), &after(5, 55.5), round), Err(Refusal::TooManyPasses));
        assert_eq!(Policy::default().check_work(&wishes(), &after(10, 0.0), round), Err(Refusal::TooManyRounds));
        assert_eq!(Policy::default().check_work(&wishes(), &after(5, 76.0), round), Err(Refusal::TooManyPasses));
        let others = Spent { run: Amount::default(), others: Amount { steps: 1_999_800, ..Amount::default() } };
        assert_eq!(Policy::default().check_work(&wishes(), &others, round), Err(Refusal::BudgetSpent));
    }
}
