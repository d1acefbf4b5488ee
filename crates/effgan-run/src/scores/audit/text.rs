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
        writeln!(
            f,
            "Can the images that a member was trained on be told from images of its client that it never saw, by {} samples?",
            self.samples
        )?;
        writeln!(f, "Area under the ROC curve with its 95 % interval: 0.5 is guessing, 1 is certainty.")?;
        let (columns, rows) = (self.columns(), self.rows());
        if rows.len() > 1 {
            writeln!(
                f,
                "Added by the fine-tuning: less what the generator that the members began with tells already."
            )?;
        }
        write!(f, "\n{:<14}{:>7}{:>9}  {:<9}", "", "trains", "held out", "")?;
        for (attack, space) in &columns {
            let column = format!("{}, {}", attack.name(), name(*space));
            write!(f, "{column:>25}")?;
        }
        writeln!(f)?;
        for member in self.members.iter().take(LISTED) {
            member.write(f, &rows, &columns)?;
        }
        if let Some(more @ 1..) = self.members.len().checked_sub(LISTED) {
            writeln!(f, "and {more} more members (all of them with --json)")?;
        }
        let intervals = columns.len() * rows.len() * self.members.len();
        if intervals > 0 {
            let by_chance = (BY_CHANCE * intervals as f64).ceil();
            writeln!(
                f,
                "\n* the interval is above 0.5; of {intervals} intervals, about {by_chance} would be so by chance"
            )?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

impl Audit {
    /// The attacks and what they compare, each once.
    fn columns(&self) -> Vec<(Attack, Space)> {
        let mut columns = Vec::new();
        for Attacked { space, membership } in self.members.iter().flat_map(|member| &member.attacks) {
            let column = (membership.attack, *space);
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }

    /// Whether attacks are calibrated, and what that is called.
    fn rows(&self) -> Vec<(bool, &'static str)> {
        let mut attacks = self.members.iter().flat_map(|member| &member.attacks);
        let added = attacks.any(|attacked| attacked.membership.is_calibrated);
        [(false, "in all"), (true, "added")].into_iter().take(if added { 2 } else { 1 }).collect()
    }
}

impl MemberAudit {
    fn write(&self, f: &mut Formatter<'_>, rows: &[(bool, &str)], columns: &[(Attack, Space)]) -> fmt::Result {
        let Self { member, num_train, num_held_out, .. } = self;
        for (i, (is_calibrated, label)) in rows.iter().enumerate() {
            match i {
                0 => write!(f, "{member:<14}{num_train:>7}{num_held_out:>9}  {label:<9}")?,
                _ => write!(f, "{:30}  {label:<9}", "")?,
            }
            for &(attack, space) in columns {
                write!(f, "{:>25}", self.outcome(attack, space, *is_calibrated).map(cell).unwrap_or_default())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    /// The outcome of an attack, if it was made.
    pub fn outcome(&self, attack: Attack, space: Space, is_calibrated: bool) -> Option<&Membership> {
        let of = |found: &&Attacked| {
            (found.space, found.membership.attack, found.membership.is_calibrated) == (space, attack, is_calibrated)
        };
        self.attacks.iter().find(of).map(|found| &found.membership)
    }
}

fn name(space: Space) -> &'static str {
    match space {
        Space::Features => "features",
        Space::Pixels => "pixels",
    }
}

fn cell(Membership { auc, auc_low, auc_high, .. }: &Membership) -> String {
    let mark = if *auc_low > 0.5 { "*" } else { " " };
    format!("{auc:.3} ({auc_low:.3}–{auc_high:.3}){mark}")
}
