//! What a federation leaves on disk and may be removed after a while: at a site, the finished replies and client states of old runs; at the
//! server, the checkpoints of finished runs and Flower's database; in a run folder, its checkpoints.
//!
//! Nothing else is ever removed: not the ledger, keys, the policy, models, records, pictures or a run's `join/` folder.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use effgan_nn::file::open_to_append;

use crate::failure::{Failure, Result};
use crate::record::run_dir::{MAX_BYTES, is_in_use};
use crate::record::run_info::{RunInfo, Status};

/// Lists what has not been written to for `older_than` in `folder`, a site's kit, a server's folder or a run folder: paths and sizes in
/// bytes, sorted. With `really`, removes it.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage) when the folder is not one of these; when something cannot be read or removed.
pub fn prune(folder: &Path, older_than: Duration, really: bool) -> Result<Vec<(PathBuf, u64)>> {
    // Held until everything is removed, so that the server cannot start meanwhile.
    let mut server_lock = None;
    let found = if is_file(&folder.join("site.toml")) {
        states_of_runs(&folder.join("state")).map(one_by_one)
    } else if is_file(&folder.join("server.toml")) {
        server_lock = lock_server(folder)?;
        let flower_state = server_lock.as_ref().map(|_| flower_state(folder));
        checkpoints_below(&folder.join("runs")).map(|runs| one_by_one(runs).into_iter().chain(flower_state).collect())
    } else if is_file(&folder.join("run.json")) {
        checkpoints_of(folder).map(one_by_one)
    } else {
        let line = format!("{} is not a site's kit, a server's folder or a run folder", folder.display());
        return Err(Failure::usage(anyhow!(line)));
    };
    let old = old(found.with_context(|| format!("looking through {}", folder.display()))?, older_than)?;
    if really {
        remove_all(&old)?;
    }
    drop(server_lock);
    Ok(old)
}

/// Removes what a site keeps in `state_dir` of runs that have not asked for `keep`. The caller makes sure that the site is not at work.
///
/// # Errors
/// When something cannot be read or removed.
pub fn remove_old_runs(state_dir: &Path, keep: Duration) -> anyhow::Result<()> {
    remove_all(&old(one_by_one(states_of_runs(state_dir)?), keep)?)
}

