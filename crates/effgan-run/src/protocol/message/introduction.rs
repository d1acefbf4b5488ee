//! The reply to a query: which site this is, how many images it has, and of what shape.

use std::collections::BTreeMap;

use effgan_data::ClientName;
use effgan_nn::{ArithmeticVersion, Params};
use serde::{Deserialize, Serialize};

use super::{ARITHMETIC_VERSION, Content, LEDGER, NUM_EXAMPLES, VERSION};
use crate::config::MAX_EXAMPLES;

/// What a site says of itself. `sites.json` in the run folder keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Introduction {
    /// The site's name.
    pub name: ClientName,
    /// n_k: how many images it trains on.
    pub num_examples: u64,
    /// How many persons these are of; only where private training hides persons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_persons: Option<u64>,
    /// `[c, h, w]` of its images.
    pub image_shape: [usize; 3],
    /// How many classes its images have.
    pub num_classes: usize,
    /// The site's version of effgan.
    pub version: String,
    /// The version of the site's arithmetic.
    #[serde(default)]
    pub arithmetic_version: ArithmeticVersion,
    /// How many images it trains on, by class; only where the config requests them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_counts: Option<Vec<u64>>,
    /// The maximum number of images that it counts for, by the server's list of sites when the run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_examples: Option<u64>,
    /// The head of its ledger after the line of this reply; later heads are in the run's `ledgers.jsonl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<String>,
}

const SHAPE: [&str; 3] = ["channels", "height", "width"];
const CLASSES: &str = "classes";
const NUM_PERSONS: &str = "num-persons";
const NAME: &str = "client-name";

/// Maximum number of pixels per side of an image.
const MAX_SIDE: u64 = 1024;
/// Maximum number of classes: labels are bytes.
const MAX_CLASSES: u64 = 256;

impl Introduction {
    /// Writes it as a message.
    pub fn into_content(self) -> Content {
        let mut numbers: BTreeMap<String, f64> =
            SHAPE.iter().zip(self.image_shape).map(|(name, n)| ((*name).to_owned(), n as f64)).collect();
        numbers.insert(CLASSES.into(), self.num_classes as f64);
        numbers.insert(NUM_EXAMPLES.into(), self.num_examples as f64);
        numbers.extend(self.num_persons.map(|n| (NUM_PERSONS.to_owned(), n as f64)));
        numbers.insert(ARITHMETIC_VERSION.into(), self.arithmetic_version.0.into());
        for (class, n) in self.label_counts.iter().flatten().enumerate() {
            numbers.insert(of_class(class), *n as f64);
        }
        let words = [(NAME, Some(self.name.to_string())), (VERSION, Some(self.version)), (LEDGER, self.ledger)];
        let words = words.into_iter().filter_map(|(name, word)| Some((name.to_owned(), word?))).collect();
        Content { params: Params::new(), numbers, words }
    }

    /// Reads it from a site's reply.
    ///
    /// # Errors
    /// One line that says what is missing or out of bounds.
    pub fn of(content: &Content) -> Result<Self, String> {
        let word = content.word(NAME)?;
        let name = ClientName::new(word).map_err(|error| error.to_string())?;
        let side = |name: &str| match content.count(name)? {
            n @ 1..=MAX_SIDE => Ok(n as usize),
            n => Err(format!("its images have {n} for `{name}`, and must have from 1 to {MAX_SIDE}")),
        };
        let image_shape = [side(SHAPE[0])?, side(SHAPE[1])?, side(SHAPE[2])?];
        let num_classes = match content.count(CLASSES)? {
            n @ 1..=MAX_CLASSES => n as usize,
            n => return Err(format!("its images have {n} classes, and must have from 1 to {MAX_CLASSES}")),
        };
        let num_examples = match content.count(NUM_EXAMPLES)? {
            n @ 1..=MAX_EXAMPLES => n,
            n => return Err(format!("it has {n} images, and must have from 1 to {MAX_EXAMPLES}")),
        };
        let num_persons =
            match content.numbers.contains_key(NUM_PERSONS).then(|| content.count(NUM_PERSONS)).transpose()? {
                Some(n) if !(1..=num_examples).contains(&n) => {
                    return Err(format!(
                        "its {num_examples} images are of {n} persons, and must be of 1 to {num_examples}"
                    ));
                }
                num_persons => num_persons,
            };
        let arithmetic_version = content.count(ARITHMETIC_VERSION)?;
        let arithmetic_version = u32::try_from(arithmetic_version).map_err(|_| {
            format!("its `{ARITHMETIC_VERSION}` is {arithmetic_version}, and must be at most {}", u32::MAX)
        })?;
        let is_counted = content.numbers.contains_key(&of_class(0));
        let counts = || (0..num_classes).map(|class| content.count(&of_class(class))).collect::<Result<Vec<_>, _>>();
        let label_counts = is_counted.then(counts).transpose()?;
        if let Some(total) = label_counts.iter().map(|counts| counts.iter().sum::<u64>()).find(|n| *n != num_examples) {
            return Err(format!("it says it has {num_examples} images, and counts {total} in its classes"));
        }
        Ok(Self {
            name,
            num_examples,
            num_persons,
            image_shape,
            num_classes,
            version: version(content.word(VERSION)?)?,
            arithmetic_version: ArithmeticVersion(arithmetic_version),
            label_counts,
            max_examples: None,
            ledger: content.ledger()?.map(Into::into),
        })
    }
}

