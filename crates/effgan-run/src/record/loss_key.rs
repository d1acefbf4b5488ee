//! The losses of a model by their keys in metrics and events: which keys are losses, and what people call them.

use effgan_fl::message::Numbers;
use effgan_nn::gan::LOSSES;

/// What the key of every loss begins with.
const PREFIX: &str = "loss_";
/// Maximum number of characters after it.
const MAX_LETTERS: usize = 32;

/// Whether `key` is that of a loss: `loss_` and 1 to 32 of a-z, 0-9 and `_`. A file from elsewhere may hold any other.
pub fn is_loss(key: &str) -> bool {
    let is_letter = |c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_');
    key.strip_prefix(PREFIX).is_some_and(|rest| (1..=MAX_LETTERS).contains(&rest.len()) && rest.bytes().all(is_letter))
}

/// The losses among `metrics`, by key.
pub fn losses(metrics: &Numbers) -> impl Iterator<Item = (&str, f64)> {
    metrics.iter().map(|(key, &value)| (key.as_str(), value)).filter(|(key, _)| is_loss(key))
}

/// What `key` is the loss of: `discriminator` for `loss_d`, and `pixels` for `loss_pixels`.
pub fn what(key: &str) -> &str {
    LOSSES.into_iter().find(|name| name.key == key).map_or_else(|| rest(key), |name| name.of)
}

/// The short form for narrow places: `D` for `loss_d`, and `pixels` for `loss_pixels`.
pub fn short(key: &str) -> String {
    let rest = rest(key);
    if rest.len() == 1 { rest.to_uppercase() } else { rest.to_owned() }
}

fn rest(key: &str) -> &str {
    key.strip_prefix(PREFIX).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use effgan_nn::Model;

    use super::*;

    #[test]
    fn the_losses_of_a_gan_have_the_words_of_its_model() {
        assert_eq!(crate::config::tests::model().losses(), LOSSES);
        let names = ["loss_d", "loss_g"].map(|key| (what(key), short(key)));
        assert_eq!(names, [("discriminator", "D".to_owned()), ("generator", "G".to_owned())]);
    }

    #[test]
    fn a_loss_of_another_model_is_called_by_the_rest_of_its_key() {
        assert_eq!(
            (what("loss_pixels"), short("loss_pixels"), short("loss_x")),
            ("pixels", "pixels".into(), "X".into())
        );
    }

    #[test]
    fn a_key_of_a_loss_is_short_and_plain() {
        let longest = format!("loss_{}", "a".repeat(32));
        for key in ["loss_d", "loss_kl_2", &longest] {
            assert!(is_loss(key), "{key}");
        }
        for key in ["steps", "loss_", "loss_D", "loss_é", "loss_=1", "loss_<b>", "xloss_d", &format!("{longest}a")] {
            assert!(!is_loss(key), "{key}");
        }
    }
}
