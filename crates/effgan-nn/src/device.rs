//! The devices that networks are computed on.

use effgan_kernels::{Isa, Precision, peak_gflops};

use crate::{NnError, Result};

/// What computes networks: the CPU, with one of its instruction sets.
///
/// A device is a value: code that computes is given one, and uses it for all that it computes. Networks of one process
/// may be on different devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    isa: Isa,
    precision: Precision,
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
        Self { isa, precision: Precision::F32 }
    }

    /// The same device, on which the large products of networks have factors of `precision`.
    ///
    /// # Errors
    /// [`NnError::Device`] when the device does not support it.
    pub fn with_precision(self, precision: Precision) -> Result<Self> {
        if precision.is_available(self.isa) {
            return Ok(Self { precision, ..self });
        }
        let name = precision.name();
        Err(NnError::Device(format!("precision = {name} needs a processor with AVX-512 BF16; use f32")))
    }

    /// The name in records of runs and benchmarks: that of the instruction set, `portable`, `avx2`, `avx512` or `neon`.
    pub fn name(self) -> &'static str {
        self.isa.name()
    }

    /// The peak speed of one core in f32 products, in 10⁹ operations per second (2 per multiply-add), which this call
    /// measures.
    pub fn peak_gflops(self) -> f64 {
        peak_gflops(self.isa)
    }

    /// The instruction set of the kernels.
    pub(crate) fn isa(self) -> Isa {
        self.isa
    }

    /// The precision of the factors of large products.
    pub(crate) fn precision(self) -> Precision {
        self.precision
    }

    /// The device for networks that are evaluated.
    pub(crate) fn for_inference(self) -> Placement {
        Placement { device: self, burn: burn::tensor::Device::flex() }
    }

    /// The device for networks that are trained: operations on its tensors are recorded for their gradients.
    pub(crate) fn for_training(self) -> Placement {
        Placement { device: self, burn: burn::tensor::Device::flex().autodiff() }
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
            assert_eq!(device.map(Device::name).ok(), has.then_some(name));
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
