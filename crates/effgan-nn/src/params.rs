//! Named tensors as plain arrays, which algorithms average, files store and messages carry.
//!
//! Names and layouts are PyTorch's (`conv1.weight`; convolution OIHW, transposed convolution IOHW, linear out × in).

use std::collections::{BTreeMap, btree_map};
use std::io;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::{NnError, Result};

/// One tensor, row-major. Clones share their values until one of them is modified.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Sizes of the dimensions; empty for a scalar.
    pub shape: Vec<usize>,
    values: Arc<Vec<f32>>,
}

impl Array {
    /// A tensor of `shape` with row-major `values`.
    ///
    /// # Panics
    /// When the number of values is not the product of the shape. Shapes are checked where data enters the program.
    pub fn new(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Self {
        let shape = shape.into();
        assert_eq!(
            shape.iter().product::<usize>(),
            values.len(),
            "an array has as many values as its shape {shape:?} says"
        );
        Self { shape, values: Arc::new(values) }
    }

    /// The values; as many as the product of the shape.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The values, to be modified. Where clones share them, they are copied first: call this once before a loop.
    pub fn values_mut(&mut self) -> &mut [f32] {
        Arc::make_mut(&mut self.values).as_mut_slice()
    }

    /// The values; copied only where clones share them.
    pub fn into_values(self) -> Vec<f32> {
        Arc::unwrap_or_clone(self.values)
    }

    /// Calls `take` with the values as little-endian bytes, piece by piece.
    pub(crate) fn for_bytes(&self, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut bytes = [0; 1 << 14];
        for values in self.values.chunks(bytes.len() / 4) {
            let bytes = &mut bytes[..4 * values.len()];
            bytes.chunks_exact_mut(4).zip(values).for_each(|(four, value)| four.copy_from_slice(&value.to_le_bytes()));
            take(bytes)?;
        }
        Ok(())
    }

    /// SHA-256 of the values as little-endian bytes, as lower-case hex.
    pub fn sha256(&self) -> String {
        let mut sha = Sha256::new();
        self.add_to(&mut sha);
        hex(&sha.finalize())
    }

    fn add_to(&self, sha: &mut Sha256) {
        let added = self.for_bytes(|bytes| {
            sha.update(bytes);
            Ok(())
        });
        added.expect("a hash takes all bytes");
    }
}

/// Tensors by name, in the order of their names. A clone shares the values of all [arrays](Array).
///
/// The order matters: all loops over a model have the same order on all machines, so that sums and hashes are equal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params(BTreeMap<String, Array>);

impl Params {
    /// No tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tensor `name`.
    ///
    /// # Errors
    /// [`NnError::MissingTensor`] when there is no such tensor.
    pub fn get(&self, name: &str) -> Result<&Array> {
        self.0.get(name).ok_or_else(|| NnError::MissingTensor { name: name.into(), found: self.0.len() })
    }

    /// Adds or replaces a tensor.
    pub fn insert(&mut self, name: impl Into<String>, array: Array) {
        self.0.insert(name.into(), array);
    }

    /// Tensors in the order of their names.
    pub fn iter(&self) -> btree_map::Iter<'_, String, Array> {
        self.0.iter()
    }

    /// Tensors in the order of their names, to be modified in place.
    pub fn iter_mut(&mut self) -> btree_map::IterMut<'_, String, Array> {
        self.0.iter_mut()
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tensors whose names start with `prefix.`, with that prefix removed from their names.
    #[must_use]
    pub fn under(&self, prefix: &str) -> Self {
        let strip = |(name, array): (&String, &Array)| {
            let rest = name.strip_prefix(prefix)?.strip_prefix('.')?;
            Some((rest.to_owned(), array.clone()))
        };
        Self(self.0.iter().filter_map(strip).collect())
    }

    /// The same tensors with `prefix.` before each name.
    #[must_use]
    pub fn named_under(self, prefix: &str) -> Self {
        Self(self.0.into_iter().map(|(name, array)| (format!("{prefix}.{name}"), array)).collect())
    }

