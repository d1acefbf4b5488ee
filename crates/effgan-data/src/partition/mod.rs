//! Which client has which images: the `[partition]` table of a config, and the partition that it describes.
//!
//! A new kind needs a file with its config struct and its `assign`, a variant of [`PartitionConfig`] and a test.

mod by_label;
mod client_name;
mod common_keys;
mod dirichlet;
mod distribution;
mod held_out;
mod iid;
mod known_keys;
mod label_quantity;
mod partition_file;
mod quantity;
mod shards;

pub use by_label::ByLabel;
pub use client_name::ClientName;
pub use common_keys::CommonKeys;
pub use dirichlet::Dirichlet;
pub use distribution::Distribution;
pub use iid::Iid;
pub use label_quantity::LabelQuantity;
pub use partition_file::PartitionFile;
pub use quantity::Quantity;
pub use shards::Shards;

use crate::{DataError, ImageSet, by_person, most_frequent_class};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// The `[partition]` table of a config: `kind` and the keys of that kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum PartitionConfig {
    /// Every client's images are a random sample of all.
    #[serde(deserialize_with = "known_keys::listed")]
    Iid(Iid),
    /// Each class is split over the clients by Dirichlet proportions.
    #[serde(deserialize_with = "known_keys::listed")]
    Dirichlet(Dirichlet),
    /// Each client has only a few classes.
    #[serde(deserialize_with = "known_keys::listed")]
    ByLabel(ByLabel),
    /// Each client has a few shards of the images sorted by label.
    #[serde(deserialize_with = "known_keys::listed")]
    Shards(Shards),
    /// Clients differ only in size.
    #[serde(deserialize_with = "known_keys::listed")]
    Quantity(Quantity),
    /// Clients differ in size and in their mix of classes.
    #[serde(deserialize_with = "known_keys::listed")]
    LabelQuantity(LabelQuantity),
    /// A file lists the images of each client.
    File(PartitionFile),
}

impl PartitionConfig {
    /// The keys that all kinds share; `None` for a partition from a file.
    pub fn common_keys(&self) -> Option<&CommonKeys> {
        match self {
            Self::Iid(Iid { common })
            | Self::Dirichlet(Dirichlet { common, .. })
            | Self::ByLabel(ByLabel { common, .. })
            | Self::Shards(Shards { common, .. })
            | Self::Quantity(Quantity { common, .. })
            | Self::LabelQuantity(LabelQuantity { common, .. }) => Some(common),
            Self::File(_) => None,
        }
    }

    /// Checks everything that can be checked without images; [`assign`](Self::assign) does so too.
    ///
    /// # Errors
    /// An error that names the key whose value is out of range.
    pub fn check(&self) -> Result<(), DataError> {
        self.common_keys().map_or(Ok(()), CommonKeys::check)?;
        match self {
            Self::Dirichlet(kind) => kind.check(),
            Self::Quantity(kind) => kind.check(),
            Self::LabelQuantity(kind) => kind.check(),
            Self::ByLabel(kind) => kind.check(),
            Self::Shards(kind) => kind.check(),
            Self::Iid(_) | Self::File(_) => Ok(()),
        }
    }

    /// Assigns the first `num_assigned` of `images` to clients: each image to exactly one client, as a training image or a held-out one.
    ///
    /// Where the data set names persons, these are dealt and held out instead, each with all images; a person is of the class that most of
    /// these have.
    ///
    /// Equal states of `rng` give equal partitions. A partition from a file has the file's clients, and assigns each image to at
    /// most one client.
    ///
    /// # Errors
    /// An error that names the key whose value is out of range; [`DataError::NotEnoughImages`] when there are fewer images than
    /// `num_assigned`; [`DataError::DividedPerson`]; [`DataError::MoreClientsThanImages`]; [`DataError::TooFewExamples`] or, for random sizes,
    /// [`DataError::TooFewAfterDraws`] when a client has fewer than `min_examples` training images; for `file`, an error about
    /// the file.
    pub fn assign<R: Rng + ?Sized>(
        &self,
        images: &ImageSet,
        num_assigned: usize,
        rng: &mut R,
    ) -> Result<Partition, DataError> {
        self.check()?;
        let Some(labels) = images.labels().get(..num_assigned) else {
            return Err(DataError::NotEnoughImages { num_assigned, num_images: images.len() });
        };
        match (images.persons(), self) {
            (None, _) => self.deal(labels, rng),
            (Some(persons), Self::File(kind)) => kind.read_undivided(num_assigned, persons),
            (Some(persons), _) => {
                let all: Vec<u32> = (0..num_assigned as u32).collect();
                let groups = by_person(&all, persons);
                let classes: Vec<u8> = groups.iter().map(|images| most_frequent_class(images, labels)).collect();
                let of_persons = self.deal(&classes, rng).map_err(DataError::about_persons)?;
                Ok(of_persons.of_groups(&groups))
            }
        }
    }

