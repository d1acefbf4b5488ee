//! One array per network instead of one per tensor: Flower makes a request for each array, and networks have many small tensors.

use std::collections::BTreeMap;

use effgan_fl::Shapes;
use effgan_nn::{Array, Params};

use super::{Content, TENSORS};

impl Content {
    /// Joins all tensors of a network into one array, in the order of their names, and adds their names and shapes as the word `tensors`.
    #[must_use]
    pub fn packed(mut self) -> Self {
        if self.params.is_empty() {
            return self;
        }
        let shapes = shapes_of(&self.params);
        self.words.insert(TENSORS.into(), serde_json::to_string(&shapes).expect("names and shapes are plain data"));
        let mut networks: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        for (name, array) in &self.params {
            networks.entry(network_of(name).into()).or_default().extend(array.values());
        }
        let array = |(name, values): (String, Vec<f32>)| (name, Array::new([values.len()], values));
        Self { params: networks.into_iter().map(array).collect(), ..self }
    }

    /// Undoes [`packed`](Self::packed).
    ///
    /// # Errors
    /// One line that says how the names, shapes and values disagree.
    pub fn unpacked(mut self) -> Result<Self, String> {
        let Some(tensors) = self.words.remove(TENSORS) else {
            return if self.params.is_empty() { Ok(self) } else { Err(format!("the message lacks `{TENSORS}`")) };
        };
        let shapes: Shapes =
            serde_json::from_str(&tensors).map_err(|error| format!("the message's `{TENSORS}`: {error}"))?;
        let mut left: BTreeMap<&str, &[f32]> =
            self.params.iter().map(|(name, array)| (name.as_str(), array.values())).collect();
        let mut params = Params::new();
        for (name, shape) in shapes {
            let network = network_of(&name);
            let values = left.get_mut(network).ok_or_else(|| format!("the message lacks the array `{network}`"))?;
            // The shape is the other side's word: its size is checked before memory is taken for it.
            let size = shape.iter().try_fold(1_usize, |size, &n| size.checked_mul(n)).filter(|&n| n <= values.len());
            let (these, rest) = values
                .split_at_checked(size.unwrap_or(usize::MAX))
                .ok_or_else(|| format!("the array `{network}` ends before `{name}` {shape:?}"))?;
            params.insert(name, Array::new(shape, these.to_vec()));
            *values = rest;
        }
        match left.iter().find(|(_, rest)| !rest.is_empty()) {
            Some((network, rest)) => {
                Err(format!("the array `{network}` has {} values more than its tensors", rest.len()))
            }
            None => Ok(Self { params, ..self }),
        }
    }
}

/// The part of a tensor's name before its first dot.
fn network_of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

fn shapes_of(params: &Params) -> Shapes {
    params.iter().map(|(name, array)| (name.clone(), array.shape.clone())).collect()
}