    /// The tensors of both; those of `other` replace those of the same name.
    #[must_use]
    pub fn merged_with(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Size of the values in bytes, which is the size of a message without the names.
    pub fn num_bytes(&self) -> u64 {
        self.0.values().map(|array| 4 * array.values().len() as u64).sum()
    }

    /// *Model hash*: SHA-256 over name, shape and little-endian bytes of each tensor in order of names, as lower-case
    /// hex.
    pub fn hash(&self) -> String {
        let mut sha = Sha256::new();
        for (name, array) in &self.0 {
            // With lengths, so that different models are different sequences of bytes.
            sha.update((name.len() as u64).to_le_bytes());
            sha.update(name);
            sha.update((array.shape.len() as u64).to_le_bytes());
            array.shape.iter().for_each(|&size| sha.update((size as u64).to_le_bytes()));
            array.add_to(&mut sha);
        }
        hex(&sha.finalize())
    }

    /// Checks that no value is NaN or infinite.
    ///
    /// # Errors
    /// [`NnError::NonFinite`] with the first tensor and index.
    pub fn check_finite(&self) -> Result<()> {
        for (name, array) in &self.0 {
            if let Some(index) = array.values().iter().position(|value| !value.is_finite()) {
                return Err(NnError::NonFinite { name: name.clone(), index });
            }
        }
        Ok(())
    }
}

impl FromIterator<(String, Array)> for Params {
    fn from_iter<I: IntoIterator<Item = (String, Array)>>(tensors: I) -> Self {
        Self(tensors.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a mut Params {
    type Item = (&'a String, &'a mut Array);
    type IntoIter = btree_map::IterMut<'a, String, Array>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl IntoIterator for Params {
    type Item = (String, Array);
    type IntoIter = btree_map::IntoIter<String, Array>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Params {
    type Item = (&'a String, &'a Array);
    type IntoIter = btree_map::Iter<'a, String, Array>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// SHA-256 of `bytes`, as lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a `String` does not fail
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_tensors() -> Params {
        [
            ("generator.fc.bias".to_owned(), Array::new([2], vec![1.0, 2.0])),
            ("discriminator.fc.bias".to_owned(), Array::new([1], vec![3.0])),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn parts_under_their_prefixes_make_up_the_whole() {
        let whole = two_tensors();
        let parts = ["generator", "discriminator"].map(|part| whole.under(part).named_under(part));
        let [generator, discriminator] = parts;
        assert_eq!(generator.merged_with(discriminator), whole);
    }

    #[test]
    fn the_hash_depends_on_values_names_and_shapes() {
        let one = two_tensors();
        let mut value = one.clone();
        value.insert("generator.fc.bias", Array::new([2], vec![1.0, 2.5]));
        let mut shape = one.clone();
        shape.insert("generator.fc.bias", Array::new([1, 2], vec![1.0, 2.0]));
        let renamed = one
            .under("generator")
            .named_under("g")
            .merged_with(one.under("discriminator").named_under("discriminator"));
        assert_eq!(one.hash(), two_tensors().hash());
        for other in [value, shape, renamed] {
            assert_ne!(one.hash(), other.hash());
        }
    }

    #[test]
    fn a_clone_shares_its_values_until_one_of_the_two_is_modified() {
        let first = Array::new([2], vec![1.0, 2.0]);
        let mut second = first.clone();
        assert_eq!(first.values().as_ptr(), second.values().as_ptr());
        second.values_mut()[0] = 3.0;
        assert_eq!((first.values(), second.values()), (&[1.0, 2.0][..], &[3.0, 2.0][..]));
        let own = second.values().as_ptr();
        let values = second.into_values();
        assert_eq!(values.as_ptr(), own, "values that nothing shares are not copied");
    }

    #[test]
    fn the_hash_of_an_array_is_that_of_its_bytes_in_one_piece() {
        let array = Array::new([5000], (0..5000).map(|i| i as f32).collect());
        let bytes: Vec<u8> = array.values().iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(array.sha256(), sha256(&bytes));
    }

    #[test]
    fn a_non_finite_value_is_named() {
        let mut params = two_tensors();
        params.insert("generator.fc.bias", Array::new([2], vec![1.0, f32::NAN]));
        let error = params.check_finite().unwrap_err().to_string();
        assert_eq!(error, "tensor `generator.fc.bias` has a non-finite value at index 1");
    }
}
