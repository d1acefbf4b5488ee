//! The command line itself: help, completions, manual pages.

use std::fs;

use crate::program::{effgan, failure, stdout, tiny_config};

#[test]
fn a_partition_is_shown_without_training() {
    let folder = tempfile::tempdir().unwrap();
    let png = folder.path().join("heat.png");
    let output = effgan(&["partition", &tiny_config(), "--out", png.to_str().unwrap()]);
    let said = stdout(&output);
    let rows: Vec<&str> = said.lines().filter(|line| line.starts_with("client-000")).collect();
    assert_eq!(rows.len(), 3, "{said}");
    // Name, ten classes with their shades, train, held out: all 120 images.
    let sum: u64 =
        rows.iter().flat_map(|row| row.split_whitespace().rev().take(2)).map(|n| n.parse::<u64>().unwrap()).sum();
    assert_eq!(sum, 120);
    assert!(image::open(png).unwrap().width() > 100);
}

#[test]
fn the_exit_codes_are_explained() {
    assert!(stdout(&effgan(&["help", "exit-codes"])).contains("130  interrupted"));
}

#[test]
fn a_wrong_command_line_is_code_2_and_one_line() {
    let (code, line) = failure(&effgan(&["run", "config.toml", "--job", "3"]));
    assert_eq!(code, Some(2));
    assert!(line.starts_with("unexpected argument '--job' found; a similar argument exists: '--jobs'"), "{line}");
    let help = effgan(&["run", "--help"]);
    assert!(help.status.success() && stdout(&help).lines().count() > 10);
    assert_eq!(stdout(&effgan(&["--version"])), format!("effgan {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = stdout(&effgan(&["completions", shell]));
        for verb in
            ["run", "resume", "sample", "partition", "features", "privacy", "report", "bench", "completions", "man"]
        {
            assert!(script.contains(verb), "{shell}: {verb}");
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let man = folder.path().join("man1");
    assert!(effgan(&["man", "--out", man.to_str().unwrap()]).status.success());
    let page = |name: &str| fs::read_to_string(man.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    for (name, said) in [
        ("effgan.1", "interrupted by Ctrl"),
        ("effgan-run.1", "SECTION.KEY=VALUE"),
        ("effgan-sample.1", "averaged generator"),
        ("effgan-bench-train-step.1", "seconds"),
    ] {
        assert!(page(name).contains(said) && page(name).is_ascii(), "{name}");
    }
    assert_eq!(stdout(&effgan(&["man"])), page("effgan.1"));
}