/// Those of the groups of paths in which nothing has been written to for `older_than`: paths and sizes in bytes, sorted.
fn old(found: Vec<Vec<PathBuf>>, older_than: Duration) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let now = SystemTime::now();
    let mut old = Vec::new();
    for together in found {
        let sizes = together.iter().map(|path| size(path).with_context(|| path.display().to_string()));
        let sizes: Vec<Size> = sizes.collect::<anyhow::Result<_>>()?;
        // A time in the future, after a change of the clock, counts as new.
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

/// Groups of one: each path is removed or kept by itself.
fn one_by_one(paths: Vec<PathBuf>) -> Vec<Vec<PathBuf>> {
    paths.into_iter().map(|path| vec![path]).collect()
}

/// Locks a server's folder; `None` while another process holds the lock. The gate holds it for as long as it runs, and it always runs beside
/// the `SuperLink`. Unlike a port, a lock is seen from another network namespace or container.
///
/// # Errors
/// When the file cannot be created or locked.
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

/// The folders in which a site keeps what it remembers of a run, named by the hash of the run's id.
fn states_of_runs(state: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let is_hash =
        |name: &str| name.len() == 16 && name.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
    Ok(folders_in(state)?.into_iter().filter(|path| name_of(path).is_some_and(is_hash)).collect())
}

/// The checkpoints of all finished runs in a server's `runs/`.
fn checkpoints_below(runs: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let runs = folders_in(runs)?.into_iter().filter(|run| is_file(&run.join("run.json")));
    let checkpoints: Vec<Vec<PathBuf>> = runs.map(|run| checkpoints_of(&run)).collect::<anyhow::Result<_>>()?;
    Ok(checkpoints.concat())
}

/// The checkpoints of a run, when it is finished and no process uses its folder.
fn checkpoints_of(run: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let json = effgan_nn::file::read_file(&run.join("run.json"), MAX_BYTES)?;
    let info: RunInfo = serde_json::from_slice(&json).with_context(|| format!("{}/run.json", run.display()))?;
    let checkpoints = run.join("checkpoints");
    let may_go = info.status == Status::Done && is_folder(&checkpoints) && !is_in_use(run);
    Ok(if may_go { vec![checkpoints] } else { Vec::new() })
}

/// The files of the `SuperLink`'s database, which belong together. After they are removed the gate registers the sites' keys again.
fn flower_state(server: &Path) -> Vec<PathBuf> {
    let files = ["state.db", "state.db-wal", "state.db-shm"].map(|name| server.join(name));
    files.into_iter().filter(|path| is_file(path)).collect()
}

/// The size of a file or folder, and when it was last written to.
struct Size {
    bytes: u64,
    newest: SystemTime,
}

/// The size of a file, or of all files below a folder. Links are not followed.
fn size(path: &Path) -> io::Result<Size> {
    let metadata = fs::symlink_metadata(path)?;
    let newest = metadata.modified()?;
    if !metadata.is_dir() {
        return Ok(Size { bytes: metadata.len(), newest });
    }
    // A folder's own time is ignored: it changes when something is removed from the folder.
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

/// The folders in `path`, without links to folders; none when `path` does not exist or is a link itself.
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

    /// Writes a file of five bytes that was last written to so many days ago.
    fn file(folder: &TempDir, name: &str, days: u32) {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"bytes").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(SystemTime::now() - days * DAY).unwrap();
    }

    /// Prunes, and returns names inside the folder and sizes in bytes.
    fn pruned(folder: &TempDir, days: u32, really: bool) -> Vec<(String, u64)> {
        let pruned = prune(folder.path(), days * DAY, really).unwrap();
        let name = |path: PathBuf| path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned();
        pruned.into_iter().map(|(path, bytes)| (name(path), bytes)).collect()
    }

    const OLD: &str = "state/0123456789abcdef";

    #[test]
    fn a_site_loses_its_state_of_old_runs_and_nothing_else() {
        let kit = tempfile::tempdir().unwrap();
        let kept = ["site.toml", "key", "policy.toml", "ledger.jsonl", "state/approvals.json", "state/hold-out/secret"];
        for name in kept {
            file(&kit, name, 400);
        }
        file(&kit, &format!("{OLD}/north/round_0001/north.safetensors"), 40);
        file(&kit, &format!("{OLD}/north/clients/north/round_0001.safetensors"), 31);
        // One new file makes a run new.
        file(&kit, "state/fedcba9876543210/north/round_0001/north.safetensors", 40);
        file(&kit, "state/fedcba9876543210/north/round_0002/north.safetensors", 2);
        symlink(kit.path().join(OLD), kit.path().join("state/aaaaaaaaaaaaaaaa")).unwrap();

        assert_eq!(pruned(&kit, 30, false), [(OLD.to_owned(), 10)]);
        assert!(kit.path().join(OLD).exists(), "nothing is removed without `really`");
        assert_eq!(pruned(&kit, 41, true), []);
        assert_eq!(pruned(&kit, 30, true), [(OLD.to_owned(), 10)]);
        assert!(!kit.path().join(OLD).exists() && kit.path().join("state/fedcba9876543210").exists());
        assert!(kept.iter().all(|name| kit.path().join(name).exists()));
        assert_eq!(pruned(&kit, 30, true), []);
    }

    /// Writes a run folder with this status.
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
    fn a_finished_run_loses_its_checkpoints_and_an_unfinished_one_keeps_them() {
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
    fn flowers_database_is_removed_only_as_a_whole_and_only_while_nobody_holds_the_servers_lock() {
        let server = tempfile::tempdir().unwrap();
        for name in ["state.db", "state.db-shm", "server.toml", "sites.toml", "gate.json", "ca.key"] {
            file(&server, name, 40);
        }
        file(&server, "state.db-wal", 2);
        run(&server, "runs/first/", "done");
        // The SuperLink may run in another network namespace, where its port cannot be seen; the lock can.
        let gate = lock_server(server.path()).unwrap().unwrap();
        let checkpoints = ("runs/first/checkpoints".to_owned(), 5);
        assert_eq!(pruned(&server, 1, false), std::slice::from_ref(&checkpoints));
        drop(gate);
        assert_eq!(pruned(&server, 30, true), [checkpoints], "the journal is new");
        let whole = ["state.db", "state.db-shm", "state.db-wal"].map(|name| (name.to_owned(), 5));
        assert_eq!(pruned(&server, 1, true), whole);
        assert!(["sites.toml", "gate.json", "ca.key"].iter().all(|name| server.path().join(name).exists()));
        let line = prune(&server.path().join("runs"), DAY, true).unwrap_err().line();
        assert!(line.ends_with("is not a site's kit, a server's folder or a run folder"), "{line}");
    }
}
