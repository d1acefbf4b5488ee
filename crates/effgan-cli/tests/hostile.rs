//! What the fuzz targets of this crate check, on their seeds: `fuzz/` has the targets and says what they found.

#![allow(unreachable_pub, reason = "these modules are the library of the fuzz targets too")]

#[path = "../../../fuzz/src/config.rs"]
mod config;
#[path = "../../../fuzz/src/ledger.rs"]
mod ledger;
#[path = "../../../fuzz/src/message.rs"]
mod message;
#[path = "../../../fuzz/src/scratch.rs"]
mod scratch;
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[test]
fn seeds_of_configs_are_read_or_refused() {
    let seeds = seeds::of("config");
    assert!(seeds.len() > 3, "config has seeds");
    for seed in &seeds {
        config::check(seed);
    }
}

#[test]
fn seeds_of_messages_are_read_or_refused() {
    let seeds = seeds::of("message");
    assert!(seeds.len() > 3, "message has seeds");
    for seed in &seeds {
        message::check(seed);
    }
}

#[test]
fn seeds_of_ledgers_are_read_or_refused_and_lines_are_only_added() {
    let seeds = seeds::of("ledger");
    assert!(seeds.len() > 3, "ledger has seeds");
    for seed in &seeds {
        ledger::check(seed);
    }
}
