//! The machine that a run works on, for `run.json`: bits are equal only on equal machines and builds.

use std::fs;
use std::num::NonZero;
use std::thread::available_parallelism;

use effgan_nn::Device;
use serde::{Deserialize, Serialize};

/// The machine that a run works on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's model name, or `unknown`.
    pub cpu: String,
    /// Cores that the process may use.
    pub cores: usize,
    /// The instruction set that the kernels use, as in `EFFGAN_ISA`.
    pub instruction_set: String,
    /// Operating system and architecture, as in `linux x86_64`.
    pub os: String,
    /// The GPU that computes the networks, by its name in configs and its own; absent where the processor does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
}

/// Describes this machine, on whose `device` the run computes.
pub fn this(device: Device) -> Machine {
    Machine {
        cpu: cpu().unwrap_or_else(|| "unknown".into()),
        cores: cores(),
        instruction_set: Device::cpu().map_or_else(|_| "unknown".into(), Device::name),
        os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        gpu: device.gpu_info().map(|gpu| format!("{}, {}", gpu.device, gpu.name.unwrap_or_else(|| "unknown".into()))),
    }
}

/// What [`Machine::gpu`] says of a run that was begun on `earlier` and goes on with `now`: both, where they differ.
pub(crate) fn after(earlier: &Machine, now: &Machine) -> Option<String> {
    if earlier.gpu == now.gpu {
        return now.gpu.clone();
    }
    let [first, then] = [earlier, now].map(|machine| machine.gpu.as_deref().unwrap_or("the processor"));
    Some(format!("{first}; then {then}"))
}

/// The number of cores that this process may use, ≥ 1.
pub fn cores() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

fn cpu() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_goes_on_elsewhere_names_both() {
        let on = |gpu: Option<&str>| Machine { gpu: gpu.map(Into::into), ..this(Device::cpu().unwrap()) };
        let (cpu, gpu, other) = (on(None), on(Some("gpu:0, a card")), on(Some("gpu:1, another")));
        assert_eq!(after(&cpu, &cpu), None);
        assert_eq!(after(&gpu, &gpu).unwrap(), "gpu:0, a card");
        assert_eq!(after(&gpu, &cpu).unwrap(), "gpu:0, a card; then the processor");
        assert_eq!(after(&cpu, &gpu).unwrap(), "the processor; then gpu:0, a card");
        assert_eq!(after(&gpu, &other).unwrap(), "gpu:0, a card; then gpu:1, another");
    }
}