    /// Deals images, or persons, with these labels to clients.
    fn deal<R: Rng + ?Sized>(&self, labels: &[u8], rng: &mut R) -> Result<Partition, DataError> {
        let num_assigned = labels.len();
        if let Some(&CommonKeys { clients, .. }) = self.common_keys().filter(|common| common.clients > num_assigned) {
            return Err(DataError::MoreClientsThanImages { clients, num_assigned, what: "images" });
        }
        match self {
            Self::Iid(kind) => with_held_out(&kind.common, &kind.assign(labels, rng), labels, rng),
            Self::Dirichlet(kind) => with_held_out(&kind.common, &kind.assign(labels, rng)?, labels, rng),
            Self::ByLabel(kind) => with_held_out(&kind.common, &kind.assign(labels, rng)?, labels, rng),
            Self::Shards(kind) => with_held_out(&kind.common, &kind.assign(labels, rng)?, labels, rng),
            Self::Quantity(kind) => with_held_out(&kind.common, &kind.assign(labels, rng)?, labels, rng),
            Self::LabelQuantity(kind) => with_held_out(&kind.common, &kind.assign(labels, rng)?, labels, rng),
            Self::File(kind) => kind.read(num_assigned),
        }
    }
}

/// Splits the images that are assigned to each client into training images and held-out ones.
fn with_held_out<R: Rng + ?Sized>(
    common: &CommonKeys,
    assigned: &[Vec<u32>],
    labels: &[u8],
    rng: &mut R,
) -> Result<Partition, DataError> {
    let CommonKeys { clients, min_examples, .. } = *common;
    let mut share = |(i, images): (usize, &Vec<u32>)| {
        let name = ClientName::simulated(i, clients);
        let (train, held_out) = held_out::hold_out(images, labels, common.num_held_out(images.len()), rng);
        if train.len() < min_examples {
            return Err(DataError::TooFewExamples {
                name: name.to_string(),
                num_train: train.len(),
                what: "images",
                min_examples,
                clients,
            });
        }
        Ok(ClientShare { name, train, held_out })
    };
    Ok(Partition { clients: assigned.iter().enumerate().map(&mut share).collect::<Result<_, _>>()? })
}

/// One client's images, as indices into the training split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientShare {
    /// The client.
    pub name: ClientName,
    /// Indices of the training images, ascending; their number is n_k.
    pub train: Vec<u32>,
    /// Indices of the held-out images, ascending, with the client's mix of classes.
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
    /// Number of training images `[client][class]`, where `images` is the split that the partition was made for.
    ///
    /// # Panics
    /// When the partition was made for a larger split.
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

    /// The images of `groups`, where this is a partition of these.
    fn of_groups(self, groups: &[Vec<u32>]) -> Self {
        let images = |list: Vec<u32>| {
            let mut images: Vec<u32> = list.iter().flat_map(|&group| &groups[group as usize]).copied().collect();
            images.sort_unstable();
            images
        };
        let share =
            |share: ClientShare| ClientShare { train: images(share.train), held_out: images(share.held_out), ..share };
        Self { clients: self.clients.into_iter().map(share).collect() }
    }

    /// The same images at a single client named `pooled`, for training without federation.
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

/// `images` grouped by label: one list for each of the 256 labels, in the given order.
fn images_by_class(images: impl Iterator<Item = u32>, labels: &[u8]) -> Vec<Vec<u32>> {
    let mut classes = vec![Vec::new(); 256];
    for image in images {
        classes[usize::from(labels[image as usize])].push(image);
    }
    classes
}

