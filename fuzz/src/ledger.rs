//! A site's ledger.

use std::fs;
use std::sync::atomic::AtomicBool;

use effgan_data::ClientName;
use effgan_run::api::{self, Content, SiteImages};

use crate::scratch;

/// Reads `bytes` as a ledger, shows it, and lets a site that has it refuse a message, which adds a line.
pub fn check(bytes: &[u8]) {
    let folder = scratch::folder("site");
    let path = scratch::file("site/ledger.jsonl", bytes);
    let before = api::verify_ledger(&folder);
    if let Ok([table, page]) = api::show_ledger(&folder) {
        let (table, page) = (String::from_utf8(table).expect("text"), String::from_utf8(page).expect("text"));
        assert!(!table.contains(|c: char| c.is_control() && c != '\n'), "a table moves no cursor");
        assert!(!page.contains("<script") && page.matches("<td>").count().is_multiple_of(5), "a page is what we wrote");
    }
    let images = SiteImages::Own { data_dir: folder.join("data"), client: ClientName::new("north").expect("a name") };
    let policy = Some(folder.join("policy.toml"));
    let stop = AtomicBool::new(false);
    let reply = api::answer(images, folder.join("state"), policy, Some(1), "query", Content::default(), &stop);
    let reply = reply.expect("any failure is a refusal");
    assert!(reply.words.contains_key("refused"), "a message without a config has no other");
    let after = fs::read(&path).expect("a file of ours");
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    if reply.words.contains_key("ledger") {
        assert_eq!(after.get(..whole), Some(&bytes[..whole]), "lines are only added");
        assert_eq!(before.is_ok(), api::verify_ledger(&folder).is_ok(), "a line that is added follows the one before");
    }
}
