//! The devices that networks are computed on.

mod failure;
#[cfg(feature = "gpu")]
mod gpu;
mod gpu_info;
mod name;

use effgan_kernels::{Isa, MapShape, Precision, peak_gflops};

use crate::networks::Order;
use crate::{NnError, Result};

pub(crate) use self::failure::failure;
pub use self::gpu_info::GpuInfo;
pub use self::name::DeviceName;

/// Whether this program was built with GPUs.
pub const HAS_GPUS: bool = cfg!(feature = "gpu");

/// The GPUs of this machine, in the order of their numbers. Each is opened. None where the program was built [without](HAS_GPUS).
pub fn gpus() -> Vec<GpuInfo> {
    #[cfg(feature = "gpu")]
    return gpu::Gpu::all().map(gpu::Gpu::info).collect();
    #[cfg(not(feature = "gpu"))]
    Vec::new()
}

/// What computes networks: the CPU, with one of its instruction sets, or a GPU.
///
/// A device is a value: code that computes is given one, and uses it for all that it computes. Networks of one process
/// may be on different devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Cpu {
        isa: Isa,
        precision: Precision,
    },
    #[cfg(feature = "gpu")]
    Gpu {
        gpu: gpu::Gpu,
        precision: Precision,
    },
}

impl Device {
    /// The CPU with its fastest instruction set, or the one that the environment variable `EFFGAN_ISA` names; products
    /// are of f32.
    ///
    /// # Errors
    /// [`NnError::Device`] when this processor does not have the set of `EFFGAN_ISA`.
    pub fn cpu() -> Result<Self> {
        Isa::wanted().map(Self::cpu_with).map_err(NnError::Device)
    }

    /// The CPU with the instruction set `isa`, for tests that compare sets; products are of f32.
    pub fn cpu_with(isa: Isa) -> Self {
        // In the tests of this crate, a kernel that reads memory before writing it reads NaN. Nothing computes without
        // a device, so that no test has to remember this.
        #[cfg(test)]
        effgan_kernels::buffer::fill_with_nan();
        Self(Kind::Cpu { isa, precision: Precision::F32 })
    }

    /// The device of this crate's tests: the CPU, or the one that the environment variable `EFFGAN_TEST_DEVICE` names.
    #[cfg(test)]
    pub(crate) fn of_tests() -> Self {
        let name = std::env::var("EFFGAN_TEST_DEVICE").unwrap_or_else(|_| "cpu".into());
        name.parse::<DeviceName>().unwrap().open().unwrap()
    }

    /// The GPU of this number, if there is one.
    ///
    /// # Errors
    /// [`NnError::Device`] when it was tried and does not compute correctly.
    #[cfg(feature = "gpu")]
    fn gpu(number: u8) -> Result<Option<Self>> {
        let Some(gpu) = gpu::Gpu::of(number) else { return Ok(None) };
        let refused =
            |why| NnError::Device(format!("device = {gpu} is not used: {why}; use another driver for it, or cpu"));
        gpu.trial().map_err(refused)?;
        Ok(Some(Self(Kind::Gpu { gpu, precision: Precision::F32 })))
    }

    #[cfg(not(feature = "gpu"))]
    #[expect(clippy::unnecessary_wraps, reason = "a GPU may be refused")]
    fn gpu(_: u8) -> Result<Option<Self>> {
        Ok(None)
    }

    /// The same device, on which the large products of networks have factors of `precision`.
    ///
    /// # Errors
    /// [`NnError::Device`] when the device does not support it.
    pub fn with_precision(self, precision: Precision) -> Result<Self> {
        let name = precision.name();
        match self.0 {
            Kind::Cpu { isa, .. } if precision.is_available(isa) => Ok(Self(Kind::Cpu { isa, precision })),
            Kind::Cpu { .. } => {
                Err(NnError::Device(format!("precision = {name} needs a processor with AVX-512 BF16; use f32")))
            }
            #[cfg(feature = "gpu")]
            Kind::Gpu { gpu, .. } if gpu.computes_in(precision) => Ok(Self(Kind::Gpu { gpu, precision })),
            #[cfg(feature = "gpu")]
            Kind::Gpu { gpu, .. } => {
                Err(NnError::Device(format!("precision = {name} is more than {gpu} can do; use f32")))
            }
        }
    }

    /// The name in benchmarks: that of the instruction set, `portable`, `avx2`, `avx512` or `neon`, or `gpu:0`.
    pub fn name(self) -> String {
        match self.0 {
            Kind::Cpu { isa, .. } => isa.name().to_owned(),
            #[cfg(feature = "gpu")]
            Kind::Gpu { gpu, .. } => gpu.to_string(),
        }
    }

