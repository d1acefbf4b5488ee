//! The documents name every kind and every key that a config can have.

use std::fs;
use std::path::Path;

use toml::{Table, Value};

use super::super::super::Config;
use super::super::super::tests::QUICKSTART;
use super::{every_kind, expected, kinds};

/// Where each kind of a key is named, and how: `?` stands for the kind.
const NAMED: [(&str, &str, &str); 12] = [
    ("dataset.name", "docs/data.md", "\n| `?` |"),
    ("partition.kind", "docs/data.md", "\n| `?` |"),
    ("network.kind", "docs/networks.md", "\n| `?` "),
    ("algorithm.kind", "docs/algorithms.md", "\n| `?` |"),
    ("aggregation.kind", "docs/algorithms.md", "\n| `?` |"),
    ("algorithm.kind", "scripts/tables.py", "\n    \"?\": "),
    ("aggregation.kind", "scripts/tables.py", "\n    \"?\": "),
    ("dataset.name", "README.md", "`?`"),
    ("partition.kind", "README.md", "`?`"),
    ("network.kind", "README.md", "`?`"),
    ("algorithm.kind", "README.md", "`?`"),
    ("aggregation.kind", "README.md", "`?`"),
];
/// Configs whose comment on a key lists its kinds.
const COMMENTED: [(&str, &str); 5] = [
    ("partition", "configs/quickstart.toml"),
    ("network", "configs/quickstart.toml"),
    ("algorithm", "configs/quickstart.toml"),
    ("aggregation", "configs/quickstart.toml"),
    ("aggregation", "configs/poison.toml"),
];

fn read(document: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(document)).unwrap()
}

/// From a heading, or the head of a table of TOML, to the next one.
fn section<'a>(text: &'a str, head: &str, next: &str) -> &'a str {
    let (_, rest) = text.split_once(head).unwrap_or_else(|| panic!("no {head:?}"));
    rest.split(next).next().unwrap()
}

#[test]
fn every_kind_is_named_in_readme_and_has_its_row_in_docs_and_in_the_tables() {
    let mut lacking = Vec::new();
    for (key, document, named) in NAMED {
        let text = read(document);
        let text = if document == "README.md" { section(&text, "## What is included", "\n## ") } else { &text };
        // Noise that hides a client is no defence against it: it has no row in the table of bad clients.
        let has_no_row = |kind: &str| (document, kind) == ("scripts/tables.py", "private-mean");
        let lacks = |kind: &String| !has_no_row(kind) && !text.contains(&named.replace('?', kind));
        lacking.extend(kinds(key).into_iter().filter(lacks).map(|kind| format!("{document} lacks {key} = {kind}")));
    }
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

#[test]
fn comments_on_a_kind_list_every_kind() {
    let mut lacking = Vec::new();
    for (table, config) in COMMENTED {
        let text = read(config);
        let mut lines = section(&text, &format!("\n[{table}]"), "\n[").lines();
        let line = lines.find(|line| line.starts_with("kind = ")).unwrap();
        let words: Vec<&str> = line.split(|c: char| !(c.is_alphanumeric() || c == '-')).collect();
        let lacks = |kind: &String| !words.contains(&kind.as_str());
        let kinds = kinds(&format!("{table}.kind")).into_iter();
        lacking.extend(kinds.filter(lacks).map(|kind| format!("{config} lacks {kind}: {line}")));
    }
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

#[test]
fn the_quick_start_shows_every_key() {
    for text in every_kind().iter().map(Config::to_toml) {
        for (table, keys) in text.parse::<Table>().unwrap() {
            let Value::Table(keys) = keys else { continue };
            // A table that is off by default is a comment.
            let heads = [format!("\n[{table}]"), format!("\n# [{table}]")];
            let head = heads.iter().find(|head| QUICKSTART.contains(*head)).unwrap_or(&heads[0]);
            let shown = section(QUICKSTART, head, "\n[");
            // The error of an unknown key lists those that are absent, too.
            let error = Config::parse(&text, &[format!("{table}.?=1")]).unwrap_err().line();
            for key in keys.keys().chain(&expected(&error)) {
                let is_key = |(at, _): (usize, &str)| !shown[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
                let is_shown = shown.match_indices(&format!("{key} = ")).any(is_key);
                assert!(
                    is_shown,
                    "configs/quickstart.toml lacks `{key} = ` in [{table}]: add it, in a comment if need be"
                );
            }
        }
    }
}
