//! What a federation leaves behind and may lose after a while: at a site the finished answers and memories of old runs, at the server
//! the checkpoints of runs that are done and what Flower kept, in a run folder its checkpoints.
//!
//! Nothing else is ever touched: not the ledger, keys, the policy, models, records, pictures or the kit for late sites.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use effgan_nn::file::open_to_append;

use crate::failure::{Failure, Result};
use crate::record::run_dir::{MOST_BYTES, is_in_use};
use crate::record::run_info::{RunInfo, Status};

/// Lists what in `folder` nobody has written to for `older_than`, with its bytes, sorted; removes it where that is `really` meant. The folder is a
/// site's kit, a server's folder or a run folder.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage) when it is none of these; when something cannot be looked at or removed.
pub fn prune(folder: &Path, older_than: Duration, really: bool) -> Result<Vec<(PathBuf, u64)>> {
    // Held until all is removed: the server cannot start meanwhile.
    let mut stopped = None;
    let found = if is_file(&folder.join("site.toml")) {
        states_of_runs(&folder.join("state")).map(one_by_one)
    } else if is_file(&folder.join("server.toml")) {
        stopped = lock_server(folder)?;
        let flowers = stopped.as_ref().map(|_| flowers_state(folder));
        runs_below(&folder.join("runs")).map(|runs| one_by_one(runs).into_iter().chain(flowers).collect())
    } else if is_file(&folder.join("run.json")) {
        checkpoints_of(folder).map(one_by_one)
    } else {
        let line = format!("{} is no kit, no server's folder and no run folder", folder.display());
        return Err(Failure::usage(anyhow!(line)));
    };
    let old = old(found.with_context(|| format!("looking through {}", folder.display()))?, older_than)?;
    if really {
        remove_all(&old)?;
    }
    drop(stopped);
    Ok(old)
}

/// Removes what a site keeps in `state_dir` of runs that nobody has asked about for `keep`; the site is not at work on another message.
///
/// # Errors
/// When something cannot be looked at or removed.
pub fn forget(state_dir: &Path, keep: Duration) -> anyhow::Result<()> {
    remove_all(&old(one_by_one(states_of_runs(state_dir)?), keep)?)
}

/// What nobody has written to for `older_than`, with its bytes, sorted; of paths that belong together, all or none.
fn old(found: Vec<Vec<PathBuf>>, older_than: Duration) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let now = SystemTime::now();
    let mut old = Vec::new();
    for together in found {
        let sizes = together.iter().map(|path| size(path).with_context(|| path.display().to_string()));
        let sizes: Vec<Size> = sizes.collect::<anyhow::Result<_>>()?;
        // What is of the future by the clock is new.
        if sizes.iter().all(|size| now.duration_since(size.newest).is_ok_and(|age| age >= older_than)) {
            old.extend(together.into_iter().zip(sizes.iter().map(|size| size.bytes)));
        }
    }
    old.sort();
    Ok(old)
}

fn remove_all(paths: &[(PathBuf, u64)]) -> anyhow::Result<()> {
    paths.iter().try_for_each(|(path, _)| remove(path).with_context(|| format!("removing {}", path.display())))
}

/// Each goes or stays for itself.
fn one_by_one(paths: Vec<PathBuf>) -> Vec<Vec<PathBuf>> {
    paths.into_iter().map(|path| vec![path]).collect()
}

