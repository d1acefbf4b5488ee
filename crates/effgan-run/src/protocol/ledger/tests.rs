use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Instant;

use effgan_fl::Refusal;
use effgan_fl::policy::Amount;
use tempfile::TempDir;

use super::*;

fn folder() -> (TempDir, Ledger) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::of(folder.path());
    (folder, ledger)
}

fn answered(round: u32) -> Entry {
    let asked = Asked { kind: "average".into(), round: Some(round), config: "c".repeat(64), ..Asked::default() };
    let trained = Amount { rounds: 1, steps: 10, passes: 0.1, private: Vec::new() };
    Entry::Answered(Box::new(Answered { asked, trained, ..Answered::default() }))
}

fn refused(refusal: Refusal) -> Entry {
    let asked = Asked { kind: "query".into(), config: "1".repeat(64), ..Asked::default() };
    Entry::Refused(Box::new(Refused { asked, refusal, why: "x".into(), run_request: None }))
}

fn lines(ledger: &Ledger) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    ledger.read(|_, line| entries.push(line.entry)).map(|_| entries)
}

#[test]
fn each_line_holds_the_hash_of_the_line_before_it_and_the_first_holds_zeros() {
    let (_folder, ledger) = folder();
    assert_eq!(ledger.read(|_, _| ()).unwrap(), Head { lines: 0, hash: "0".repeat(64), torn: 0 });
    let heads = [1, 2, 3].map(|round| ledger.append(answered(round)).unwrap());
    let text = fs::read_to_string(&ledger.path).unwrap();
    let mut previous = "0".repeat(64);
    for (line, head) in text.lines().zip(&heads) {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(json["previous"], previous.as_str());
        previous = params::sha256(line.as_bytes());
        assert_eq!(previous, *head);
    }
    assert_eq!(ledger.read(|_, _| ()).unwrap(), Head { lines: 3, hash: heads[2].clone(), torn: 0 });
    assert_eq!(lines(&ledger).unwrap(), [1, 2, 3].map(answered));
    assert_eq!(fs::metadata(&ledger.path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_changed_missing_moved_or_added_line_is_found_with_its_number() {
    let (_folder, ledger) = folder();
    for round in 1..=4 {
        ledger.append(answered(round)).unwrap();
    }
    let text = fs::read_to_string(&ledger.path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let found = |changed: Vec<String>| {
        fs::write(&ledger.path, changed.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        ledger.read(|_, _| ()).unwrap_err().to_string()
    };
    let owned = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut changed = owned(&lines);
    changed[1] = changed[1].replace("\"steps\":10", "\"steps\":11");
    assert!(found(changed).contains("line 3 does not follow the line before it"));
    assert!(found(owned(&[lines[0], lines[2], lines[3]])).contains("line 2 does not follow"));
    assert!(found(owned(&[lines[1], lines[0], lines[2]])).contains("line 1 does not follow"));
    assert!(found(owned(&[lines[0], lines[0], lines[1]])).contains("line 2 does not follow"));
    assert!(found(owned(&[lines[0], "{}", lines[1]])).contains("line 2 is not a line of a ledger"));
}

#[test]
fn a_line_that_a_crash_left_incomplete_is_cut_off_and_a_line_records_it() {
    let (_folder, ledger) = folder();
    ledger.append(answered(1)).unwrap();
    ledger.append(answered(2)).unwrap();
    let whole = fs::read(&ledger.path).unwrap();
    let second = whole.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    for cut in [second + 1, second + 100, whole.len() - 1] {
        fs::write(&ledger.path, &whole[..cut]).unwrap();
        assert_eq!(ledger.read(|_, _| ()).unwrap().lines, 1, "a torn line is not there yet");
        let head = ledger.append(answered(3)).unwrap();
        let torn = &whole[second..cut];
        let mended = Entry::Mended { bytes: torn.len() as u64, sha256: params::sha256(torn) };
        assert_eq!(lines(&ledger).unwrap(), [answered(1), mended, answered(3)]);
        assert_eq!(ledger.read(|_, _| ()).unwrap().hash, head);
    }
    // All of the first line was torn.
    fs::write(&ledger.path, &whole[..10]).unwrap();
    ledger.append(answered(3)).unwrap();
    assert_eq!(lines(&ledger).unwrap().len(), 2);
}

#[test]
fn the_same_request_refused_again_for_the_same_reason_is_one_line() {
    let (_folder, ledger) = folder();
    let first = ledger.append(refused(Refusal::WaitingForApproval)).unwrap();
    assert_eq!(ledger.append(refused(Refusal::WaitingForApproval)).unwrap(), first);
    assert_ne!(ledger.append(refused(Refusal::DataUnusable)).unwrap(), first);
    assert_ne!(ledger.append(refused(Refusal::WaitingForApproval)).unwrap(), first);
    assert_eq!(lines(&ledger).unwrap().len(), 3);
    ledger.append(answered(1)).unwrap();
    ledger.append(answered(1)).unwrap();
    assert_eq!(lines(&ledger).unwrap().len(), 5, "what leaves is written down each time");
    // Two requests that could not be read are never taken for one.
    let unknown = || {
        let Entry::Refused(mut refused) = refused(Refusal::OtherQuestion) else { unreachable!() };
        refused.asked.config.clear();
        Entry::Refused(refused)
    };
    assert_ne!(ledger.append(unknown()).unwrap(), ledger.append(unknown()).unwrap());
}

#[test]
fn many_writers_make_one_chain() {
    let (_folder, ledger) = folder();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let ledger = ledger.clone();
            scope.spawn(move || (0..20).for_each(|i| drop(ledger.append(answered(writer * 100 + i)).unwrap())));
        }
    });
    assert_eq!(ledger.read(|_, _| ()).unwrap().lines, 80);
}

#[test]
fn a_symbolic_link_in_place_of_the_ledger_is_not_followed() {
    let (folder, ledger) = folder();
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, "").unwrap();
    symlink(&elsewhere, &ledger.path).unwrap();
    assert!(ledger.append(answered(1)).is_err() && ledger.read(|_, _| ()).is_err());
    assert_eq!(fs::read(&elsewhere).unwrap(), b"");
}

#[test]
fn a_line_longer_than_any_that_effgan_writes_is_refused_before_memory_is_allocated() {
    let (_folder, ledger) = folder();
    fs::write(&ledger.path, vec![b'['; MAX_LINE + 10]).unwrap();
    assert!(ledger.read(|_, _| ()).unwrap_err().to_string().contains("line 1 is longer than any line"));
    assert!(ledger.append(answered(1)).unwrap_err().to_string().contains("is longer than any line"));
}

#[test]
fn the_page_has_no_script_and_escapes_hostile_text() {
    let (_folder, ledger) = folder();
    let asked = Asked { kind: "query".into(), ..Asked::default() };
    let why = "\u{202e}<script>alert('x')</script> & \"quoted\"".to_owned();
    let refusal = Refusal::DataUnusable;
    ledger.append(Entry::Refused(Box::new(Refused { asked, refusal, why, run_request: None }))).unwrap();
    let (mut page, mut table) = (Vec::new(), Vec::new());
    super::page(&ledger, &mut page).unwrap().unwrap();
    super::table(&ledger, &mut table).unwrap().unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(
        !page.contains("<script")
            && page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;quoted&quot;")
    );
    assert!(page.contains("content=\"default-src 'none'; style-src 'sha256-") && !page.contains('\u{202e}'));
    assert!(!String::from_utf8(table).unwrap().contains('\u{202e}'));
}

/// Slow: writes 300 MB.
#[test]
#[ignore = "seconds"]
fn a_ledger_of_a_million_lines_is_read_one_line_at_a_time() {
    let (_folder, ledger) = folder();
    let (mut text, mut hash) = (Vec::new(), GENESIS.to_owned());
    for i in 0..1_000_000 {
        let line = serde_json::to_vec(&Line { previous: hash, ..Line::now(String::new(), answered(i % 100)) }).unwrap();
        hash = params::sha256(&line);
        text.extend_from_slice(&line);
        text.push(b'\n');
    }
    fs::write(&ledger.path, &text).unwrap();
    let started = Instant::now();
    let history = History::of_config(&ledger, "identity").unwrap();
    println!("{} MB in {:.1} s", text.len() / 1_000_000, started.elapsed().as_secs_f64());
    assert_eq!(history.spent.others.steps, 10_000_000);
    let started = Instant::now();
    ledger.append(answered(1)).unwrap();
    assert!(started.elapsed().as_secs_f64() < 1.0, "a line is added without reading the others");
}
