//! Runs the fuzz target of this crate (in `fuzz/`) on its seeds.

#![allow(unreachable_pub, reason = "these modules are the library of the fuzz targets too")]

#[path = "../../../fuzz/src/gate.rs"]
mod gate;
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[test]
fn seeds_of_requests_are_decided() {
    let seeds = seeds::of("gate");
    assert!(seeds.len() > 3, "there are seeds");
    for seed in &seeds {
        gate::check(seed);
    }
}

#[test]
fn what_flower_writes_is_counted_as_it_is_decoded() {
    gate::check(include_bytes!("fixtures/reply.bin"));
    gate::check(include_bytes!("fixtures/failure.bin"));
}
