//! By what a picture is known to be the same: the size and the times of its file.

use std::{
    os::unix::fs::MetadataExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// A change after another one within so many nanoseconds may leave the same times: file systems count in up to two seconds.
const UNSETTLED: i128 = 2_000_000_000;

/// The size and the times of a file.
///
/// The time of the last change of the file's entry is what programs cannot set. Without it a picture could be replaced by one of the same
/// size and date, as archives that date all files alike have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) len: u64,
    /// When the contents and when the entry were changed: seconds and nanoseconds since 1970.
    pub(super) times: [(i64, u32); 2],
}

impl Stamp {
    /// Number of bytes of [`to_bytes`](Self::to_bytes).
    pub(super) const LEN: usize = 32;

    /// The stamp of the file at `path`; `None` where there is none.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let file = path.metadata().ok()?;
        let times = [(file.mtime(), file.mtime_nsec() as u32), (file.ctime(), file.ctime_nsec() as u32)];
        Some(Self { len: file.len(), times })
    }

    /// Whether any change after `now` gives another stamp.
    pub(super) fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos().cast_signed());
        let [modified, changed] =
            self.times.map(|(seconds, nanos)| i128::from(seconds) * 1_000_000_000 + i128::from(nanos));
        // A date in the future may be a camera's; the system's own is from a clock that is ahead of this one.
        (modified - now).abs() > UNSETTLED && changed < now - UNSETTLED
    }

    pub(super) fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let (len, rest) = bytes.split_at(8);
        let [len, a, c] =
            [len, &rest[..8], &rest[8..16]].map(|part| u64::from_le_bytes(part.try_into().expect("8 bytes")));
        let [b, d] = [&rest[16..20], &rest[20..]].map(|part| u32::from_le_bytes(part.try_into().expect("4 bytes")));
        Self { len, times: [(a.cast_signed(), b), (c.cast_signed(), d)] }
    }

    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        let [(a, b), (c, d)] = self.times;
        let parts =
            [&self.len.to_le_bytes()[..], &a.to_le_bytes(), &c.to_le_bytes(), &b.to_le_bytes(), &d.to_le_bytes()];
        parts.concat().try_into().expect("8 + 8 + 8 + 4 + 4 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_file_that_changed_within_two_seconds_is_not_settled() {
        let at = |modified, changed| Stamp { len: 1, times: [(modified, 0), (changed, 0)] };
        let is_settled = |stamp: Stamp| stamp.is_settled(UNIX_EPOCH + Duration::from_secs(1000));
        assert!(is_settled(at(997, 997)) && is_settled(at(1, 997)) && is_settled(at(2000, 997)));
        for (modified, changed) in [(998, 997), (1000, 997), (1002, 997), (1, 998), (1, 1000), (1, 2000)] {
            assert!(!is_settled(at(modified, changed)), "{modified}, {changed}");
        }
    }
}
