//! Downloads from a local server that behaves, and misbehaves, like real ones.

mod server;

use effgan_data::{
    DatasetName,
    download::{Item, Outcome, RemoteFile, Source, fetch_file, is_fetched},
};
use server::{Manner, Request, Server};
use sha2::{Digest, Sha256};
use std::{fs, path::Path};
use tempfile::TempDir;

/// 100,000 bytes with a long period.
fn body() -> Vec<u8> {
    (0..100_000_u32).map(|i| (i.wrapping_mul(i) / 7) as u8).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The file whose bytes are [`body`].
fn file() -> RemoteFile {
    RemoteFile { name: "a.gz", len: 100_000, sha256: sha256(&body()).leak() }
}

fn fetch_from(mirrors: &[&Server], dir: &Path) -> Result<Outcome, String> {
    let urls: Vec<String> = mirrors.iter().map(|server| server.url()).collect();
    fetch_file(&file(), &urls, dir, &mut |_| ()).map_err(|error| error.to_string())
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn asked(from: Option<usize>) -> Request {
    Request { path: "/files/a.gz".into(), from }
}

#[test]
fn a_file_is_downloaded_once() {
    let (dir, server) = (TempDir::new().unwrap(), Server::start(body(), Manner::Well));
    let mut seen = Vec::new();
    let outcome = fetch_file(&file(), &[server.url()], dir.path(), &mut |progress| seen.push(progress.have)).unwrap();
    assert_eq!(outcome, Outcome::From(server.url()));
    assert_eq!(fs::read(dir.path().join("a.gz")).unwrap(), body());
    assert_eq!(names(dir.path()), ["a.gz"]);
    assert!(seen.is_sorted() && seen.first() == Some(&0) && seen.last() == Some(&100_000));
    assert_eq!(fetch_from(&[&server], dir.path()), Ok(Outcome::AlreadyHere));
    assert_eq!(server.requests(), [asked(None)]);
}

#[test]
fn a_broken_connection_is_resumed() {
    let (dir, server) = (TempDir::new().unwrap(), Server::start(body(), Manner::BreakingOff(40_000)));
    assert_eq!(fetch_from(&[&server], dir.path()), Ok(Outcome::From(server.url())));
    assert_eq!(fs::read(dir.path().join("a.gz")).unwrap(), body());
    assert_eq!(server.requests(), [asked(None), asked(Some(40_000)), asked(Some(80_000))]);
}

#[test]
fn a_partial_file_of_an_earlier_call_is_resumed() {
    let (dir, dead) = (TempDir::new().unwrap(), Server::start(body(), Manner::BreakingOff(0)));
    fs::write(dir.path().join("a.gz.part"), &body()[..30_000]).unwrap();
    let error = fetch_from(&[&dead], dir.path()).unwrap_err();
    assert!(
        error.starts_with("could not fetch a.gz: http://127.0.0.1:") && error.contains("broke off after 30000 bytes"),
        "{error}"
    );
    assert!(
        error.ends_with("; try again later, which resumes the download, or name another mirror with --mirror"),
        "{error}"
    );
    assert_eq!(names(dir.path()), ["a.gz.part"]);
    let good = Server::start(body(), Manner::Well);
    assert_eq!(fetch_from(&[&good], dir.path()), Ok(Outcome::From(good.url())));
    assert_eq!(good.requests(), [asked(Some(30_000))]);
    assert_eq!(fs::read(dir.path().join("a.gz")).unwrap(), body());
}

#[test]
fn a_server_without_ranges_starts_over() {
    let (dir, server) = (TempDir::new().unwrap(), Server::start(body(), Manner::WithoutRanges));
    // Wrong bytes, none of which may remain.
    fs::write(dir.path().join("a.gz.part"), vec![1; 70_000]).unwrap();
    assert_eq!(fetch_from(&[&server], dir.path()), Ok(Outcome::From(server.url())));
    assert_eq!(fs::read(dir.path().join("a.gz")).unwrap(), body());
}

#[test]
fn mirrors_are_tried_in_turn() {
    let dir = TempDir::new().unwrap();
    let (missing, good) = (Server::start(body(), Manner::NotFound), Server::start(body(), Manner::Well));
    assert_eq!(fetch_from(&[&missing, &good], dir.path()), Ok(Outcome::From(good.url())));
    assert_eq!((missing.requests().len(), good.requests().len()), (1, 1));
}

#[test]
fn a_wrong_file_is_removed_and_both_hashes_are_named() {
    let dir = TempDir::new().unwrap();
    let mut bytes = body();
    bytes[99_999] ^= 1;
    let (wrong, good) = (Server::start(bytes.clone(), Manner::Well), Server::start(body(), Manner::Well));
    let error = fetch_from(&[&wrong], dir.path()).unwrap_err();
    let expected = format!("a.gz has a file of sha256 {}, expected {};", sha256(&bytes), sha256(&body()));
    assert!(error.contains(&expected), "{error}");
    assert!(names(dir.path()).is_empty());
    assert_eq!(fetch_from(&[&wrong, &good], dir.path()), Ok(Outcome::From(good.url())));
    assert_eq!(good.requests(), [asked(None)]);
}

#[test]
fn a_wrong_beginning_is_not_blamed_on_the_mirror_that_resumes_it() {
    let (dir, good) = (TempDir::new().unwrap(), Server::start(body(), Manner::Well));
    fs::write(dir.path().join("a.gz.part"), vec![1; 50_000]).unwrap();
    assert_eq!(fetch_from(&[&good], dir.path()), Ok(Outcome::From(good.url())));
    assert_eq!(good.requests(), [asked(Some(50_000)), asked(None)]);
}

#[test]
fn a_file_of_another_length_is_not_read() {
    let (dir, short) = (TempDir::new().unwrap(), Server::start(b"<html>".to_vec(), Manner::Well));
    let error = fetch_from(&[&short], dir.path()).unwrap_err();
    assert!(error.contains("a.gz has a file of 6 bytes, expected 100000;"), "{error}");
}

#[test]
fn nothing_is_overwritten() {
    let (dir, server) = (TempDir::new().unwrap(), Server::start(body(), Manner::Well));
    let path = dir.path().join("a.gz");
    fs::write(&path, b"mine").unwrap();
    let error = fetch_from(&[&server], dir.path()).unwrap_err();
    let (got, expected) = (sha256(b"mine"), sha256(&body()));
    assert_eq!(error, format!("{} has sha256 {got}, expected {expected}; remove it to fetch it again", path.display()));
    assert_eq!((fs::read(&path).unwrap(), server.requests().len()), (b"mine".to_vec(), 0));
}

#[test]
fn sources_are_complete_and_exist_only_for_items_that_can_be_fetched() {
    for item in DatasetName::ALL.map(Item::from).into_iter().chain([Item::Inception]) {
        assert_eq!(item.to_string().parse::<Item>().unwrap(), item);
        let Some(source) = Source::of(item) else { continue };
        assert!(!source.mirrors.is_empty() && source.mirrors.iter().all(|mirror| mirror.ends_with('/')), "{item}");
        for file in source.files {
            assert!(file.len > 0 && file.sha256.len() == 64 && file.sha256.bytes().all(|c| c.is_ascii_hexdigit()));
        }
    }
    let nowhere = effgan_data::download::fetch(DatasetName::Npz, Path::new("x"), &[], &mut |_| (), &mut |_, _| ());
    assert_eq!(
        nowhere.unwrap_err().to_string(),
        "data set npz cannot be fetched; choose one of mnist, fashion-mnist, cifar10, inception"
    );
    assert_eq!(
        "emnist".parse::<Item>().unwrap_err().to_string(),
        "data set emnist cannot be fetched; choose one of mnist, fashion-mnist, cifar10, inception"
    );
}

#[test]
fn a_data_set_counts_as_fetched_when_all_its_files_exist() {
    let dir = TempDir::new().unwrap();
    for (i, file) in Source::of(DatasetName::Mnist).unwrap().files.iter().enumerate() {
        assert!(!is_fetched(DatasetName::Mnist, dir.path()));
        // Uncompressed files count as well as compressed ones.
        let name = if i % 2 == 0 { file.name } else { file.name.trim_end_matches(".gz") };
        fs::write(dir.path().join(name), b"").unwrap();
    }
    assert!(is_fetched(DatasetName::Mnist, dir.path()) && !is_fetched(DatasetName::Cifar10, dir.path()));
}

#[test]
fn weights_with_another_hash_are_not_kept() {
    let dir = TempDir::new().unwrap();
    let wrong = Server::start(vec![7; 95_628_359], Manner::Well);
    let fetched =
        effgan_data::download::fetch(Item::Inception, dir.path(), &[wrong.url()], &mut |_| (), &mut |_, _| ());
    let error = fetched.unwrap_err().to_string();
    assert!(error.contains("pt_inception-2015-12-05-6726825d.pth has a file of sha256 "), "{error}");
    // pytorch-fid's name for the file begins with the hash.
    assert!(error.contains(", expected 6726825d"), "{error}");
    assert!(names(dir.path()).is_empty() && !is_fetched(Item::Inception, dir.path()));
}
