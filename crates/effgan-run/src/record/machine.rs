//! Where the program runs, for `run.json`: equal bits are promised for equal machines and builds only.

use std::fs;
use std::num::NonZero;
use std::thread::available_parallelism;

use effgan_nn::Isa;

use crate::record::events::Machine;

/// This machine.
pub fn this() -> Machine {
    Machine {
        cpu: cpu().unwrap_or_else(|| "unknown".into()),
        cores: cores(),
        instruction_set: Isa::in_use().name().into(),
        os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
    }
}

/// Cores that this process may use.
pub fn cores() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

fn cpu() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