    /// What the GPU says of itself; `None` for the CPU.
    pub fn gpu_info(self) -> Option<GpuInfo> {
        match self.0 {
            Kind::Cpu { .. } => None,
            #[cfg(feature = "gpu")]
            Kind::Gpu { gpu, .. } => Some(gpu.info()),
        }
    }

    /// Whether it is a GPU, or acts as one.
    pub fn is_gpu(self) -> bool {
        self.cpu_isa().is_none()
    }

    /// The peak speed of one core in f32 products, in 10⁹ operations per second (2 per multiply-add), which this call
    /// measures; `None` for a GPU.
    pub fn peak_gflops(self) -> Option<f64> {
        self.cpu_isa().map(peak_gflops)
    }

    /// Steps between two reads of the losses, for which training waits until the device has done them: 1 on the CPU; more on a GPU,
    /// which then always has work to do.
    pub fn steps_per_read(self) -> usize {
        match self.0 {
            Kind::Cpu { .. } => 1,
            #[cfg(feature = "gpu")]
            Kind::Gpu { .. } => 16,
        }
    }

    /// The instruction set of the kernels.
    ///
    /// # Panics
    /// On a GPU, which has no kernels of ours.
    pub(crate) fn isa(self) -> Isa {
        self.cpu_isa().expect("the kernels are the CPU's")
    }

    /// The precision of the factors of large products.
    pub(crate) fn precision(self) -> Precision {
        match self.0 {
            Kind::Cpu { precision, .. } => precision,
            #[cfg(feature = "gpu")]
            Kind::Gpu { precision, .. } => precision,
        }
    }

    #[cfg_attr(not(feature = "gpu"), expect(clippy::unnecessary_wraps, reason = "a GPU has none"))]
    fn cpu_isa(self) -> Option<Isa> {
        match self.0 {
            Kind::Cpu { isa, .. } => Some(isa),
            #[cfg(feature = "gpu")]
            Kind::Gpu { .. } => None,
        }
    }

    /// How tensors are laid out in its memory.
    pub(crate) fn order(self) -> Order {
        match self.0 {
            Kind::Cpu { .. } => Order::Kernels,
            #[cfg(feature = "gpu")]
            Kind::Gpu { .. } => Order::ChannelsLast,
        }
    }

    /// Channels of a block of feature maps of shape `map`.
    pub(crate) fn block(self, map: &MapShape) -> usize {
        match self.order() {
            Order::Kernels => map.block(),
            Order::ChannelsLast => map.channels,
        }
    }

    /// The device for networks that are evaluated.
    pub(crate) fn for_inference(self) -> Placement {
        Placement { device: self, burn: self.burn() }
    }

    /// The device for networks that are trained: operations on its tensors are recorded for their gradients.
    pub(crate) fn for_training(self) -> Placement {
        Placement { device: self, burn: self.burn().autodiff() }
    }

    fn burn(self) -> burn::tensor::Device {
        match self.0 {
            Kind::Cpu { .. } => burn::tensor::Device::flex(),
            #[cfg(feature = "gpu")]
            Kind::Gpu { gpu, .. } => gpu.burn(),
        }
    }
}

/// Where a network is: on which device, and whether Burn records operations for their gradients.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    pub(crate) device: Device,
    /// Burn's device, which holds the tensors.
    pub(crate) burn: burn::tensor::Device,
}

/// Whether the kernels can read the tensors of one of Burn's devices.
pub(crate) fn runs_kernels(device: &burn::tensor::Device) -> bool {
    *device == burn::tensor::Device::flex()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_these_tests_memory_is_nan_until_it_is_written() {
        Device::cpu_with(Isa::PORTABLE);
        assert!(effgan_kernels::buffer::take::<f32>(7).iter().all(|value| value.is_nan()));
    }

    #[test]
    fn there_is_a_device_for_each_instruction_set_of_the_processor_and_for_no_other() {
        for name in ["portable", "avx2", "avx512", "neon"] {
            let has = Isa::available().iter().any(|isa| isa.name() == name);
            let device = Isa::named(name).map(Device::cpu_with);
            assert_eq!(device.map(Device::name).ok().as_deref(), has.then_some(name));
        }
    }

    #[test]
    fn a_precision_that_the_device_does_not_support_is_refused() {
        // The bf16 kernels are written for AVX-512.
        let portable = Device::cpu_with(Isa::PORTABLE);
        assert_eq!(portable.with_precision(Precision::F32).unwrap(), portable);
        assert_eq!(
            portable.with_precision(Precision::Bf16).unwrap_err().to_string(),
            "precision = bf16 needs a processor with AVX-512 BF16; use f32"
        );
    }
}
