//! Runs the checks of this crate's fuzz targets, which are in `fuzz/`, on their seeds.

#![allow(unreachable_pub, reason = "these modules are the library of the fuzz targets too")]

#[path = "../../../fuzz/src/checkpoint.rs"]
mod checkpoint;
#[path = "../../../fuzz/src/manifest.rs"]
mod manifest;
#[path = "../../../fuzz/src/policy.rs"]
mod policy;
#[path = "../../../fuzz/src/safetensors.rs"]
mod safetensors;
#[path = "../../../fuzz/src/scratch.rs"]
mod scratch;
#[path = "../../../fuzz/seeds.rs"]
mod seeds;
#[path = "../../../fuzz/src/state_dict.rs"]
mod state_dict;

#[test]
fn seeds_of_manifests_are_read_or_refused() {
    for seed in seeds::of("manifest") {
        manifest::check(&seed);
    }
}

#[test]
fn seeds_of_safetensors_files_are_read_or_refused() {
    for seed in seeds::of("safetensors") {
        safetensors::check(&seed);
    }
}

#[test]
fn seeds_of_state_dicts_are_read_or_refused() {
    let seeds = seeds::of("state_dict");
    assert!(seeds.len() > 3, "there are seeds");
    for seed in seeds {
        state_dict::check(&seed);
    }
}

#[test]
fn seeds_of_checkpoints_are_resumed_or_refused() {
    for seed in seeds::of("checkpoint") {
        checkpoint::check(&seed);
    }
}

#[test]
fn seeds_of_policies_are_read_or_refused() {
    let seeds = seeds::of("policy");
    assert!(seeds.len() > 3, "there are seeds");
    for seed in seeds {
        policy::check(&seed);
    }
}
