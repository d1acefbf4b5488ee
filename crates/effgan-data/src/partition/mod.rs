//! Who holds which images: what `[partition]` of a config says, and the deal it leads to.
//!
//! A new kind is a file with its config struct and its `deal`, a variant of [`PartitionConfig`] and a test.

mod by_label;
mod client_name;
mod dirichlet;
mod file;
mod held_out;
mod iid;
mod label_quantity;
mod law;
mod quantity;
mod shards;
mod shares;

pub use by_label::ByLabel;
pub use client_name::ClientName;
pub use dirichlet::Dirichlet;
pub use file::PartitionFile;
pub use iid::Iid;
pub use label_quantity::LabelQuantity;
pub use law::Law;
pub use quantity::Quantity;
pub use shards::Shards;
pub use shares::Shares;

use crate::{DataError, ImageSet};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// The `[partition]` table of a config: `kind` and the keys of that kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum PartitionConfig {
    /// Every client's images are a random sample of all.
    Iid(Iid),
    /// Each class is split over the clients by Dirichlet proportions.
    Dirichlet(Dirichlet),
    /// Each client holds a few classes only.
    ByLabel(ByLabel),
    /// Each client holds a few runs of the images sorted by label.
    Shards(Shards),
    /// Clients differ in size alone.
    Quantity(Quantity),
    /// Clients differ in size and in their mix of classes.
    LabelQuantity(LabelQuantity),
    /// A file says who holds what.
    File(PartitionFile),
}

impl PartitionConfig {
    /// The keys that each kind has that is dealt; none for a partition from a file.
    pub fn shares(&self) -> Option<&Shares> {
        match self {
            Self::Iid(Iid { shares })
            | Self::Dirichlet(Dirichlet { shares, .. })
            | Self::ByLabel(ByLabel { shares, .. })
            | Self::Shards(Shards { shares, .. })
            | Self::Quantity(Quantity { shares, .. })
            | Self::LabelQuantity(LabelQuantity { shares, .. }) => Some(shares),
            Self::File(_) => None,
        }
    }

    /// Checks what can be checked without images; [`deal`](Self::deal) does so too.
    ///
    /// # Errors
    /// One that names the key whose value is out of range.
    pub fn check(&self) -> Result<(), DataError> {
        self.shares().map_or(Ok(()), Shares::check)?;
        match self {
            Self::Dirichlet(kind) => kind.check(),
            Self::Quantity(kind) => kind.check(),
            Self::LabelQuantity(kind) => kind.check(),
            Self::Iid(_) | Self::ByLabel(_) | Self::Shards(_) | Self::File(_) => Ok(()),
        }
    }

    /// Deals the first `num_dealt` of `images` to simulated clients: each image to one client, to train on or held out.
    ///
    /// The same generator state gives the same partition. A partition from a file has the file's clients, and each image
    /// goes to one client at most.
    ///
    /// # Errors
    /// One that names the key whose value is out of range, [`DataError::DealtTooMany`] when there are fewer images than
    /// `num_dealt`, [`DataError::MoreClientsThanImages`], [`DataError::TooFewExamples`] or, where sizes are drawn,
    /// [`DataError::TooFewAfterDraws`] when a client has fewer than `min_examples` images to train on; for `file`, what is
    /// wrong with the file.
    pub fn deal<R: Rng + ?Sized>(
        &self,
        images: &ImageSet,
        num_dealt: usize,
        rng: &mut R,
    ) -> Result<Partition, DataError> {
        self.check()?;
        let Some(labels) = images.labels().get(..num_dealt) else {
            return Err(DataError::DealtTooMany { num_dealt, num_images: images.len() });
        };
        if let Some(&Shares { clients, .. }) = self.shares().filter(|shares| shares.clients > num_dealt) {
            return Err(DataError::MoreClientsThanImages { clients, num_dealt });
        }
        match self {
            Self::Iid(kind) => share_out(&kind.shares, &kind.deal(labels, rng), labels, rng),
            Self::Dirichlet(kind) => share_out(&kind.shares, &kind.deal(labels, rng)?, labels, rng),
            Self::ByLabel(kind) => share_out(&kind.shares, &kind.deal(labels, rng)?, labels, rng),
            Self::Shards(kind) => share_out(&kind.shares, &kind.deal(labels, rng)?, labels, rng),
            Self::Quantity(kind) => share_out(&kind.shares, &kind.deal(labels, rng)?, labels, rng),
            Self::LabelQuantity(kind) => share_out(&kind.shares, &kind.deal(labels, rng)?, labels, rng),
            Self::File(kind) => kind.read(num_dealt),
        }
    }
}

