//! Who trained on which images: what copies are looked for in.

use effgan_data::{ClientShare, Dataset, Partition};
use effgan_fl::Ensemble;
use effgan_fl::ensemble::Selection;

use super::Images;

/// Images that a generator was trained on, and images of the same kind that were kept from it.
pub struct Share<'a> {
    /// The member, or `all`.
    pub name: String,
    pub train: Images<'a>,
    pub held_out: Images<'a>,
    /// Its samples; absent for the images that are scored.
    pub samples: Option<Images<'a>>,
}

impl<'a> Share<'a> {
    /// All images that a config deals of a data set, held against its test split.
    pub fn of_dataset(dataset: &'a Dataset) -> Self {
        let (train, test, shape) = (&dataset.train, &dataset.test, dataset.train.shape());
        let dealt = dataset.num_dealt() * shape.iter().product::<usize>();
        let (train, held_out) = (Images::Pixels(&train.pixels()[..dealt], shape), Images::Pixels(test.pixels(), shape));
        Self { name: "all".into(), train, held_out, samples: None }
    }
}

/// What a run dealt: everybody's images for the images that are scored, and each member's own.
pub fn of_run<'a>(dataset: &'a Dataset, partition: &Partition, model: &'a Ensemble, seed: u64) -> Vec<Share<'a>> {
    let (pixels, shape) = (dataset.train.pixels(), dataset.train.shape());
    let some = |places: Vec<u32>| Images::Some(pixels, shape, places);
    let gather = |of: fn(&ClientShare) -> &Vec<u32>| some(partition.clients.iter().flat_map(of).copied().collect());
    let (train, held_out) = (gather(|share| &share.train), gather(|share| &share.held_out));
    let mut shares = vec![Share { name: "all".into(), train, held_out, samples: None }];
    let members = model.manifest().members.iter();
    for member in members {
        let Some(share) = partition.clients.iter().find(|share| share.name == member.name) else { continue };
        shares.push(Share {
            name: member.name.to_string(),
            train: some(share.train.clone()),
            held_out: some(share.held_out.clone()),
            samples: Some(Images::Model(model, Selection::Members(vec![member.name.clone()]), seed)),
        });
    }
    shares
}
