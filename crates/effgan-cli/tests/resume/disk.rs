//! A disk that is full, and a folder that cannot be written to, on real file systems of their own.

use super::*;

/// A file system in memory, mounted at a folder until the value is dropped.
struct Disk(TempDir);

impl Disk {
    /// `None`, after printing why, where this process may not mount.
    #[expect(clippy::print_stdout, reason = "a skipped test says so")]
    fn of(size: &str) -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", text(disk.0.path())])
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(disk);
        }
        println!("skipped: this process may not mount a file system of its own");
        None
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}"), text(self.0.path())]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Fails where it was never mounted.
        let _ = Command::new("umount").arg(self.0.path()).stderr(Stdio::null()).status();
    }
}

#[test]
fn a_run_whose_disk_is_full_says_so_and_resumes_when_there_is_room() {
    let (_folder, whole) = done(&[]);
    // The disk is full at the beginning, in or after the first round, and at the end.
    for size in ["256k", "1m", "2m"] {
        let Some(disk) = Disk::of(size) else { return };
        let run = disk.0.path().join("run");
        let (code, line) = failure(&run_tiny(&run, &[]));
        assert!(line.contains("No space left on device"), "{size}: {line}");
        assert_eq!(code, Some(4), "{size}: {line}");
        disk.remount("size=64m");
        resumed(&run, &[]);
        assert_eq!(outcome(&run), outcome(&whole), "{size}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_is_left_alone() {
    let Some(disk) = Disk::of("64m") else { return };
    let run = disk.0.path().join("run");
    assert!(run_tiny(&run, &[]).status.success());
    disk.remount("ro");
    let (code, line) = failure(&effgan(&["resume", text(&run), "--set", "algorithm.rounds=3"]));
    assert_eq!(code, Some(2), "{line}");
    assert!(line.starts_with("locking ") && line.ends_with("Read-only file system (os error 30)"), "{line}");
    let (code, line) = failure(&run_tiny(&disk.0.path().join("new"), &[]));
    assert_eq!(code, Some(2));
    assert!(line.starts_with("cannot make the run folder ") && line.contains("Read-only file system"), "{line}");
    disk.remount("rw");
    resumed(&run, &["--set", "algorithm.rounds=3"]);
}
