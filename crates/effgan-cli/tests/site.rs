//! The commands of a site: its ledger, its approvals, its split.

mod program;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use program::{effgan, failure, json, stdout};

const WHOLE: &[u8] = include_bytes!("../../../fuzz/seeds/ledger/whole");
const CHANGED: &[u8] = include_bytes!("../../../fuzz/seeds/ledger/changed");

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_ledger_is_shown_and_checked_and_written_as_a_page() {
    let kit = tempfile::tempdir().unwrap();
    fs::write(kit.path().join("ledger.jsonl"), WHOLE).unwrap();
    let ledger = |more: &[&str]| effgan(&[&["federation", "ledger", text(kit.path())], more].concat());
    let shown = stdout(&ledger(&[]));
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 6, "{shown}");
    for (line, words) in lines.iter().zip([
        "small was approved here, up to round 3",
        "sent generator (8 bytes, SHA-256 2222222222222222…), num-examples 3; after 2 training steps, 1 pass over the images",
        "refused: too-few-images (<script>",
        "3 bytes of an incomplete line, left by a crash, were cut off",
        "the approval was withdrawn here",
        "in all: 1 answer with 8 bytes of parameters, 1 refusal; 1 answer of training, 2 steps, 1 pass over the images; 5 lines",
    ]) {
        assert!(line.contains(words), "{words}: {line}");
    }
    assert!(!shown.contains(['\u{1b}', '\u{202e}']));
    let verified = stdout(&ledger(&["--verify"]));
    assert!(verified.starts_with("5 lines, each as it was written; head "), "{verified}");

    // The server has the heads of earlier answers too.
    let text_of = std::str::from_utf8(WHOLE).unwrap();
    let last: serde_json::Value = serde_json::from_str(text_of.lines().last().unwrap()).unwrap();
    let heads = [(last["previous"].as_str().unwrap(), 4), (&verified.trim_end()[verified.len() - 65..], 5)];
    for (head, number) in heads {
        let said = stdout(&ledger(&["--verify", "--head", head]));
        assert_eq!(said, format!("{verified}line {number} has the hash {head}\n"));
    }
    let said = stdout(&ledger(&["--verify", "--head", &format!(" {}", heads[1].0.to_uppercase())]));
    assert!(said.contains("line 5 has the hash "), "however it was copied: {said}");
    let (code, line) = failure(&ledger(&["--verify", "--head", "abc"]));
    assert!(code == Some(2) && line.contains("\"abc\" has 3 of the 64 hexadecimal digits"), "{line}");
    let (code, line) = failure(&ledger(&["--verify", "--head", &"0".repeat(64)]));
    assert!(code == Some(4) && line.contains("no line has the hash 0000"), "{line}");

    fs::write(kit.path().join("ledger.jsonl"), [WHOLE, b"{\"time"].concat()).unwrap();
    let torn = stdout(&ledger(&["--verify"]));
    assert!(
        torn.starts_with(verified.trim_end()) && torn.contains("after them 6 bytes of an incomplete line"),
        "{torn}"
    );
    fs::write(kit.path().join("ledger.jsonl"), WHOLE).unwrap();

    let (page, elsewhere) = (kit.path().join("page.html"), kit.path().join("elsewhere"));
    fs::write(&elsewhere, "mine").unwrap();
    symlink(&elsewhere, &page).unwrap();
    stdout(&ledger(&["--html", text(&page)]));
    let html = fs::read_to_string(&page).unwrap();
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;") && html.contains("default-src 'none'"));
    assert_eq!(fs::symlink_metadata(&page).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "mine", "a link is not written through");

    fs::write(kit.path().join("ledger.jsonl"), CHANGED).unwrap();
    let (code, line) = failure(&ledger(&["--verify"]));
    assert_eq!(code, Some(4));
    assert!(line.contains("ledger.jsonl: line 3 does not follow the line before it"), "{line}");
}

#[test]
fn an_approval_names_a_waiting_run_by_enough_digits() {
    let kit = tempfile::tempdir().unwrap();
    let approve = |more: &[&str]| effgan(&[&["federation", "approve", text(kit.path())], more].concat());
    // In another folder nothing waits either, which would be misleading.
    for command in ["approve", "ledger"] {
        let (code, line) = failure(&effgan(&["federation", command, text(kit.path())]));
        assert!(code == Some(2) && line.contains("is not a site's folder"), "{line}");
    }
    fs::write(kit.path().join("policy.toml"), "").unwrap();
    assert_eq!(stdout(&approve(&[])), "no run waits for approval\n");
    let (code, line) = failure(&approve(&["--yes", "0123"]));
    assert_eq!(code, Some(2));
    assert!(line.contains("\"0123\" is too short; give at least 32 digits"), "{line}");
    let (code, line) = failure(&approve(&["--withdraw", "0123 4567 89ab cdef 0123 4567 89ab cdef"]));
    assert_eq!(code, Some(2));
    assert!(
        line.contains("no approved run has a config whose SHA-256 begins with \"0123456789abcdef0123456789abcdef\""),
        "{line}"
    );
}

#[test]
fn a_split_is_private_to_its_site() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../effgan-run/tests/tiny.toml");
    let split = |site: &str, out: &str| {
        let (kit, out) = (folder.path().join(site), folder.path().join(out));
        fs::create_dir_all(&kit).unwrap();
        let said = effgan(&[
            "federation",
            "split",
            text(&tiny),
            "--site",
            text(&kit),
            "--partition-id",
            "1",
            "--out",
            text(&out),
        ]);
        assert!(stdout(&said).ends_with(" are held out\n"));
        assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
        json(&out)
    };
    let first = split("north", "first.json");
    assert_eq!(first["clients"][0]["name"], "client-0001");
    assert_eq!(split("north", "again.json"), first);
    assert_ne!(split("south", "other.json"), first, "another site has another secret");
}
