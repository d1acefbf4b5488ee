//! Points in time.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

/// A point in time.
pub(super) struct Mark {
    pub(super) at: Instant,
    /// User CPU time of the whole process up to then.
    pub(super) user: Duration,
}

impl Mark {
    pub(super) fn now() -> Self {
        let user = getrusage(UsageWho::RUSAGE_SELF).expect("the process may ask about itself").user_time();
        let user = Duration::from_secs(user.tv_sec() as u64) + Duration::from_micros(user.tv_usec() as u64);
        Self { at: Instant::now(), user }
    }

    /// Wall and user CPU seconds since then.
    pub(super) fn elapsed(&self) -> (f64, f64) {
        let now = Self::now();
        ((now.at - self.at).as_secs_f64(), now.user.saturating_sub(self.user).as_secs_f64())
    }
}
