//! The way from the parameters that a client was sent to those that it answers: how long it is, and scaleing it.

use effgan_nn::networks::is_running_statistic;
use effgan_nn::{NnError, Params};

/// L2 norm of the way from `before` to `after` over the trainable tensors of `after`.
///
/// # Errors
/// [`NnError::MissingTensor`] when `before` has not one of them.
pub(crate) fn norm(before: &Params, after: &Params) -> Result<f64, NnError> {
    let mut square = 0.0;
    for (name, array) in after.iter().filter(|(name, _)| !is_running_statistic(name)) {
        let pairs = array.values.iter().zip(&before.get(name)?.values);
        square += pairs.map(|(&after, &before)| (f64::from(after) - f64::from(before)).powi(2)).sum::<f64>();
    }
    Ok(square.sqrt())
}

/// Makes the way from `before` to `after` longer by `factor`, in all tensors of `after`.
///
/// # Errors
/// [`NnError::MissingTensor`] when `before` has not one of them.
pub(crate) fn scale(before: &Params, after: &mut Params, factor: f64) -> Result<(), NnError> {
    for (name, array) in after {
        for (after, &before) in array.values.iter_mut().zip(&before.get(name)?.values) {
            let before = f64::from(before);
            *after = (before + (f64::from(*after) - before) * factor) as f32;
        }
    }
    Ok(())
}
