//! A log for lines that any machine on the network can cause.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// Lets one line pass per 10 s and counts the others.
#[derive(Debug, Default)]
pub(crate) struct RateLimitedLog(Mutex<Option<(Instant, u64)>>);

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(10);

impl RateLimitedLog {
    /// The line, with the number of lines left out before it; `None` when it is left out itself.
    pub(crate) fn line(&self, line: impl FnOnce() -> String) -> Option<String> {
        let mut last = self.0.lock().expect("no thread panics while it holds the log");
        let now = Instant::now();
        if let Some((_, left_out)) = last.as_mut().filter(|(logged, _)| now - *logged < INTERVAL) {
            *left_out += 1;
            return None;
        }
        let left_out = last.replace((now, 0)).map_or(0, |(_, left_out)| left_out);
        let more = if left_out == 0 { String::new() } else { format!(" (and {left_out} more before)") };
        Some(line() + &more)
    }
}
