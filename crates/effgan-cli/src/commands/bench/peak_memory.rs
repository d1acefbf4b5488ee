//! How much memory a part of this process takes, on Linux. Pages of files, such as the program's own code, do not count: the system
//! can drop them.

use std::hint::black_box;
use std::time::Duration;
use std::{fs, thread};

/// The memory of the process at the start of the part.
pub(super) struct PeakMemory {
    kib_before: u64,
}

impl PeakMemory {
    /// Starts the measurement; `None` where the system does not say how much memory the process has.
    pub(super) fn start() -> Option<Self> {
        return_freed_memory();
        // Resets the peak. Where the system refuses, the peak includes that of the process's start.
        let _ = fs::write("/proc/self/clear_refs", "5");
        Some(Self { kib_before: kib("RssAnon:")? })
    }

    /// The peak since then, less the memory before, in MB.
    pub(super) fn megabytes(&self) -> Option<f64> {
        // Pages of files stay: at the peak there were no more than now.
        let peak = kib("VmHWM:")?.saturating_sub(kib("RssFile:")?);
        Some(peak.saturating_sub(self.kib_before) as f64 * 1024e-6)
    }
}

/// Lets the allocator return what was freed to the system, or the part would not be seen to take it. mimalloc returns memory some
/// 100 ms after it was freed, when it next frees a large piece.
fn return_freed_memory() {
    thread::sleep(Duration::from_millis(200));
    drop(black_box(vec![0_u8; 1 << 26]));
}

/// A field of `/proc/self/status` that is a number of KiB.
fn kib(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_freed_again_counts() {
        let memory = PeakMemory::start().unwrap();
        drop(black_box(vec![1_u8; 200_000_000]));
        let megabytes = memory.megabytes().unwrap();
        // Tests that run at the same time may take or free some.
        assert!(megabytes > 150.0, "{megabytes}");
    }
}
