//! What a device that failed says, as one line.

use burn::tensor::ExecutionError;

use crate::NnError;

/// Phrases in which Burn, wgpu and drivers say that there is no memory, in lower case.
const IS_FULL: [&str; 5] =
    ["out of device memory", "out-of-memory", "out of memory", "can't allocate", "not enough memory"];

/// The error of a read from a device.
pub(crate) fn failure(error: &ExecutionError) -> NnError {
    #[cfg(feature = "gpu")]
    let said = super::gpu::last_words().unwrap_or_else(|| error.to_string());
    #[cfg(not(feature = "gpu"))]
    let said = error.to_string();
    of_text(&said)
}

/// Burn's texts have several lines, each cause after the words "Caused by:", and a backtrace at the end.
fn of_text(said: &str) -> NnError {
    if IS_FULL.iter().any(|phrase| said.to_lowercase().contains(phrase)) {
        return NnError::DeviceIsFull;
    }
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "Caused by:");
    let causes = lines.take_while(|line| !line.starts_with("Backtrace") && !line.starts_with("No backtrace"));
    NnError::DeviceFailed(causes.last().unwrap_or(said).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_missing_is_told_from_other_failures_and_a_failure_is_its_cause() {
        let full = "An error happened during execution\nCaused by:\n  An IO error happened\nCaused by:\n  can't allocate buffer of size: 131\n\
                    No backtrace available";
        assert!(matches!(of_text(full), NnError::DeviceIsFull));
        for full in ["wgpu error: Out of Memory", "Not enough memory left.", "Can't allocate 12 bytes: every page"] {
            assert!(matches!(of_text(full), NnError::DeviceIsFull), "{full}");
        }
        let lost = "The device is poisoned\nCaused by:\n  Unknown: the driver was reset\nBacktrace\n 0: main";
        assert_eq!(of_text(lost).to_string(), "the device failed: Unknown: the driver was reset");
    }
}
