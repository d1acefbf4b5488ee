//! Features of FID's Inception network, whose weights the user provides.

use std::path::Path;

use effgan_nn::networks::{self, INCEPTION_FEATURES};
use effgan_nn::{Device, NnError, parallel_map, state_dict};

use crate::error::of_device;
use crate::{MetricError, Resize, Result};

/// Images that one worker resizes and evaluates at a time, so that the weights, 87 MB, are read once for all of them.
const BATCH: usize = 4;

/// The network behind FID (Heusel et al. 2017, arXiv:1706.08500): the Inception-v3 of 2015 that pytorch-fid, torch-fidelity
/// and clean-fid use. Its 2048 pooled values are the features.
pub struct Inception {
    network: networks::Inception,
    resize: Resize,
}

impl Inception {
    /// Length of a feature vector.
    pub const FEATURES: usize = INCEPTION_FEATURES;

    /// Puts the network on `device`, with the weights from a safetensors or PyTorch state-dict file, such as pytorch-fid's
    /// `pt_inception-2015-12-05-6726825d.pth`. No code in the file is run, and nothing is downloaded.
    ///
    /// # Errors
    /// [`MetricError::Inception`] when the file cannot be read, or a tensor is missing, unknown or has another shape.
    pub fn load(path: &Path, resize: Resize, device: Device) -> Result<Self> {
        let wrong = |error: NnError| match error {
            // These errors name the file already.
            NnError::Io { .. } | NnError::Format { .. } | NnError::StateDict { .. } => error.to_string(),
            _ => format!("{}: {error}", path.display()),
        };
        let params = state_dict::read_weights(path).map_err(|error| MetricError::Inception(wrong(error)))?;
        let network = networks::Inception::new(params, device).map_err(|error| MetricError::Inception(wrong(error)))?;
        Ok(Self { network, resize })
    }

    /// SHA-256 of the tensors that are used, 64 hexadecimal digits. Together with [`resize`](Self::resize) it identifies the features.
    pub fn sha256(&self) -> &str {
        self.network.hash()
    }

    /// How images are resized to 299 × 299 pixels.
    pub fn resize(&self) -> Resize {
        self.resize
    }

    /// Features `[n, 2048]` of `images`, each u8 `[c, h, w]` with c = 1 or 3 and its shape `[c, h, w]`. Each image is resized by
    /// itself, in its own colours, a few at a time. The result does not depend on the number of threads, `jobs`.
    ///
    /// # Errors
    /// [`MetricError::Device`]; [`MetricError::InceptionShape`] for other numbers of channels, or when the pixels do not fill the shape.
    pub fn features(&self, images: &[(&[u8], [usize; 3])], jobs: usize) -> Result<Vec<f32>> {
        let fits = |pixels: &[u8], shape: [usize; 3]| {
            matches!(shape[0], 1 | 3) && !pixels.is_empty() && pixels.len() == shape.iter().product::<usize>()
        };
        if let Some((pixels, shape)) = images.iter().find(|(pixels, shape)| !fits(pixels, *shape)) {
            return Err(MetricError::InceptionShape { values: pixels.len(), shape: *shape });
        }
        let batches: Vec<_> = images.chunks(BATCH).collect();
        let parts = parallel_map(batches.len(), jobs, |i| {
            let inputs: Vec<f32> =
                batches[i].iter().flat_map(|(image, shape)| self.resize.input(image, *shape)).collect();
            self.network.features(&inputs)
        });
        let parts = parts.into_iter().collect::<std::result::Result<Vec<_>, _>>();
        Ok(parts.map_err(|error| of_device(&error))?.concat())
    }
}