/// Locks the folder of a server: the gate does for as long as it runs, and it always runs beside the `SuperLink`. A lock is seen where
/// ports are not, from another network namespace or container. `None` where another holds it.
///
/// # Errors
/// When the file cannot be made or locked.
pub fn lock_server(server: &Path) -> anyhow::Result<Option<File>> {
    let path = server.join("superlink.lock");
    let lock = || -> io::Result<Option<File>> {
        let file = open_to_append(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    };
    lock().with_context(|| format!("locking {}", path.display()))
}

/// What a site keeps of each run, by the run's hash.
fn states_of_runs(state: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let is_hash =
        |name: &str| name.len() == 16 && name.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
    Ok(folders_in(state)?.into_iter().filter(|path| name_of(path).is_some_and(is_hash)).collect())
}

/// The checkpoints of all runs in the server's folder that are done.
fn runs_below(runs: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let runs = folders_in(runs)?.into_iter().filter(|run| is_file(&run.join("run.json")));
    let checkpoints: Vec<Vec<PathBuf>> = runs.map(|run| checkpoints_of(&run)).collect::<anyhow::Result<_>>()?;
    Ok(checkpoints.concat())
}

/// The checkpoints of a run that is done and in nobody's hands.
fn checkpoints_of(run: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let json = effgan_nn::file::read_file(&run.join("run.json"), MOST_BYTES)?;
    let info: RunInfo = serde_json::from_slice(&json).with_context(|| format!("{}/run.json", run.display()))?;
    let checkpoints = run.join("checkpoints");
    let may_go = info.status == Status::Done && is_folder(&checkpoints) && !is_in_use(run);
    Ok(if may_go { vec![checkpoints] } else { Vec::new() })
}

/// The `SuperLink`'s database, whose files are one; the gate tells it the sites' keys again.
fn flowers_state(server: &Path) -> Vec<PathBuf> {
    let files = ["state.db", "state.db-wal", "state.db-shm"].map(|name| server.join(name));
    files.into_iter().filter(|path| is_file(path)).collect()
}

/// How much lies somewhere, and when it was last written to.
struct Size {
    bytes: u64,
    newest: SystemTime,
}

/// Of a file, or of all files below a folder; links count as themselves.
fn size(path: &Path) -> io::Result<Size> {
    let metadata = fs::symlink_metadata(path)?;
    let newest = metadata.modified()?;
    if !metadata.is_dir() {
        return Ok(Size { bytes: metadata.len(), newest });
    }
    // A folder's own time changes when something is removed from it.
    let mut all = Size { bytes: 0, newest: SystemTime::UNIX_EPOCH };
    let mut is_empty = true;
    for entry in fs::read_dir(path)? {
        let inside = size(&entry?.path())?;
        all = Size { bytes: all.bytes + inside.bytes, newest: all.newest.max(inside.newest) };
        is_empty = false;
    }
    Ok(if is_empty { Size { newest, ..all } } else { all })
}

/// Removes a file or a folder and follows no link.
fn remove(path: &Path) -> io::Result<()> {
    if is_folder(path) { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// Folders in `path`, links to folders not among them; none where it is not there, or is a link itself.
fn folders_in(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !is_folder(path) {
        return Ok(Vec::new());
    }
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    Ok(paths.into_iter().filter(|path| is_folder(path)).collect())
}

fn name_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).as_ref().is_ok_and(Metadata::is_file)
}

fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).as_ref().is_ok_and(Metadata::is_dir)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    /// A file of five bytes that was written so many days ago.
    fn file(folder: &TempDir, name: &str, days: u32) {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"bytes").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(SystemTime::now() - days * DAY).unwrap();
    }

    /// Names inside of the folder and bytes.
    fn pruned(folder: &TempDir, days: u32, really: bool) -> Vec<(String, u64)> {
        let pruned = prune(folder.path(), days * DAY, really).unwrap();
        let name = |path: PathBuf| path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned();
        pruned.into_iter().map(|(path, bytes)| (name(path), bytes)).collect()
    }

    const OLD: &str = "state/0123456789abcdef";

    #[test]
    fn a_site_loses_what_it_kept_of_old_runs_and_nothing_else() {
        let kit = tempfile::tempdir().unwrap();
        let kept = ["site.toml", "key", "policy.toml", "ledger.jsonl", "state/approvals.json", "state/hold-out/secret"];
        for name in kept {
            file(&kit, name, 400);
        }
        file(&kit, &format!("{OLD}/north/round_0001/north.safetensors"), 40);
        file(&kit, &format!("{OLD}/north/clients/north/round_0001.safetensors"), 31);
        // A run of which anything is new is new.
        file(&kit, "state/fedcba9876543210/north/round_0001/north.safetensors", 40);
        file(&kit, "state/fedcba9876543210/north/round_0002/north.safetensors", 2);
        symlink(kit.path().join(OLD), kit.path().join("state/aaaaaaaaaaaaaaaa")).unwrap();

        assert_eq!(pruned(&kit, 30, false), [(OLD.to_owned(), 10)]);
        assert!(kit.path().join(OLD).exists(), "nothing goes unless it is really meant");
        assert_eq!(pruned(&kit, 41, true), []);
        assert_eq!(pruned(&kit, 30, true), [(OLD.to_owned(), 10)]);
        assert!(!kit.path().join(OLD).exists() && kit.path().join("state/fedcba9876543210").exists());
        assert!(kept.iter().all(|name| kit.path().join(name).exists()));
        assert_eq!(pruned(&kit, 30, true), []);
    }

    /// A run folder below the server's.
    fn run(folder: &TempDir, name: &str, status: &str) {
        let info = format!(
            r#"{{"name":"a","status":"{status}","algorithm":"effgan","seed":1,"jobs":1,"version":"0.1.0",
            "machine":{{"cpu":"","cores":1,"instruction_set":"","os":""}},"dataset":{{"name":"m","image_shape":[1,2,2],"num_classes":2,"num_dealt":5,"num_test":null}},
            "partition":{{"clients":[],"num_examples":[],"class_counts":null,"label_skew":null}},"network":{{"generator_values":1,"discriminator_values":1}},
            "mean_is_fedgan":false,"started":0,"seconds":1.0}}"#
        );
        let of_run = |inside: &str| format!("{name}{inside}");
        file(folder, &of_run("run.json"), 40);
        fs::write(folder.path().join(of_run("run.json")), info).unwrap();
        for inside in
            ["checkpoints/round_0001.safetensors", "model/manifest.json", "join/generator.safetensors", "metrics.jsonl"]
        {
            file(folder, &of_run(inside), 40);
        }
    }

    #[test]
    fn a_run_that_is_done_loses_its_checkpoints_and_others_go_on() {
        let folder = tempfile::tempdir().unwrap();
        run(&folder, "", "done");
        assert_eq!(pruned(&folder, 30, true), [("checkpoints".to_owned(), 5)]);
        assert!(
            ["model/manifest.json", "join/generator.safetensors"].iter().all(|name| folder.path().join(name).exists())
        );
        let open = tempfile::tempdir().unwrap();
        run(&open, "", "interrupted");
        assert_eq!(pruned(&open, 30, true), []);
    }

    #[test]
    fn a_server_loses_flowers_state_only_while_nobody_holds_its_lock_and_only_as_a_whole() {
        let server = tempfile::tempdir().unwrap();
        for name in ["state.db", "state.db-shm", "server.toml", "sites.toml", "gate.json", "ca.key"] {
            file(&server, name, 40);
        }
        file(&server, "state.db-wal", 2);
        run(&server, "runs/first/", "done");
        // No port is open: the SuperLink may be in another network namespace.
        let gate = lock_server(server.path()).unwrap().unwrap();
        let checkpoints = ("runs/first/checkpoints".to_owned(), 5);
        assert_eq!(pruned(&server, 1, false), std::slice::from_ref(&checkpoints));
        drop(gate);
        assert_eq!(pruned(&server, 30, true), [checkpoints], "its journal is new");
        let whole = ["state.db", "state.db-shm", "state.db-wal"].map(|name| (name.to_owned(), 5));
        assert_eq!(pruned(&server, 1, true), whole);
        assert!(["sites.toml", "gate.json", "ca.key"].iter().all(|name| server.path().join(name).exists()));
        let line = prune(&server.path().join("runs"), DAY, true).unwrap_err().line();
        assert!(line.ends_with("is no kit, no server's folder and no run folder"), "{line}");
    }
}
