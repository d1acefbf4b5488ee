//! `effgan devices`

use std::fmt::{self, Display, Formatter};

use clap::Args;
use effgan_nn::{Device, DeviceName, GpuInfo, HAS_GPUS};
use effgan_run::failure::Result;
use effgan_run::record::machine;
use serde::Serialize;

use crate::output::{advise, say};

/// List the devices that this program can train, sample and score on
#[derive(Args)]
#[command(after_help = "Examples:
  effgan devices
  effgan devices --json")]
pub(super) struct Devices {
    /// Print one JSON object per device instead of text
    #[arg(long)]
    json: bool,
}

/// A device, as `--device` takes it and as it is.
#[derive(Serialize)]
struct Row {
    device: DeviceName,
    name: Option<String>,
    kind: &'static str,
    /// Number formats of the inputs of products.
    types: Vec<&'static str>,
    /// Why it is not used; absent where it was tried and computes correctly.
    not_used: Option<String>,
}

impl Devices {
    pub(super) fn run(self) -> Result<()> {
        let gpus = effgan_nn::gpus().into_iter().map(Row::of_gpu);
        for row in [Row::of_processor(Device::cpu()?)].into_iter().chain(gpus) {
            if self.json {
                say(serde_json::to_string(&row).expect("a device is plain data"));
            } else {
                say(row);
            }
        }
        if !HAS_GPUS {
            advise(
                "this program was built without GPUs; cargo install --locked --path crates/effgan-cli --features gpu builds one with them",
            );
        }
        Ok(())
    }
}

impl Row {
    fn of_processor(device: Device) -> Self {
        let machine = machine::this(device);
        let name = format!("{}, {} cores, {}", machine.cpu, machine.cores, machine.instruction_set);
        let has_bf16 = device.with_precision(effgan_nn::Precision::Bf16).is_ok();
        let types = if has_bf16 { vec!["f32", "bf16"] } else { vec!["f32"] };
        Self { device: DeviceName::Cpu, name: Some(name), kind: "the processor", types, not_used: None }
    }

    fn of_gpu(gpu: GpuInfo) -> Self {
        let kind = if gpu.is_card { "a card" } else { "a software renderer" };
        let types = [("f32", true), ("f16", gpu.has_f16), ("bf16", gpu.has_bf16)];
        let types = types.into_iter().filter_map(|(name, has)| has.then_some(name)).collect();
        Self { device: gpu.device, name: gpu.name, kind, types, not_used: gpu.trial.err() }
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { device, name, kind, types, not_used } = self;
        let (device, name) = (device.to_string(), name.as_deref().unwrap_or("unknown"));
        if let Some(why) = not_used {
            return write!(f, "{device:7} not used: {why}");
        }
        write!(f, "{device:7} {name}; {kind}; {}", types.join(" "))?;
        // Burn tells neither.
        if *device == *"cpu" { Ok(()) } else { f.write_str("; driver and memory unknown") }
    }
}

/// The setting of a config that chooses `device`.
pub(super) fn device_setting(device: DeviceName) -> String {
    format!("run.device={device}")
}