/// `images` cut into `parts` consecutive parts whose lengths differ by at most one.
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

    fn assign(json: &str, num_assigned: usize) -> Result<Partition, DataError> {
        config(json).unwrap().assign(&images(), num_assigned, &mut ChaCha8Rng::seed_from_u64(0))
    }

    #[test]
    fn every_kind_is_parsed_back() {
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
    fn an_unknown_key_is_named_with_all_keys_of_its_kind() {
        for (kind, own) in [
            (r#""kind":"iid""#, ""),
            (r#""kind":"dirichlet","alpha":0.5"#, "`alpha`, "),
            (r#""kind":"by-label","classes_per_client":3"#, "`classes_per_client`, "),
            (r#""kind":"shards","shards_per_client":2"#, "`shards_per_client`, "),
            (r#""kind":"quantity","sigma":1.5"#, "`sigma`, `alpha`, "),
            (r#""kind":"label-quantity","alpha":0.5,"sigma":1.5"#, "`alpha`, `sigma`, "),
        ] {
            let error = config(&format!(r#"{{{kind},"clients":4,"zzz":1}}"#)).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("unknown field `zzz`, expected one of {own}`clients`, `min_examples`, `held_out`")
            );
        }
    }

    #[test]
    fn common_keys_have_defaults() {
        assert_eq!(config(r#"{"kind":"iid","clients":4}"#).unwrap().common_keys(), Some(&CommonKeys::of(4)));
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
            assign(r#"{"kind":"iid","clients":51}"#, 50).unwrap_err().to_string(),
            "partition.clients = 51 is more than the 50 images to assign; lower clients or raise dataset.limit"
        );
    }

    #[test]
    fn more_images_than_the_split_holds_is_an_error() {
        assert_eq!(
            assign(r#"{"kind":"iid","clients":2}"#, 101).unwrap_err().to_string(),
            "cannot assign the first 101 images of a set of 100; lower dataset.limit"
        );
    }

    #[test]
    fn a_client_below_min_examples_is_named() {
        // 25 images each, of which 3 (2.5, rounded) are held out.
        assert_eq!(
            assign(r#"{"kind":"iid","clients":4,"min_examples":23}"#, 100).unwrap_err().to_string(),
            "client-0000 gets 22 images to train on, fewer than min_examples = 23, with 4 clients; \
             lower clients or min_examples"
        );
        assert!(assign(r#"{"kind":"iid","clients":4,"min_examples":22}"#, 100).is_ok());
    }

    #[test]
    fn class_counts_are_those_of_the_training_images() {
        let partition =
            assign(r#"{"kind":"by-label","clients":5,"classes_per_client":2,"held_out":0.2}"#, 100).unwrap();
        for counts in partition.class_counts(&images()) {
            assert_eq!(counts.iter().filter(|&&count| count == 8).count(), 2);
            assert_eq!(counts.iter().sum::<u64>(), 16);
        }
    }

    #[test]
    fn a_pooled_partition_has_the_same_images() {
        let pooled = assign(r#"{"kind":"iid","clients":4}"#, 100).unwrap().pooled();
        let [ClientShare { name, train, held_out }] = pooled.clients.as_slice() else { panic!("one client") };
        assert_eq!((name.as_str(), train.len(), held_out.len()), ("pooled", 88, 12));
        assert!(train.is_sorted() && held_out.is_sorted());
    }

    /// 100 images of 25 persons, of whom each has four in a row.
    fn images_of_persons() -> ImageSet {
        images().of_persons((0..100).map(|i| (i / 4).to_string().into()).collect())
    }

    #[test]
    fn a_person_is_dealt_and_held_out_with_all_images() {
        for kind in [
            r#"{"kind":"iid","clients":3,"held_out":0.25,"min_examples":4}"#,
            r#"{"kind":"dirichlet","alpha":1.0,"clients":3,"held_out":0.25,"min_examples":1}"#,
            r#"{"kind":"by-label","classes_per_client":3,"clients":5,"held_out":0.25,"min_examples":1}"#,
            r#"{"kind":"quantity","alpha":1.0,"clients":3,"held_out":0.25,"min_examples":1}"#,
        ] {
            let mut rng = ChaCha8Rng::seed_from_u64(0);
            let partition = config(kind).unwrap().assign(&images_of_persons(), 100, &mut rng).unwrap();
            let lists: Vec<&Vec<u32>> =
                partition.clients.iter().flat_map(|share| [&share.train, &share.held_out]).collect();
            assert_eq!(lists.iter().map(|list| list.len()).sum::<usize>(), 100, "{kind}");
            assert!(partition.clients.iter().any(|share| !share.held_out.is_empty()), "{kind}");
            for list in lists {
                assert!(
                    list.is_sorted() && list.iter().all(|image| list.contains(&(image / 4 * 4))),
                    "{kind}: {list:?}"
                );
                assert_eq!(list.len() % 4, 0, "{kind}");
            }
        }
    }

    #[test]
    fn few_persons_are_called_so() {
        let error = |json: &str| {
            config(json)
                .unwrap()
                .assign(&images_of_persons(), 100, &mut ChaCha8Rng::seed_from_u64(0))
                .unwrap_err()
                .to_string()
        };
        assert!(error(r#"{"kind":"iid","clients":26}"#).contains("is more than the 25 persons to assign"));
        assert!(error(r#"{"kind":"iid","clients":5,"min_examples":6}"#).contains("gets 4 persons to train on"));
    }

    #[test]
    fn a_partition_is_parsed_back() {
        let partition = assign(r#"{"kind":"iid","clients":4}"#, 100).unwrap();
        let json = serde_json::to_string(&partition).unwrap();
        assert_eq!(serde_json::from_str::<Partition>(&json).unwrap(), partition);
    }
}
