//! An audit as text for people.

use std::fmt::{self, Display, Formatter};

use effgan_metrics::{Attack, Membership};

use super::{Attacked, Audit, MemberAudit, Space};

/// Maximum number of members that are listed.
const LISTED: usize = 20;
/// The share of intervals that are above 0.5 where nothing can be told.
const BY_CHANCE: f64 = 0.025;

impl Display for Audit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.of)?;
        writeln!(f, "Can the images that a generator was trained on be told from images of the same")?;
        writeln!(f, "clients that it never saw, by {} samples? Area under the ROC curve with", self.samples)?;
        writeln!(f, "its 95 % interval: 0.5 is guessing, 1 is certainty.")?;
        let wholes = || self.average.iter().chain(&self.ensemble);
        let attacks = || wholes().chain(&self.members).flat_map(|member| &member.attacks);
        if attacks().any(|attacked| attacked.membership.is_calibrated) {
            writeln!(f, "Added: less what the generator that all members began with tells already.")?;
            writeln!(f, "\n{:<28}{:<24}added by fine-tuning", "", "in all")?;
        } else {
            writeln!(f)?;
        }
        wholes().try_for_each(|whole| write!(f, "{whole}"))?;
        self.members.iter().take(LISTED).try_for_each(|member| write!(f, "{member}"))?;
        if let Some(more @ 1..) = self.members.len().checked_sub(LISTED) {
            writeln!(f, "and {more} more members (all of them with --json)")?;
        }
        let intervals = attacks().count();
        if intervals > 0 {
            let by_chance = (BY_CHANCE * intervals as f64).ceil();
            writeln!(f, "\n* above 0.5; of {intervals} intervals, about {by_chance} would be so by chance")?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

impl Display for MemberAudit {
    /// A line for the member, and one for each attack in each space.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { member, num_train, num_held_out, attacks, .. } = self;
        writeln!(f, "{member}: {num_train} images trained, {num_held_out} were held out")?;
        for Attacked { space, membership } in attacks.iter().filter(|attacked| !attacked.membership.is_calibrated) {
            let added = self.outcome(membership.attack, *space, true).map(cell).unwrap_or_default();
            let what = format!("  {}, {}", membership.attack.name(), name(*space));
            writeln!(f, "{}", format!("{what:<28}{:<24}{added}", cell(membership)).trim_end())?;
        }
        Ok(())
    }
}

impl MemberAudit {
    /// The attack with the largest area under the ROC curve.
    pub fn strongest(&self) -> Option<&Attacked> {
        self.attacks.iter().max_by(|one, other| one.membership.auc.total_cmp(&other.membership.auc))
    }

    /// The outcome of an attack, if it was made.
    pub fn outcome(&self, attack: Attack, space: Space, is_calibrated: bool) -> Option<&Membership> {
        let of = |found: &&Attacked| {
            (found.space, found.membership.attack, found.membership.is_calibrated) == (space, attack, is_calibrated)
        };
        self.attacks.iter().find(of).map(|found| &found.membership)
    }
}

impl Display for Attacked {
    /// The attack in a sentence.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { space, membership } = self;
        let added = if membership.is_calibrated { " (added)" } else { "" };
        write!(f, "{} on {}{added}", membership.attack.name(), name(*space))
    }
}

fn name(space: Space) -> &'static str {
    match space {
        Space::Features => "features",
        Space::Pixels => "pixels",
    }
}

fn cell(Membership { auc, auc_low, auc_high, .. }: &Membership) -> String {
    let mark = if *auc_low > 0.5 { " *" } else { "" };
    format!("{auc:.3} ({auc_low:.3}–{auc_high:.3}){mark}")
}
