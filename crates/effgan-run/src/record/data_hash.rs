//! What identifies the images of a run and how they are split.

use effgan_data::{Dataset, ImageSet, Partition};
use effgan_nn::params;

/// SHA-256, in hex, over all images of both splits with their labels and persons, and over which client has which.
pub(crate) fn data_hash(dataset: &Dataset, partition: &Partition) -> String {
    let of_set = |images: &ImageSet| {
        let shape = format!(" {:?}", images.shape());
        let persons = images.persons().map(|persons| format!(" {}", params::sha256(persons.join("/").as_bytes())));
        [images.pixels(), images.labels()].map(params::sha256).join(" ") + &shape + &persons.unwrap_or_default()
    };
    let partition = serde_json::to_string(partition).expect("a partition is plain data");
    params::sha256([of_set(&dataset.train), of_set(&dataset.test), partition].join("\n").as_bytes())
}