/// The version, if it is digits and dots: it is a site's text, and is shown where it differs from the server's.
fn version(word: &str) -> Result<String, String> {
    const MAX_LEN: usize = 16;
    let is_version = word.len() <= MAX_LEN && word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if is_version { Ok(word.into()) } else { Err("its `version` is not a version of effgan".into()) }
}

fn of_class(class: usize) -> String {
    format!("label-count-{class}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn introduction(label_counts: Option<Vec<u64>>) -> Introduction {
        Introduction {
            name: ClientName::new("north").unwrap(),
            num_examples: 12,
            num_persons: None,
            image_shape: [1, 28, 32],
            num_classes: 2,
            version: "0.1.0".into(),
            arithmetic_version: ArithmeticVersion::OURS,
            label_counts,
            max_examples: None,
            ledger: None,
        }
    }

    #[test]
    fn an_introduction_is_read_as_it_was_written_with_and_without_label_counts() {
        for label_counts in [None, Some(vec![5, 7])] {
            let site = Introduction { ledger: Some("7".repeat(64)), ..introduction(label_counts) };
            assert_eq!(Introduction::of(&site.clone().into_content()), Ok(site));
        }
    }

    #[test]
    fn persons_are_read_as_written_and_are_no_more_than_images() {
        let of = |num_persons| Introduction { num_persons: Some(num_persons), ..introduction(None) };
        assert_eq!(Introduction::of(&of(12).into_content()), Ok(of(12)));
        let error = Introduction::of(&of(13).into_content()).unwrap_err();
        assert_eq!(error, "its 12 images are of 13 persons, and must be of 1 to 12");
    }

    #[test]
    fn a_malformed_version_is_refused_and_not_repeated() {
        let version = "9.9.9\u{1b}[2J".to_owned();
        let error = Introduction::of(&Introduction { version, ..introduction(None) }.into_content()).unwrap_err();
        assert_eq!(error, "its `version` is not a version of effgan");
    }

    #[test]
    fn a_site_of_an_effgan_that_does_not_name_its_arithmetic_is_refused() {
        let mut content = introduction(None).into_content();
        content.numbers.remove(ARITHMETIC_VERSION);
        let error = Introduction::of(&content).unwrap_err();
        assert_eq!(error, "the message lacks the number `arithmetic-version`; do both sides have the same effgan?");
        content.numbers.insert(ARITHMETIC_VERSION.into(), 2f64.powi(40));
        let error = Introduction::of(&content).unwrap_err();
        assert_eq!(error, "its `arithmetic-version` is 1099511627776, and must be at most 4294967295");
    }

    #[test]
    fn classes_whose_counts_do_not_add_up_are_refused() {
        let content = introduction(Some(vec![0, 0])).into_content();
        let error = Introduction::of(&content).unwrap_err();
        assert_eq!(error, "it says it has 12 images, and counts 0 in its classes");
    }

    #[test]
    fn impossible_image_sizes_and_numbers_of_images_are_refused() {
        let error = |name: &str, n: f64| {
            let mut content = introduction(None).into_content();
            content.numbers.insert(name.into(), n);
            Introduction::of(&content).unwrap_err()
        };
        assert_eq!(error("width", 1e9), "its images have 1000000000 for `width`, and must have from 1 to 1024");
        // A site that claims so many images would take all the weight of the mean.
        let claimed = 9_007_199_254_740_991.0;
        assert_eq!(
            error("num-examples", claimed),
            "it has 9007199254740991 images, and must have from 1 to 4294967296"
        );
    }
}
