//! The names of devices: `run.device` in a config, `--device` on the command line.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Device;
use crate::{NnError, Result};

const CPU: &str = "cpu";
const AUTO: &str = "auto";
const GPU: &str = "gpu:";

/// A device by its name; whether a machine has it shows when it is [opened](Self::open).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceName {
    /// `cpu`: the processor.
    #[default]
    Cpu,
    /// `auto`: the first card that computes correctly, and the processor where there is none.
    Auto,
    /// `gpu:` and a number: one of [`gpus`](super::gpus).
    Gpu(u8),
}

impl DeviceName {
    /// The device of this name.
    ///
    /// # Errors
    /// [`NnError::Device`], naming the devices that there are, when there is no such device, or it does not compute correctly.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Device::cpu(),
            Self::Auto => match super::gpus().into_iter().find(|gpu| gpu.is_card && gpu.trial.is_ok()) {
                Some(gpu) => gpu.device.open(),
                None => Device::cpu(),
            },
            Self::Gpu(number) => Device::gpu(number)?.ok_or_else(|| NnError::Device(self.is_missing())),
        }
    }

    fn is_missing(self) -> String {
        let usable = super::gpus().into_iter().filter(|gpu| gpu.trial.is_ok());
        let there = usable.map(|gpu| gpu.device.to_string());
        let there: Vec<String> = [CPU.to_owned()].into_iter().chain(there).collect();
        let why = if super::HAS_GPUS { "not on this machine" } else { "not here: this program was built without GPUs" };
        format!("device = {self} is {why}; give {}", there.join(" or "))
    }
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match (text, text.strip_prefix(GPU)) {
            (CPU, _) => Ok(Self::Cpu),
            (AUTO, _) => Ok(Self::Auto),
            (_, Some(number)) if number.parse::<u8>().is_ok_and(|parsed| parsed.to_string() == number) => {
                Ok(Self::Gpu(number.parse().expect("it is a number")))
            }
            _ => Err(format!("`{text}` is no device; give cpu, auto, or one that effgan devices lists, such as gpu:0")),
        }
    }
}

impl TryFrom<String> for DeviceName {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl Display for DeviceName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str(CPU),
            Self::Auto => f.write_str(AUTO),
            Self::Gpu(number) => write!(f, "{GPU}{number}"),
        }
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_and_no_other_text_is_one() {
        for text in ["cpu", "auto", "gpu:0", "gpu:255"] {
            assert_eq!(text.parse::<DeviceName>().unwrap().to_string(), text);
        }
        for text in ["", "gpu", "gpu:", "gpu:256", "gpu:-1", "gpu:00", "GPU:0", "cuda:0", "gpu:0 "] {
            assert!(text.parse::<DeviceName>().unwrap_err().starts_with(&format!("`{text}` is no device")));
        }
    }

    #[test]
    fn a_device_that_is_missing_is_one_line_that_names_those_that_are_there() {
        let error = DeviceName::Gpu(255).open().unwrap_err().to_string();
        assert!(error.starts_with("device = gpu:255 is not "), "{error}");
        assert!(error.contains("; give cpu"), "{error}");
        assert!(DeviceName::Auto.open().is_ok());
    }
}
