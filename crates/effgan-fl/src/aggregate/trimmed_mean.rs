//! The coordinate-wise trimmed mean, and with it the median (Yin, Chen, Kannan, Bartlett 2018, arXiv:1803.01498). As long as
//! fewer than half of the clients (or at most `trim`) send arbitrary values, the result stays within the range of the values of
//! the others.
//!
//! All clients are weighted equally, whatever `algorithm.weights` says: a client reports n_k itself, and could outvote all others
//! with a large one.

use effgan_nn::{Array, NnError, Params};

/// The mean of each value over `sets`, without the `trim` lowest and the `trim` highest. With `trim` = ⌈n / 2⌉ − 1 it is the
/// median (for even n, the mean of the two middle values); with 0 it is the mean.
///
/// The result for equal sets is that set, bit for bit, and the order of the sets does not matter. There must be more than 2 · `trim` sets.
///
/// # Errors
/// [`NnError`] when a tensor is missing or has another shape than in the first set.
pub(super) fn trimmed_mean(sets: &[Params], trim: usize) -> Result<Params, NnError> {
    let (first, others) = sets.split_first().expect("a round that is folded has replies");
    let mut result = Params::new();
    let mut values = Vec::with_capacity(sets.len());
    for (name, array) in first {
        let others = others.iter().map(|set| Ok(of_shape(set, name, &array.shape)?.values()));
        let others = others.collect::<Result<Vec<_>, NnError>>()?;
        let middle = |(i, &first)| {
            values.clear();
            values.push(first);
            values.extend(others.iter().map(|other| other[i]));
            mean_of_middle(&mut values, trim)
        };
        let means = array.values().iter().enumerate().map(middle).collect();
        result.insert(name.clone(), Array::new(array.shape.clone(), means));
    }
    Ok(result)
}

fn of_shape<'a>(set: &'a Params, name: &str, shape: &[usize]) -> Result<&'a Array, NnError> {
    let array = set.get(name)?;
    if array.shape == *shape {
        return Ok(array);
    }
    Err(NnError::Shape { name: name.into(), found: array.shape.clone(), expected: shape.to_vec() })
}

/// Sums in ascending order, so that the result does not depend on the order of the clients.
fn mean_of_middle(values: &mut [f32], trim: usize) -> f32 {
    values.sort_unstable_by(f32::total_cmp);
    let kept = &values[trim..values.len() - trim];
    (kept.iter().map(|&value| f64::from(value)).sum::<f64>() / kept.len() as f64) as f32
}
