//! GPUs, and what else computes as one.

use std::fmt::{self, Display, Formatter};
use std::panic;
use std::sync::{Mutex, OnceLock, PoisonError};

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, DeviceType, FloatDType, Tensor, TensorData};
use effgan_kernels::Precision;

use super::{DeviceName, GpuInfo};
use crate::NnError;
use crate::networks::layers;

/// The place of a GPU in the list of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gpu(u8);

/// A device of the system's API, and what came of trying it, once that was done.
struct Found {
    device: Device,
    trial: OnceLock<Result<(), String>>,
}

/// What the system's API lists. With Burn's kernels for Vulkan that is Vulkan; otherwise what wgpu prefers, which is Metal on macOS.
fn found() -> &'static [Found] {
    static FOUND: OnceLock<Vec<Found>> = OnceLock::new();
    #[cfg(all(feature = "spirv", not(target_os = "macos")))]
    const API: DeviceType = DeviceType::Vulkan;
    #[cfg(not(all(feature = "spirv", not(target_os = "macos"))))]
    const API: DeviceType = DeviceType::Wgpu;
    FOUND.get_or_init(|| {
        listen();
        let devices = Device::enumerate(API).into_iter().take(usize::from(u8::MAX));
        devices.map(|device| Found { device, trial: OnceLock::new() }).collect()
    })
}

/// What wgpu said when it failed. It says so by a panic on a thread of its own; a read then only finds that nothing was computed.
static LAST_WORDS: Mutex<Option<String>> = Mutex::new(None);

/// The last error of wgpu, if it had one since the last call.
pub(super) fn last_words() -> Option<String> {
    LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Keeps what wgpu says when it panics, instead of printing it with a backtrace; other panics are reported as before.
fn listen() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        match info.payload_as_str().filter(|text| text.starts_with("wgpu error: ")) {
            Some(text) => *LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned()),
            None => before(info),
        }
    }));
}

impl Gpu {
    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..found().len() as u8).map(Self)
    }

    /// The GPU of this number, if there is one.
    pub(super) fn of(number: u8) -> Option<Self> {
        Self::all().find(|gpu| gpu.0 == number)
    }

    /// What it says of itself. This opens it.
    pub(super) fn info(self) -> GpuInfo {
        let trial = self.trial();
        // A device that cannot be opened has no more to say.
        let device = trial.is_ok().then(|| self.burn());
        let identity = device.as_ref().and_then(Device::identity);
        let has = |kind| device.as_ref().is_some_and(|device| device.supports_dtype(kind));
        GpuInfo {
            device: DeviceName::Gpu(self.0),
            name: identity.as_ref().map(|identity| identity.name.clone()),
            is_card: identity.is_some_and(|identity| identity.physical.is_some()),
            has_f16: has(FloatDType::F16),
            has_bf16: has(FloatDType::BF16),
            trial,
        }
    }

    pub(super) fn computes_in(self, precision: Precision) -> bool {
        match precision {
            Precision::F32 => true,
            Precision::Bf16 => self.burn().supports_dtype(FloatDType::BF16),
        }
    }

    /// Whether matrix products and a convolution are what they should be, or why not; tried once.
    ///
    /// `SwiftShader` runs Burn's kernels for Vulkan and returns other numbers for some shapes, so that a GAN would be trained on them
    /// without an error. No trial finds all shapes: with these kernels, software renderers are refused.
    pub(super) fn trial(self) -> Result<(), String> {
        let Found { device, trial } = &found()[usize::from(self.0)];
        let tried = || {
            let identity = panic::catch_unwind(|| device.identity()).map_err(|_| "it cannot be opened".to_owned())?;
            if cfg!(feature = "spirv") && identity.is_none_or(|identity| identity.physical.is_none()) {
                return Err(
                    "it is a software renderer, on which Burn's kernels for Vulkan compute wrong products".into()
                );
            }
            let ours =
                panic::catch_unwind(|| products(device)).unwrap_or_else(|_| Err("it failed when tried".into()))?;
            let theirs = products(&Device::flex())?;
            // f32 sums of 128 products below 1, in another order.
            let are_equal = ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-3);
            if are_equal { Ok(()) } else { Err("it computes wrong products, so that nothing would be learnt".into()) }
        };
        trial.get_or_init(tried).clone()
    }

    pub(super) fn burn(self) -> Device {
        found()[usize::from(self.0)].device.clone()
    }
}

/// The values of some products of matrices and of a convolution on `device`.
fn products(device: &Device) -> Result<Vec<f32>, String> {
    let tensor = |dims: [usize; 4]| {
        let value = |i: usize| ((i * 7919 + 13) % 1000) as f32 / 500.0 - 1.0;
        let values = (0..dims.iter().product()).map(value).collect::<Vec<_>>();
        Tensor::<4>::from_data(TensorData::new(values, dims), device)
    };
    let product = |[n, inner, m]: [usize; 3]| tensor([1, 1, n, inner]).matmul(tensor([1, 1, inner, m]));
    let channels_first = |x: Tensor<4>| x.permute([0, 3, 1, 2]);
    let (images, window) = (channels_first(tensor([2, 10, 10, 8])), channels_first(tensor([16, 4, 4, 8])));
    let convolution = conv2d(images, window, None, ConvOptions::new([2, 2], [1, 1], [1, 1], 1)).permute([0, 2, 3, 1]);
    let failed = |error: NnError| error.to_string();
    let mut values = Vec::new();
    for shape in [[33, 128, 40], [64, 100, 84], [64, 84, 10], [5, 30, 1]] {
        values.extend(layers::read(product(shape)).map_err(failed)?);
    }
    values.extend(layers::read(convolution).map_err(failed)?);
    Ok(values)
}

impl Display for Gpu {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        DeviceName::Gpu(self.0).fmt(f)
    }
}
