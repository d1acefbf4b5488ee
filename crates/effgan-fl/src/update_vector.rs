//! An update as a vector: the difference between the parameters that a client returns and those that it was sent.

use effgan_nn::networks::is_running_statistic;
use effgan_nn::{NnError, Params};

/// L2 norm of `after` − `before`, over the trainable tensors of `after`.
///
/// # Errors
/// [`NnError::MissingTensor`] when `before` lacks one of them.
pub(crate) fn norm(before: &Params, after: &Params) -> Result<f64, NnError> {
    let mut square = 0.0;
    for (name, array) in after.iter().filter(|(name, _)| !is_running_statistic(name)) {
        let pairs = array.values().iter().zip(before.get(name)?.values());
        square += pairs.map(|(&after, &before)| (f64::from(after) - f64::from(before)).powi(2)).sum::<f64>();
    }
    Ok(square.sqrt())
}

/// Scales the update: sets each tensor of `after` to `before` + `factor` · (`after` − `before`).
///
/// # Errors
/// [`NnError::MissingTensor`] when `before` lacks one of them.
pub(crate) fn scale(before: &Params, after: &mut Params, factor: f64) -> Result<(), NnError> {
    for (name, array) in after {
        for (after, &before) in array.values_mut().iter_mut().zip(before.get(name)?.values()) {
            let before = f64::from(before);
            *after = (before + (f64::from(*after) - before) * factor) as f32;
        }
    }
    Ok(())
}
