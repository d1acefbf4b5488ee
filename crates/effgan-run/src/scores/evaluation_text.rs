//! An evaluation as text for people.

use std::fmt::{self, Display, Formatter};

use effgan_metrics::Memorisation;

use super::evaluation::{Evaluation, SetScores};

/// Most members that are listed.
const LISTED: usize = 20;

impl Display for Evaluation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} against {}", self.of, self.reference)?;
        writeln!(f, "features: {}, {} per image\n", self.features, self.dim)?;
        writeln!(f, "{:<24}{:>14}{:>14}  ", "", "images", if self.floor.is_some() { "floor" } else { "" })?;
        for (name, value) in ROWS {
            let Some(ours) = value(&self.scores) else { continue };
            let floor = self.floor.as_ref().and_then(value).unwrap_or_default();
            writeln!(f, "{name:<24}{ours:>14}{floor:>14}  {}", remark(name, &self.scores))?;
        }
        if let Some(trained) = &self.train_on_synthetic {
            let of_real = trained.accuracy_of_real.map(|accuracy| format!("{accuracy:.4}")).unwrap_or_default();
            let (epochs, test) = (trained.epochs, trained.num_test);
            let remark =
                format!("of a classifier trained on the images for {epochs} epochs, tested on {test} real images");
            writeln!(f, "{:<24}{:>14.4}{of_real:>14}  {remark}", "accuracy", trained.accuracy)?;
        }
        self.write_memorisation(f)?;
        self.warnings.iter().try_for_each(|warning| writeln!(f, "\nwarning: {warning}"))
    }
}

impl Evaluation {
    fn write_memorisation(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.memorisation.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\ndistance to the nearest training image, compared with that of held-out images (not memorised: ratio 1, AUC 0.5)"
        )?;
        writeln!(f, "on features of {}", self.memorisation_features)?;
        writeln!(
            f,
            "{:<24}{:>8}{:>8}{:>16}{:>9}{:>9}{:>9}",
            "", "ratio", "AUC", "95 %", "samples", "training", "held out"
        )?;
        for found in self.memorisation.iter().take(LISTED) {
            let Memorisation { ratio, auc, auc_low, auc_high, num_samples, num_held_out, num_train } =
                found.memorisation;
            let interval = format!("{auc_low:.3}–{auc_high:.3}");
            writeln!(
                f,
                "{:<24}{ratio:>8.3}{auc:>8.3}{interval:>16}{num_samples:>9}{num_train:>9}{num_held_out:>9}",
                found.member
            )?;
        }
        match self.memorisation.len().saturating_sub(LISTED) {
            0 => Ok(()),
            more => writeln!(f, "and {more} more members (all of them with --json)"),
        }
    }
}

type Row = (&'static str, fn(&SetScores) -> Option<String>);

const ROWS: [Row; 11] = [
    ("n", |s| Some(s.n.to_string())),
    ("fid", |s| s.fid.map(|fid| format!("{fid:.3}"))),
    ("fd_small", |s| s.fd_small.map(|fd| format!("{fd:.2}"))),
    ("kid", |s| s.kid.map(|kid| format!("{kid:.5}"))),
    ("kd_small", |s| s.kd_small.map(|kd| format!("{kd:.4}"))),
    ("precision", |s| Some(format!("{:.4}", s.precision))),
    ("recall", |s| Some(format!("{:.4}", s.recall))),
    ("density", |s| Some(format!("{:.4}", s.density))),
    ("coverage", |s| Some(format!("{:.4}", s.coverage))),
    ("class KL", |s| s.classes.as_ref().map(|classes| format!("{:.4}", classes.class_kl))),
    ("modes", |s| s.classes.as_ref().map(|classes| classes.modes.to_string())),
];

/// How to read a number: direction, unit, and what it was computed with.
fn remark(name: &str, scores: &SetScores) -> String {
    match name {
        "n" => format!("against {} reference images", scores.n_reference),
        "fid" => "lower is closer".into(),
        "fd_small" => "lower is closer; not an FID".into(),
        "kid" | "kd_small" => {
            let SetScores { kd_std, kd_subsets, kd_subset_size, .. } = scores;
            let no = if name == "kid" { "" } else { "; not a KID" };
            format!("lower is closer{no}; ± {kd_std:.5} over {kd_subsets} subsets of {kd_subset_size}")
        }
        "precision" => format!("higher is better; {} nearest neighbours", scores.nearest_k),
        "recall" | "density" | "coverage" => "higher is better".into(),
        "class KL" => "nats, lower is closer".into(),
        "modes" => format!("of {} classes", scores.classes.as_ref().map_or(0, |classes| classes.class_counts.len())),
        _ => String::new(),
    }
}
