//! An audit as text for people.

use std::fmt::{self, Display, Formatter};

use effgan_metrics::{Attack, Membership};

use super::{Attacked, Audit, MemberAudit, Space};

/// Maximum number of members that are listed.
const LISTED: usize = 20;

impl Display for Audit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.of)?;
        writeln!(
            f,
            "Can the images that a member was trained on be told from images of its client that it never saw, by {} samples?",
            self.samples
        )?;
        writeln!(f, "Area under the ROC curve with its 95 % interval: 0.5 is guessing, 1 is certainty.")?;
        if self.is_calibrated {
            writeln!(f, "What the generator that it began with tells is subtracted.")?;
        }
        write!(f, "\n{:<14}{:>7}{:>9}", "", "trains", "held out")?;
        for (attack, space) in COLUMNS {
            let column = format!("{}, {}", attack.name(), space_name(space));
            write!(f, "{column:>25}")?;
        }
        writeln!(f)?;
        for member in self.members.iter().take(LISTED) {
            let MemberAudit { member: name, num_train, num_held_out, .. } = member;
            write!(f, "{name:<14}{num_train:>7}{num_held_out:>9}")?;
            for (attack, space) in COLUMNS {
                write!(f, "{:>25}", member.outcome(attack, space).map(cell).unwrap_or_default())?;
            }
            writeln!(f)?;
        }
        if let Some(more @ 1..) = self.members.len().checked_sub(LISTED) {
            writeln!(f, "and {more} more members (all of them with --json)")?;
        }
        let intervals = COLUMNS.len() * self.members.len();
        if intervals > 0 {
            let by_chance = BY_CHANCE * intervals as f64;
            writeln!(
                f,
                "\n* told apart: the interval is above 0.5; of {intervals} intervals, {by_chance:.1} are so by chance"
            )?;
        }
        self.not_audited.iter().try_for_each(|line| writeln!(f, "not audited, {line}"))
    }
}

/// The share of intervals that are above 0.5 where nothing can be told.
const BY_CHANCE: f64 = 0.025;

/// The attacks and what they compare, in the order of the table.
const COLUMNS: [(Attack, Space); 4] = [
    (Attack::NearestSample, Space::Features),
    (Attack::NearestSample, Space::Pixels),
    (Attack::MonteCarlo, Space::Features),
    (Attack::MonteCarlo, Space::Pixels),
];

fn space_name(space: Space) -> &'static str {
    match space {
        Space::Features => "features",
        Space::Pixels => "pixels",
    }
}

fn cell(Membership { auc, auc_low, auc_high, .. }: &Membership) -> String {
    let mark = if *auc_low > 0.5 { "*" } else { " " };
    format!("{auc:.3} ({auc_low:.3}–{auc_high:.3}){mark}")
}

impl MemberAudit {
    /// The outcome of an attack: the calibrated one, where there is one.
    pub fn outcome(&self, attack: Attack, space: Space) -> Option<&Membership> {
        let of = |found: &&Attacked| found.space == space && found.membership.attack == attack;
        let found = self.attacks.iter().filter(of).map(|found| &found.membership);
        found.max_by_key(|membership| membership.is_calibrated)
    }
}