/// What each client does with the images that were `dealt` to it: some are held out, enough of them left to train on.
fn share_out<R: Rng + ?Sized>(
    shares: &Shares,
    dealt: &[Vec<u32>],
    labels: &[u8],
    rng: &mut R,
) -> Result<Partition, DataError> {
    let Shares { clients, min_examples, .. } = *shares;
    let mut share = |(i, images): (usize, &Vec<u32>)| {
        let name = ClientName::simulated(i, clients);
        let (train, held_out) = held_out::hold_out(images, labels, shares.num_held_out(images.len()), rng);
        if train.len() < min_examples {
            return Err(DataError::TooFewExamples { name, num_train: train.len(), min_examples, clients });
        }
        Ok(ClientShare { name, train, held_out })
    };
    Ok(Partition { clients: dealt.iter().enumerate().map(&mut share).collect::<Result<_, _>>()? })
}

/// One client's images, as indices into the training split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientShare {
    /// Whose images these are.
    pub name: ClientName,
    /// Images to train on, ascending; their number is n_k.
    pub train: Vec<u32>,
    /// Images kept from training, ascending, with the client's mix of classes.
    pub held_out: Vec<u32>,
}

/// All clients and their images; no image is on two lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// The clients, sorted by name.
    pub clients: Vec<ClientShare>,
}

impl Partition {
    /// Training images of each class, `[clients, classes]`, where `images` is the split that was dealt.
    ///
    /// # Panics
    /// When the partition belongs to a larger split.
    pub fn class_counts(&self, images: &ImageSet) -> Vec<Vec<u64>> {
        let counts_of = |client: &ClientShare| {
            let mut counts = vec![0; images.num_classes()];
            for &image in &client.train {
                counts[usize::from(images.labels()[image as usize])] += 1;
            }
            counts
        };
        self.clients.iter().map(counts_of).collect()
    }

    /// The same images on one client, called `pooled`: what training without federation sees.
    #[must_use]
    pub fn pooled(&self) -> Self {
        let sorted = |list: fn(&ClientShare) -> &[u32]| {
            let mut images: Vec<u32> = self.clients.iter().flat_map(list).copied().collect();
            images.sort_unstable();
            images
        };
        let (train, held_out) = (sorted(|client| &client.train), sorted(|client| &client.held_out));
        Self { clients: vec![ClientShare { name: ClientName::pooled(), train, held_out }] }
    }
}

/// `images` by their label, one list for each of the 256 labels, each in the order given.
fn images_by_class(images: impl Iterator<Item = u32>, labels: &[u8]) -> Vec<Vec<u32>> {
    let mut classes = vec![Vec::new(); 256];
    for image in images {
        classes[usize::from(labels[image as usize])].push(image);
    }
    classes
}

