//! The images of one client.

use effgan_data::{ClientName, ImageSet, by_person};
use effgan_nn::Model;

use crate::{FlError, Result};

/// The images that one client trains on.
#[derive(Clone, Copy, Debug)]
pub struct Shard<'a> {
    /// The client.
    pub client: &'a ClientName,
    /// All images of the data set.
    pub images: &'a ImageSet,
    /// Indices of the images that this client trains on.
    pub train: &'a [u32],
}

impl Shard<'_> {
    /// The training images by person; `None` where the data set names no persons.
    pub fn by_person(&self) -> Option<Vec<Vec<u32>>> {
        Some(by_person(self.train, self.images.persons()?))
    }
}

/// Checks that a client can train `model` on `num_examples` images.
///
/// # Errors
/// [`FlError::OneImage`].
pub fn check_shard(model: &dyn Model, client: &ClientName, num_examples: usize) -> Result<()> {
    if num_examples == 1 && model.min_images() > 1 {
        return Err(FlError::OneImage { client: client.clone() });
    }
    Ok(())
}
