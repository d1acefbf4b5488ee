//! An evaluation as text for people.

use std::fmt::{self, Display, Formatter};

use effgan_metrics::metric::{Better, Metric, Setting, Source};
use effgan_metrics::{LevelDistance, METRICS, Memorisation, TrainOnSynthetic};

use super::evaluation::{Evaluation, MemberMemorisation};

/// Maximum number of members that are listed.
const LISTED: usize = 20;

impl Display for Evaluation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} against {}", self.of, self.reference)?;
        writeln!(f, "features: {}, {} per image\n", self.features, self.dim)?;
        writeln!(f, "{:<24}{:>14}{:>14}  ", "", "images", if self.floor.is_some() { "floor" } else { "" })?;
        let row = |f: &mut Formatter<'_>, label, ours, floor, remark| {
            writeln!(f, "{label:<24}{ours:>14}{floor:>14}  {remark}")
        };
        let (n, n_reference) = (self.scores.n, self.scores.n_reference.unwrap_or(self.scores.n));
        let floor = self.floor.as_ref().map(|floor| floor.n.to_string()).unwrap_or_default();
        row(f, "n", n.to_string(), floor, format!("against {n_reference} reference images"))?;
        for metric in METRICS.iter().filter(|metric| !matches!(metric.source, Source::Memorisation(_))) {
            let Some(ours) = self.value(metric) else { continue };
            let floor = self.floor_of(metric).map(|floor| metric.text(floor)).unwrap_or_default();
            row(f, metric.label, metric.text(ours), floor, self.remark(metric))?;
            if metric.setting == Some(Setting::Levels) {
                self.write_levels(f, metric)?;
            }
        }
        self.write_memorisation(f)?;
        self.warnings.iter().try_for_each(|warning| writeln!(f, "\nwarning: {warning}"))
    }
}

impl Evaluation {
    /// Writes the value of `metric` on each level of the pyramids.
    fn write_levels(&self, f: &mut Formatter<'_>, metric: &Metric) -> fmt::Result {
        let of_floor = self.floor.iter().flat_map(|floor| &floor.settings.swd_levels);
        let mut floors = of_floor.map(|level| metric.text(level.swd));
        for LevelDistance { height, width, swd } in &self.scores.settings.swd_levels {
            let (label, floor) = (format!("  at {height} × {width}"), floors.next().unwrap_or_default());
            writeln!(f, "{label:<24}{:>14}{floor:>14}", metric.text(*swd))?;
        }
        Ok(())
    }

    fn write_memorisation(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.memorisation.is_empty() {
            return Ok(());
        }
        let unseen = of_members().filter_map(|(metric, _)| match metric.better {
            Better::Near(value) => Some(format!("{} {value}", metric.label)),
            Better::Lower | Better::Higher => None,
        });
        writeln!(
            f,
            "\ndistance to the nearest training image, compared with that of held-out images (not memorised: {})",
            unseen.collect::<Vec<_>>().join(", ")
        )?;
        writeln!(f, "on features of {}", self.memorisation_features)?;
        write!(f, "{:<24}", "")?;
        of_members().try_for_each(|(metric, _)| write!(f, "{:>8}", metric.label))?;
        writeln!(f, "{:>16}{:>9}{:>9}{:>9}", "95 %", "samples", "training", "held out")?;
        for MemberMemorisation { member, memorisation } in self.memorisation.iter().take(LISTED) {
            let Memorisation { auc_low, auc_high, num_samples, num_held_out, num_train, .. } = memorisation;
            write!(f, "{member:<24}")?;
            of_members().try_for_each(|(metric, value)| write!(f, "{:>8}", metric.text(value(memorisation))))?;
            let interval = format!("{auc_low:.3}–{auc_high:.3}");
            writeln!(f, "{interval:>16}{num_samples:>9}{num_train:>9}{num_held_out:>9}")?;
        }
        match self.memorisation.len().saturating_sub(LISTED) {
            0 => Ok(()),
            more => writeln!(f, "and {more} more members (all of them with --json)"),
        }
    }

    /// How to read the number: unit, direction, and what it was computed with.
    fn remark(&self, metric: &Metric) -> String {
        match (&metric.source, &self.train_on_synthetic) {
            (Source::Classifier(_), Some(TrainOnSynthetic { epochs, num_test, .. })) => {
                format!("of a classifier trained on the images for {epochs} epochs, tested on {num_test} real images")
            }
            _ => metric.remark(&self.scores.settings),
        }
    }
}

/// The metrics that each member has, which are in a table of their own.
fn of_members() -> impl Iterator<Item = (&'static Metric, fn(&Memorisation) -> f64)> {
    METRICS.iter().filter_map(|metric| match metric.source {
        Source::Memorisation(value) => Some((*metric, value)),
        Source::Features(_) | Source::Classifier(_) => None,
    })
}
