//! How many updates a discriminator that is trained with noise gets for each of the generator's (Bie, Kamath, Zhang 2023,
//! arXiv:2302.02936, "adaptive discriminator step frequency").
//!
//! The noise weakens the discriminator alone. When it no longer tells generated images apart, it gets more updates for each of
//! the generator's. That depends on generated images alone, so it reveals nothing of real ones.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Array, Params, Result};

/// Updates of a discriminator for each of the generator's: a number, or `"adaptive"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscriminatorSteps {
    /// So many in each step, ≥ 1.
    Fixed(usize),
    /// Private training alone: a step has one, and the generator's comes after ever more of them.
    Adaptive,
}

impl DiscriminatorSteps {
    /// Updates of the discriminator in a step.
    pub fn per_step(self) -> usize {
        match self {
            Self::Fixed(steps) => steps,
            Self::Adaptive => 1,
        }
    }
}

impl Serialize for DiscriminatorSteps {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(steps) => steps.serialize(serializer),
            Self::Adaptive => serializer.serialize_str(ADAPTIVE),
        }
    }
}

impl<'de> Deserialize<'de> for DiscriminatorSteps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Either;
        impl de::Visitor<'_> for Either {
            type Value = DiscriminatorSteps;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number of at least 1, or \"{ADAPTIVE}\"")
            }

            fn visit_u64<E: de::Error>(self, steps: u64) -> std::result::Result<DiscriminatorSteps, E> {
                Ok(DiscriminatorSteps::Fixed(usize::try_from(steps).unwrap_or(usize::MAX)))
            }

            fn visit_i64<E: de::Error>(self, steps: i64) -> std::result::Result<DiscriminatorSteps, E> {
                let unsigned =
                    u64::try_from(steps).map_err(|_| E::invalid_value(de::Unexpected::Signed(steps), &self))?;
                self.visit_u64(unsigned)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<DiscriminatorSteps, E> {
                let known = (text == ADAPTIVE).then_some(DiscriminatorSteps::Adaptive);
                known.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

const ADAPTIVE: &str = "adaptive";

/// Updates of the discriminator for each of the generator's, from the first level on.
const LEVELS: [u64; 9] = [1, 2, 5, 10, 20, 50, 100, 200, 500];
/// Decay of the moving average of the accuracy, per update.
const DECAY: f64 = 0.99;
/// Share of generated images that the discriminator must recognise.
const THRESHOLD: f64 = 0.6;
/// Updates after a rise in which there is no other: twice what the average remembers.
const GRACE: u64 = 200;

/// Decides after each update of the discriminator whether the generator follows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AdaptiveSteps {
    level: usize,
    /// Updates since the last one of the generator.
    since_generator: u64,
    /// Updates since the last rise.
    since_rise: u64,
    /// Moving average of the accuracy on generated images.
    accuracy: f64,
    /// Updates of the generator so far.
    generator_steps: u64,
}

impl AdaptiveSteps {
    /// One update of the discriminator for each of the generator's.
    pub(super) fn new() -> Self {
        Self { level: 0, since_generator: 0, since_rise: 0, accuracy: 1.0, generator_steps: 0 }
    }

    /// Counts an update of the discriminator, which recognised the share `accuracy` of the generated images before it, and returns whether an
    /// update of the generator follows.
    pub(super) fn count(&mut self, accuracy: f64) -> bool {
        self.accuracy = DECAY * self.accuracy + (1.0 - DECAY) * accuracy;
        self.since_generator += 1;
        self.since_rise += 1;
        if self.accuracy < THRESHOLD && self.since_rise >= GRACE && self.level + 1 < LEVELS.len() {
            (self.level, self.since_rise) = (self.level + 1, 0);
        }
        let is_due = self.since_generator >= LEVELS[self.level];
        if is_due {
            (self.since_generator, self.generator_steps) = (0, self.generator_steps + 1);
        }
        is_due
    }

    /// Updates of the generator so far.
    pub(super) fn generator_steps(&self) -> u64 {
        self.generator_steps
    }

    /// As a tensor, whose counts are exact up to 2²⁴: more than a round has.
    pub(super) fn state(&self) -> Params {
        let Self { level, since_generator, since_rise, accuracy, generator_steps } = self;
        let counts = [*level as u64, *since_generator, (*since_rise).min(GRACE), *generator_steps];
        let values = counts.into_iter().map(|count| count as f32).chain([*accuracy as f32]).collect();
        [(STATE.to_owned(), Array::new([5], values))].into_iter().collect()
    }

    /// Undoes [`state`](Self::state).
    ///
    /// # Errors
    /// When the tensor is missing.
    pub(super) fn resume(state: &Params) -> Result<Self> {
        let values = state.get(STATE)?.values();
        let count = |i: usize| values.get(i).copied().unwrap_or_default() as u64;
        Ok(Self {
            level: (count(0) as usize).min(LEVELS.len() - 1),
            since_generator: count(1),
            since_rise: count(2),
            generator_steps: count(3),
            accuracy: values.get(4).copied().unwrap_or(1.0).into(),
        })
    }
}

/// The tensor's name in a saved state.
const STATE: &str = "adaptive_steps";

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `updates` the generator follows.
    fn follows(steps: &mut AdaptiveSteps, updates: usize, accuracy: f64) -> usize {
        (0..updates).filter(|_| steps.count(accuracy)).count()
    }

    #[test]
    fn a_discriminator_that_recognises_images_is_updated_once_for_each_step_of_the_generator() {
        assert_eq!(follows(&mut AdaptiveSteps::new(), 1000, 0.95), 1000);
        assert_eq!(follows(&mut AdaptiveSteps::new(), 1000, 0.61), 1000);
    }

    #[test]
    fn one_that_does_not_gets_more_and_more_updates() {
        let mut steps = AdaptiveSteps::new();
        // The average, 0.5 + 0.5 · 0.99^n, is below 0.6 from the 161st update on, and the grace ends with the 200th.
        assert_eq!(follows(&mut steps, 199, 0.5), 199);
        assert_eq!(follows(&mut steps, 200, 0.5), 100);
        assert_eq!(follows(&mut steps, 200, 0.5), 40);
        assert_eq!(follows(&mut steps, 200, 0.5), 20);
        // Up to one in 500.
        follows(&mut steps, 2000, 0.5);
        assert_eq!(follows(&mut steps, 5000, 0.5), 10);
        assert!(steps.generator_steps() > 360);
    }

    #[test]
    fn it_goes_on_from_a_saved_state() {
        let mut steps = AdaptiveSteps::new();
        follows(&mut steps, 333, 0.55);
        let mut later = AdaptiveSteps::resume(&steps.state()).unwrap();
        for _ in 0..1000 {
            assert_eq!(steps.count(0.5), later.count(0.5));
        }
        assert!(AdaptiveSteps::resume(&Params::new()).is_err());
    }
}
