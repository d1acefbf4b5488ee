//! What a site says of itself when it is met: who it is, how many images it has, and of what shape.

use std::collections::BTreeMap;

use effgan_data::ClientName;
use effgan_nn::Params;
use serde::{Deserialize, Serialize};

use super::Content;
use super::content::{LEDGER, NUM_EXAMPLES};
use crate::config::MOST_EXAMPLES;

/// A site that has introduced itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Introduction {
    pub name: ClientName,
    /// n_k: the images that it trains on.
    pub num_examples: u64,
    /// `[c, h, w]` of its images.
    pub image_shape: [usize; 3],
    pub num_classes: usize,
    /// Version of its effgan.
    pub version: String,
    /// Images that it trains on, by class; only where the config asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_counts: Option<Vec<u64>>,
    /// Most images that it counts for, as the server's list of sites said when the run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_examples: Option<u64>,
    /// The head of its ledger after this answer's line; later ones are in the run's `ledgers.jsonl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<String>,
}

const SHAPE: [&str; 3] = ["channels", "height", "width"];
const CLASSES: &str = "classes";
const NAME: &str = "client-name";
pub(super) const VERSION: &str = "version";

/// Most pixels a side, and most classes: labels are bytes.
const MOST_SIDE: u64 = 1024;
const MOST_CLASSES: u64 = 256;

impl Introduction {
    /// As a message says it.
    pub fn into_content(self) -> Content {
        let mut numbers: BTreeMap<String, f64> =
            SHAPE.iter().zip(self.image_shape).map(|(name, n)| ((*name).to_owned(), n as f64)).collect();
        numbers.insert(CLASSES.into(), self.num_classes as f64);
        numbers.insert(NUM_EXAMPLES.into(), self.num_examples as f64);
        for (class, n) in self.label_counts.iter().flatten().enumerate() {
            numbers.insert(of_class(class), *n as f64);
        }
        let words = [(NAME, Some(self.name.to_string())), (VERSION, Some(self.version)), (LEDGER, self.ledger)];
        let words = words.into_iter().filter_map(|(name, word)| Some((name.to_owned(), word?))).collect();
        Content { params: Params::new(), numbers, words }
    }

    /// Of what a site said.
    ///
    /// # Errors
    /// A line that says what is wrong with it.
    pub fn of(content: &Content) -> Result<Self, String> {
        let word = content.word(NAME)?;
        let name = ClientName::new(word).map_err(|error| error.to_string())?;
        let side = |name: &str| match content.count(name)? {
            n @ 1..=MOST_SIDE => Ok(n as usize),
            n => Err(format!("its images have {n} for `{name}`, which is outside 1..={MOST_SIDE}")),
        };
        let image_shape = [side(SHAPE[0])?, side(SHAPE[1])?, side(SHAPE[2])?];
        let num_classes = match content.count(CLASSES)? {
            n @ 1..=MOST_CLASSES => n as usize,
            n => return Err(format!("its images have {n} classes, which is outside 1..={MOST_CLASSES}")),
        };
        let num_examples = match content.count(NUM_EXAMPLES)? {
            n @ 1..=MOST_EXAMPLES => n,
            n => return Err(format!("it has {n} images, which is outside 1..={MOST_EXAMPLES}")),
        };
        let is_counted = content.numbers.contains_key(&of_class(0));
        let counts = || (0..num_classes).map(|class| content.count(&of_class(class))).collect::<Result<Vec<_>, _>>();
        let label_counts = is_counted.then(counts).transpose()?;
        if let Some(total) = label_counts.iter().map(|counts| counts.iter().sum::<u64>()).find(|n| *n != num_examples) {
            return Err(format!("it says it has {num_examples} images, and counts {total} in its classes"));
        }
        Ok(Self {
            name,
            num_examples,
            image_shape,
            num_classes,
            version: version(content.word(VERSION)?)?,
            label_counts,
            max_examples: None,
            ledger: content.ledger()?.map(Into::into),
        })
    }
}

/// Numbers and dots: it is shown where it is not the server's, and is a site's text.
fn version(word: &str) -> Result<String, String> {
    const MOST: usize = 16;
    let is_version = word.len() <= MOST && word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if is_version { Ok(word.into()) } else { Err("its `version` is no version of effgan".into()) }
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
            image_shape: [1, 28, 32],
            num_classes: 2,
            version: "0.1.0".into(),
            label_counts,
            max_examples: None,
            ledger: None,
        }
    }

    #[test]
    fn an_introduction_comes_out_as_it_went_in_with_label_counts_only_where_there_are_some() {
        for label_counts in [None, Some(vec![5, 7])] {
            let said = Introduction { ledger: Some("7".repeat(64)), ..introduction(label_counts) };
            assert_eq!(Introduction::of(&said.clone().into_content()), Ok(said));
        }
    }

    #[test]
    fn a_version_that_is_none_is_not_repeated() {
        let version = "9.9.9\u{1b}[2J".to_owned();
        let error = Introduction::of(&Introduction { version, ..introduction(None) }.into_content()).unwrap_err();
        assert_eq!(error, "its `version` is no version of effgan");
    }

    #[test]
    fn classes_whose_counts_do_not_add_up_are_refused() {
        let content = introduction(Some(vec![0, 0])).into_content();
        let error = Introduction::of(&content).unwrap_err();
        assert_eq!(error, "it says it has 12 images, and counts 0 in its classes");
    }

    #[test]
    fn sizes_that_no_image_has_and_more_images_than_there_are_are_refused() {
        let error = |name: &str, n: f64| {
            let mut content = introduction(None).into_content();
            content.numbers.insert(name.into(), n);
            Introduction::of(&content).unwrap_err()
        };
        assert_eq!(error("width", 1e9), "its images have 1000000000 for `width`, which is outside 1..=1024");
        let most = 9_007_199_254_740_991.0; // the attack
        assert_eq!(error("num-examples", most), "it has 9007199254740991 images, which is outside 1..=4294967296");
    }
}
