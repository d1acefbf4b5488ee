//! GPUs, and what else computes as one.

use std::fmt::{self, Display, Formatter};
use std::panic;
use std::sync::{Mutex, OnceLock, PoisonError};

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, DeviceType, FloatDType, Tensor, TensorData};
use effgan_kernels::Precision;

use super::{DeviceName, GpuInfo};

/// The place of a GPU in the list of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gpu(u8);

/// A device of the system's API, and whether it computes right, once that was tried.
struct Found {
    device: Device,
    is_right: OnceLock<bool>,
}

/// What the system's API lists: Vulkan, Metal on macOS, otherwise DX12.
fn found() -> &'static [Found] {
    static FOUND: OnceLock<Vec<Found>> = OnceLock::new();
    FOUND.get_or_init(|| {
        listen();
        let devices = Device::enumerate(DeviceType::Wgpu).into_iter().take(usize::from(u8::MAX));
        devices.map(|device| Found { device, is_right: OnceLock::new() }).collect()
    })
}

/// What wgpu said when it failed. It says so by a panic on a thread of its own; a read then only finds that nothing was computed.
static LAST_WORDS: Mutex<Option<String>> = Mutex::new(None);

/// The last error of wgpu, if it had one.
pub(super) fn last_words() -> Option<String> {
    LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        let device = self.burn();
        let identity = device.identity();
        GpuInfo {
            device: DeviceName::Gpu(self.0),
            name: identity.as_ref().map(|identity| identity.name.clone()),
            is_card: identity.is_some_and(|identity| identity.physical.is_some()),
            computes_in: [FloatDType::F16, FloatDType::BF16].map(|of| device.supports_dtype(of)),
            is_right: self.is_right(),
        }
    }

    pub(super) fn computes_in(self, precision: Precision) -> bool {
        match precision {
            Precision::F32 => true,
            Precision::Bf16 => self.burn().supports_dtype(FloatDType::BF16),
        }
    }

    /// Whether a matrix product and a convolution are what they should be, which is tried once.
    ///
    /// `SwiftShader`, for one, runs Burn's kernels for Vulkan and returns other numbers: a GAN would be trained on them without an error.
    pub(super) fn is_right(self) -> bool {
        *found()[usize::from(self.0)].is_right.get_or_init(|| {
            let (ours, theirs) = (trial(&self.burn()), trial(&Device::flex()).expect("the CPU does not fail"));
            // f32 sums of 128 products below 1, in another order.
            ours.is_some_and(|ours| ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-3))
        })
    }

    pub(super) fn burn(self) -> Device {
        found()[usize::from(self.0)].device.clone()
    }
}

/// The values of a product of matrices and of a convolution on `device`; `None` where it fails.
fn trial(device: &Device) -> Option<Vec<f32>> {
    let tensor = |dims: [usize; 4]| {
        let value = |i: usize| ((i * 7919 + 13) % 1000) as f32 / 500.0 - 1.0;
        let values = (0..dims.iter().product()).map(value).collect::<Vec<_>>();
        Tensor::<4>::from_data(TensorData::new(values, dims), device)
    };
    let product = tensor([1, 1, 33, 128]).matmul(tensor([1, 1, 128, 40]));
    let channels_first = |x: Tensor<4>| x.permute([0, 3, 1, 2]);
    let (images, window) = (channels_first(tensor([2, 10, 10, 8])), channels_first(tensor([16, 4, 4, 8])));
    let convolution = conv2d(images, window, None, ConvOptions::new([2, 2], [1, 1], [1, 1], 1)).permute([0, 2, 3, 1]);
    let mut values = product.try_into_data().ok()?.try_into_vec::<f32>().ok()?;
    values.extend(convolution.try_into_data().ok()?.try_into_vec::<f32>().ok()?);
    Some(values)
}

impl Display for Gpu {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        DeviceName::Gpu(self.0).fmt(f)
    }
}