/// `images` cut into `parts` runs whose lengths differ by at most one.
fn even_parts(images: &[u32], parts: usize) -> impl Iterator<Item = &[u32]> {
    let cut = move |part: usize| images.len() * part / parts;
    (0..parts).map(move |part| &images[cut(part)..cut(part + 1)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn config(json: &str) -> Result<PartitionConfig, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// 100 images of 10 classes in turn.
    fn images() -> ImageSet {
        ImageSet::new([1, 1, 1], vec![0; 100], (0..100).map(|i| i % 10).collect(), 10).unwrap()
    }

    fn deal(json: &str, num_dealt: usize) -> Result<Partition, DataError> {
        config(json).unwrap().deal(&images(), num_dealt, &mut ChaCha8Rng::seed_from_u64(0))
    }

    #[test]
    fn every_kind_reads_back() {
        for json in [
            r#"{"kind":"iid","clients":4,"min_examples":2,"held_out":0.0}"#,
            r#"{"kind":"dirichlet","alpha":0.5,"clients":4,"min_examples":16,"held_out":0.1}"#,
            r#"{"kind":"by-label","classes_per_client":3,"clients":4,"min_examples":16,"held_out":0.1}"#,
            r#"{"kind":"shards","shards_per_client":2,"clients":4,"min_examples":16,"held_out":0.1}"#,
            r#"{"kind":"quantity","sigma":1.5,"clients":4,"min_examples":16,"held_out":0.1}"#,
            r#"{"kind":"quantity","alpha":0.5,"clients":4,"min_examples":16,"held_out":0.1}"#,
            r#"{"kind":"label-quantity","alpha":0.5,"sigma":1.5,"clients":4,"min_examples":16,"held_out":0.1}"#,
            r#"{"kind":"file","path":"partition.json"}"#,
        ] {
            assert_eq!(serde_json::to_string(&config(json).unwrap()).unwrap(), json);
        }
    }

    #[test]
    fn common_keys_have_defaults() {
        assert_eq!(config(r#"{"kind":"iid","clients":4}"#).unwrap().shares(), Some(&Shares::of(4)));
        let whole_number = config(r#"{"kind":"dirichlet","clients":4,"alpha":1,"held_out":0}"#).unwrap();
        assert!(matches!(whole_number, PartitionConfig::Dirichlet(Dirichlet { alpha: 1.0, .. })));
    }

    #[test]
    fn unknown_and_missing_keys_are_named() {
        for (json, expected) in [
            (r#"{"kind":"iid","clients":4,"alpha":1.0}"#, "unknown field `alpha`"),
            (r#"{"kind":"dirichlet","clients":4,"alpha":1.0,"min_exmples":1}"#, "unknown field `min_exmples`"),
            (r#"{"kind":"by-label","clients":4,"classes_per_client":1,"a":1}"#, "unknown field `a`"),
            (r#"{"kind":"shards","clients":4,"shards_per_client":1,"a":1}"#, "unknown field `a`"),
            (r#"{"kind":"quantity","clients":4,"sigma":1.0,"a":1}"#, "unknown field `a`"),
            (r#"{"kind":"label-quantity","clients":4,"alpha":1.0,"sigma":1.0,"a":1}"#, "unknown field `a`"),
            (r#"{"kind":"file","path":"p.json","clients":4}"#, "unknown field `clients`"),
            (r#"{"kind":"dirichlet","clients":4}"#, "missing field `alpha`"),
            (r#"{"kind":"iid"}"#, "missing field `clients`"),
            (r#"{"clients":4}"#, "missing field `kind`"),
            (
                r#"{"kind":"even","clients":4}"#,
                "unknown variant `even`, expected one of `iid`, `dirichlet`, `by-label`, `shards`, `quantity`, `label-quantity`, `file`",
            ),
        ] {
            let error = config(json).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }

    #[test]
    fn more_clients_than_images_names_both() {
        assert_eq!(
            deal(r#"{"kind":"iid","clients":51}"#, 50).unwrap_err().to_string(),
            "partition.clients = 51 is more than the 50 images dealt; lower clients or raise dataset.limit"
        );
    }

    #[test]
    fn more_images_than_the_split_holds_is_an_error() {
        assert_eq!(
            deal(r#"{"kind":"iid","clients":2}"#, 101).unwrap_err().to_string(),
            "cannot deal the first 101 images of a set of 100; lower dataset.limit"
        );
    }

    #[test]
    fn client_below_min_examples_is_named() {
        // 25 images each, of which 3 (2.5, rounded) are held out.
        assert_eq!(
            deal(r#"{"kind":"iid","clients":4,"min_examples":23}"#, 100).unwrap_err().to_string(),
            "client-0000 gets 22 images to train on, fewer than min_examples = 23, with 4 clients; \
             lower clients or min_examples"
        );
        assert!(deal(r#"{"kind":"iid","clients":4,"min_examples":22}"#, 100).is_ok());
    }

    #[test]
    fn class_counts_are_those_of_the_training_images() {
        let partition = deal(r#"{"kind":"by-label","clients":5,"classes_per_client":2,"held_out":0.2}"#, 100).unwrap();
        for counts in partition.class_counts(&images()) {
            assert_eq!(counts.iter().filter(|&&count| count == 8).count(), 2);
            assert_eq!(counts.iter().sum::<u64>(), 16);
        }
    }

    #[test]
    fn pooled_holds_the_same_images() {
        let pooled = deal(r#"{"kind":"iid","clients":4}"#, 100).unwrap().pooled();
        let [ClientShare { name, train, held_out }] = pooled.clients.as_slice() else { panic!("one client") };
        assert_eq!((name.as_str(), train.len(), held_out.len()), ("pooled", 88, 12));
        assert!(train.is_sorted() && held_out.is_sorted());
    }

    #[test]
    fn partition_reads_back() {
        let partition = deal(r#"{"kind":"iid","clients":4}"#, 100).unwrap();
        let json = serde_json::to_string(&partition).unwrap();
        assert_eq!(serde_json::from_str::<Partition>(&json).unwrap(), partition);
    }
}
