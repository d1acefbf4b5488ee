//! How a client's local epochs are divided: between rounds of averaging, or turns, which the clients share, and fine-tuning.

use std::fmt;

use crate::{FlError, Result};

/// The local epochs of each client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Division {
    /// Rounds of averaging, or turns of each client.
    pub rounds: u32,
    /// Local epochs in each round or turn.
    pub epochs: u32,
    /// Local epochs of fine-tuning.
    pub fine_tune_epochs: u32,
}

impl Division {
    /// The share of the epochs that `algorithm.share = "recommended"` spends in rounds of averaging, or in turns. docs/results has the measurements that
    /// it comes from.
    pub const RECOMMENDED_SHARE: f64 = 0.2;
    /// The number of rounds, or of turns of each client, when the config gives none.
    pub const RECOMMENDED_ROUNDS: u32 = 2;
    /// No run has this many epochs; larger numbers are typing errors.
    pub const MAX_EPOCHS: u32 = 1_000_000;

    /// Divides `total` epochs so that `share` of them, in `0.0..1.0`, are spent in rounds of averaging: in `rounds` of them, or by default in
    /// two. Rounds are equally long, so the part that is shared may differ from `share` by half an epoch a round; a `share` above 0 gives
    /// each round one epoch at least.
    ///
    /// # Errors
    /// [`FlError::Config`] when a number is out of its bounds, or nothing remains for the fine-tuning.
    pub fn of(total: u32, share: f64, rounds: Option<u32>) -> Result<Self> {
        Self::of_parts("rounds", total, share, rounds)
    }

    /// The same with turns of each client in the place of rounds.
    ///
    /// # Errors
    /// As [`of`](Self::of), and when nothing is shared.
    pub fn of_turns(total: u32, share: f64, turns: Option<u32>) -> Result<Self> {
        if share == 0.0 {
            let line = "algorithm.share = 0.0 leaves no epochs for turns; raise it, or take local-ensemble";
            return Err(FlError::Config(line.into()));
        }
        Self::of_parts("turns", total, share, turns)
    }

    /// `key` is what the config calls the number of `rounds`.
    fn of_parts(key: &str, total: u32, share: f64, rounds: Option<u32>) -> Result<Self> {
        check_total(total)?;
        if !(0.0..1.0).contains(&share) {
            let line = format!(
                "algorithm.share = {share:?} must be at least 0 and below 1; fedgan is the algorithm that shares everything"
            );
            return Err(FlError::Config(line));
        }
        if share == 0.0 {
            return Self::never_shared(total, rounds);
        }
        if rounds == Some(0) || total == 1 {
            let line = match rounds {
                Some(0) => format!(
                    "algorithm.{key} = 0 leaves none of algorithm.total_epochs = {total} to share; raise it, or set algorithm.share = 0.0"
                ),
                _ => format!(
                    "algorithm.total_epochs = {total} is too few to share some and fine-tune; raise it, or set algorithm.share = 0.0"
                ),
            };
            return Err(FlError::Config(line));
        }
        let rounds = rounds.unwrap_or(Self::RECOMMENDED_ROUNDS.min(total - 1));
        // At least one epoch remains for the fine-tuning.
        let most = (total - 1) / rounds;
        if most == 0 {
            return Err(FlError::Config(format!(
                "algorithm.{key} = {rounds} of at least one epoch leave none of algorithm.total_epochs = {total} for the fine-tuning; \
                 lower {key} or raise total_epochs"
            )));
        }
        let epochs = (share * f64::from(total) / f64::from(rounds)).round().clamp(1.0, f64::from(most)) as u32;
        Ok(Self { rounds, epochs, fine_tune_epochs: total - rounds * epochs })
    }

    fn never_shared(total: u32, rounds: Option<u32>) -> Result<Self> {
        match rounds.filter(|rounds| *rounds > 0) {
            Some(rounds) => Err(FlError::Config(format!(
                "algorithm.share = 0.0 leaves no epochs for algorithm.rounds = {rounds}; remove it, or raise the share"
            ))),
            // No round has these epochs, but a config always says how long a round is.
            None => Ok(Self { rounds: 0, epochs: total, fine_tune_epochs: total }),
        }
    }

    /// The epochs in all.
    pub fn total(&self) -> u32 {
        self.shared().saturating_add(self.fine_tune_epochs)
    }

    /// The part of the epochs that is spent in rounds of averaging.
    pub fn share(&self) -> f64 {
        f64::from(self.shared()) / f64::from(self.total())
    }

    fn shared(&self) -> u32 {
        self.rounds.saturating_mul(self.epochs)
    }
}

impl fmt::Display for Division {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, epochs, fine_tune_epochs } = self;
        if *rounds == 0 {
            return write!(f, "{fine_tune_epochs} of fine-tuning, none shared");
        }
        let percent = 100.0 * self.share();
        write!(f, "{percent:.0} % shared in {rounds} × {epochs}, then {fine_tune_epochs} of fine-tuning")
    }
}

/// Checks `algorithm.total_epochs`.
///
/// # Errors
/// [`FlError::Config`] when it is out of its bounds.
pub fn check_total(total: u32) -> Result<()> {
    if (1..=Division::MAX_EPOCHS).contains(&total) {
        return Ok(());
    }
    Err(FlError::Config(format!("algorithm.total_epochs = {total} must be from 1 to {}", Division::MAX_EPOCHS)))
}
