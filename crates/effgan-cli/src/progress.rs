//! What a person sees while a run works: a bar with time left on a terminal, a line a round elsewhere, JSON lines for programs.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr};
use std::sync::Mutex;

use effgan_fl::{ExchangeKind, RoundRecord, StepRecord};
use indicatif::{ProgressBar, ProgressStyle};

use crate::events::{Event, LossCurve, Score};
use crate::output::say;

/// Stretches of a round over which losses are averaged.
const STRETCHES: u64 = 40;

/// Says what happens, and remembers how losses went.
pub struct Progress {
    json: bool,
    bar: ProgressBar,
    losses: Mutex<BTreeMap<(u32, String), Losses>>,
}

impl Progress {
    /// A bar appears when standard error is a terminal; `json` puts JSON lines on standard output and nothing else there.
    pub fn new(json: bool) -> Self {
        let bar = if stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}  {elapsed} gone, {eta} left");
        bar.set_style(style.expect("the template is fixed").progress_chars("━╸─"));
        Self { json, bar, losses: Mutex::default() }
    }

    /// The run will do so many training steps.
    pub fn start(&self, steps: u64) {
        self.bar.set_length(steps);
        self.bar.set_message("starting");
    }

    /// A training step was done.
    pub fn step(&self, record: &StepRecord) {
        self.bar.inc(1);
        self.bar.set_message(format!("round {}", record.round));
        let mut losses = self.losses.lock().expect("no thread panics while it holds the losses");
        losses.entry((record.round, record.client.to_string())).or_default().add(record);
    }

    /// The loss curves of a round, by client.
    pub fn take_losses(&self, round: u32) -> Vec<LossCurve> {
        let mut losses = self.losses.lock().expect("no thread panics while it holds the losses");
        let later = losses.split_off(&(round + 1, String::new()));
        let done = std::mem::replace(&mut *losses, later);
        done.into_iter().map(|((round, client), losses)| losses.into_curve(round, client)).collect()
    }

    /// Tells an event: its line on a terminal or in a log, or the event itself as JSON.
    pub fn tell(&self, event: &Event) {
        if self.json {
            say(serde_json::to_string(event).expect("an event is plain data"));
            return;
        }
        match event {
            Event::Round(record) => self.say(&round_line(record)),
            Event::Score(score) => self.say(&score_line(score)),
            Event::Note(note) => self.say(&note.note),
            Event::Losses(_) | Event::Member(_) | Event::Stage(_) => {}
        }
    }

    /// A line for a person; programs that asked for JSON do not see it.
    pub fn say(&self, line: &str) {
        if !self.json {
            self.bar.suspend(|| say(line));
        }
    }

    /// The bar goes away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn round_line(record: &RoundRecord) -> String {
    let what = match record.kind {
        ExchangeKind::Average => "averaged",
        ExchangeKind::Collect => "fine-tuned and collected",
        ExchangeKind::Feedback | ExchangeKind::Logits | ExchangeKind::Swap => "learned from",
    };
    let missing = match record.missing.len() {
        0 => String::new(),
        n => format!(" ({n} missing)"),
    };
    if record.clients.is_empty() {
        return format!("round {:<3} nobody answered{missing}", record.round);
    }
    let mean = |name: &str| {
        let values = record.clients.iter().filter_map(|client| client.metrics.get(name));
        values.sum::<f64>() / record.clients.len() as f64
    };
    format!(
        "round {:<3} {what} {} clients{missing}: loss D {:.3}, G {:.3}; {:.1} MB down, {:.1} MB up; {:.1} s",
        record.round,
        record.clients.len(),
        mean("loss_d"),
        mean("loss_g"),
        record.bytes_down as f64 / 1e6,
        record.bytes_up as f64 / 1e6,
        record.seconds,
    )
}

/// A score with its n; the floor is a line of its own, before all others.
fn score_line(score: &Score) -> String {
    let statistics = score.norm_statistics.map(|how| format!(", statistics {}", how.name())).unwrap_or_default();
    format!(
        "  {:<44} fd_small {:>8.2}   class KL {:.3}   modes {:>2} of {}   n = {}",
        format!("{}{statistics}", score.of.title()),
        score.scores.fd_small,
        score.scores.class_kl,
        score.scores.modes,
        score.scores.class_counts.len(),
        score.scores.n,
    )
}

/// Sums of one client's losses over stretches of a round.
#[derive(Default)]
struct Losses {
    steps: u64,
    /// Steps, discriminator, generator.
    sums: Vec<(u64, f64, f64)>,
}

impl Losses {
    fn add(&mut self, record: &StepRecord) {
        self.steps = record.steps;
        let stretch = ((record.step - 1) * STRETCHES.min(record.steps) / record.steps) as usize;
        if self.sums.len() <= stretch {
            self.sums.resize(stretch + 1, (0, 0.0, 0.0));
        }
        let (steps, d, g) = &mut self.sums[stretch];
        *steps += 1;
        *d += f64::from(record.losses.discriminator);
        *g += f64::from(record.losses.generator);
    }

    fn into_curve(self, round: u32, client: String) -> LossCurve {
        let mean = |sum: fn(&(u64, f64, f64)) -> f64| self.sums.iter().map(|sums| sum(sums) / sums.0 as f64).collect();
        LossCurve { round, client, steps: self.steps, loss_d: mean(|sums| sums.1), loss_g: mean(|sums| sums.2) }
    }
}

#[cfg(test)]
mod tests {
    use effgan_data::ClientName;
    use effgan_nn::gan::Losses as StepLosses;

    use super::*;

    fn record(client: &str, round: u32, step: u64, steps: u64, discriminator: f32) -> StepRecord {
        let losses = StepLosses { discriminator, generator: 2.0 * discriminator };
        StepRecord { client: ClientName::new(client).unwrap(), round, step, steps, losses }
    }

    #[test]
    fn eighty_steps_are_forty_means_of_two() {
        let progress = Progress::new(true);
        (1..=80).for_each(|step| progress.step(&record("a", 1, step, 80, step as f32)));
        let [curve] = &progress.take_losses(1)[..] else { panic!("one client, one curve") };
        assert_eq!((curve.loss_d.len(), curve.loss_d[0], curve.loss_d[39]), (40, 1.5, 79.5));
        assert_eq!((curve.loss_g.len(), curve.loss_g[39], curve.steps), (40, 159.0, 80));
    }

    #[test]
    fn losses_are_taken_once_by_round_and_client() {
        let progress = Progress::new(true);
        for (client, round) in [("b", 1), ("a", 1), ("a", 2)] {
            progress.step(&record(client, round, 1, 1, 3.0));
        }
        let names =
            |round| -> Vec<String> { progress.take_losses(round).into_iter().map(|curve| curve.client).collect() };
        assert_eq!([names(1), names(1), names(2)], [vec!["a".to_owned(), "b".into()], vec![], vec!["a".into()]]);
    }
}
