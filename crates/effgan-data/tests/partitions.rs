//! Properties of every kind of partition.

use effgan_data::{
    DataError, ImageSet, Partition, PartitionConfig,
    heterogeneity::label_skew,
    partition::{ByLabel, CommonKeys, Dirichlet, Iid, LabelQuantity, PartitionFile, Quantity, Shards},
};
use proptest::{collection::vec, prelude::*};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const NUM_CLASSES: u8 = 10;

fn images() -> impl Strategy<Value = ImageSet> {
    vec(0..NUM_CLASSES, 1..400).prop_map(|labels| {
        ImageSet::new([1, 1, 1], vec![0; labels.len()], labels, NUM_CLASSES.into()).expect("one pixel for each label")
    })
}

fn common() -> impl Strategy<Value = CommonKeys> {
    (1usize..30, 1usize..20, 0.0..0.9).prop_map(|(clients, min_examples, held_out)| CommonKeys {
        clients,
        min_examples,
        held_out,
    })
}

/// Every kind but a file. A new kind is added here and must have all properties below.
fn configs() -> impl Strategy<Value = PartitionConfig> {
    // Exponents, since the interesting alphas lie between 1e-8 and 1e4.
    let kinds = (0usize..7, -8.0..4.0, 0.0..4.0, 1..=usize::from(NUM_CLASSES));
    (kinds, common()).prop_map(|((kind, exponent, sigma, few), common)| {
        let alpha = 10f64.powf(exponent);
        match kind {
            0 => PartitionConfig::Iid(Iid { common }),
            1 => PartitionConfig::Dirichlet(Dirichlet { alpha, common }),
            2 => PartitionConfig::ByLabel(ByLabel { classes_per_client: few, common }),
            3 => PartitionConfig::Shards(Shards { shards_per_client: few, common }),
            4 => PartitionConfig::Quantity(Quantity { sigma: Some(sigma), alpha: None, common }),
            5 => PartitionConfig::Quantity(Quantity { sigma: None, alpha: Some(alpha), common }),
            _ => PartitionConfig::LabelQuantity(LabelQuantity { alpha, sigma, common }),
        }
    })
}

/// Whether the kind redraws sizes until no client is too small.
fn draws_sizes(config: &PartitionConfig) -> bool {
    use PartitionConfig as P;
    matches!(config, P::Dirichlet(_) | P::Quantity(_) | P::LabelQuantity(_))
}

fn assign(config: &PartitionConfig, images: &ImageSet, num_assigned: usize, seed: u64) -> Result<Partition, DataError> {
    config.assign(images, num_assigned, &mut ChaCha8Rng::seed_from_u64(seed))
}

/// All images of all clients, training and held-out ones, ascending.
fn all_images(partition: &Partition) -> Vec<u32> {
    let lists = partition.clients.iter().flat_map(|client| [&client.train, &client.held_out]);
    let mut images: Vec<u32> = lists.flatten().copied().collect();
    images.sort_unstable();
    images
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_image_is_assigned_to_exactly_one_client(
        images in images(), config in configs(), seed: u64, fraction in 0.0..=1.0,
    ) {
        let num_assigned = (fraction * images.len() as f64) as usize;
        if let Ok(partition) = assign(&config, &images, num_assigned, seed) {
            let expected: Vec<u32> = (0..).take(num_assigned).collect();
            prop_assert_eq!(all_images(&partition), &expected[..]);
            prop_assert_eq!(all_images(&partition.pooled()), expected);
        }
    }

    #[test]
    fn min_examples_is_met_or_the_error_says_so(images in images(), config in configs(), seed: u64) {
        let min = config.common_keys().expect("the kind is not a file").min_examples;
        match assign(&config, &images, images.len(), seed) {
            Ok(partition) => prop_assert!(partition.clients.iter().all(|client| client.train.len() >= min)),
            Err(DataError::TooFewExamples { num_train, min_examples, .. }) => {
                prop_assert!(num_train < min_examples && !draws_sizes(&config));
            }
            Err(DataError::TooFewAfterDraws { num_train, min_examples, .. }) => {
                prop_assert!(num_train < min_examples && draws_sizes(&config));
            }
            Err(DataError::MoreClientsThanImages { clients, num_assigned, .. }) => prop_assert!(clients > num_assigned),
            Err(DataError::ClassesPerClient { .. } | DataError::UnheldClass { .. }) => {
                prop_assert!(matches!(config, PartitionConfig::ByLabel(_)));
            }
            Err(DataError::Shards { clients, shards_per_client, num_assigned, .. }) => {
                prop_assert!(clients * shards_per_client > num_assigned);
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn same_seed_gives_the_same_partition(images in images(), config in configs(), seed: u64) {
        let [first, second] = [(); 2].map(|()| assign(&config, &images, images.len(), seed).map_err(|e| e.to_string()));
        prop_assert_eq!(first, second);
    }

    #[test]
    fn clients_are_sorted_and_held_out_images_are_stratified(images in images(), config in configs(), seed: u64) {
        let Ok(partition) = assign(&config, &images, images.len(), seed) else { return Ok(()) };
        prop_assert_eq!(partition.clients.len(), config.common_keys().expect("the kind is not a file").clients);
        prop_assert!(partition.clients.is_sorted_by(|a, b| a.name < b.name));
        for client in &partition.clients {
            prop_assert!(client.train.is_sorted() && client.held_out.is_sorted());
            let n = client.train.len() + client.held_out.len();
            for class in 0..NUM_CLASSES {
                let count = |list: &[u32]| list.iter().filter(|&&i| images.labels()[i as usize] == class).count();
                let (held, all) = (count(&client.held_out), count(&client.held_out) + count(&client.train));
                let share = all as f64 * client.held_out.len() as f64 / n as f64;
                prop_assert!((held as f64 - share).abs() < 1.0, "{held} of {all} in class {class}, share {share}");
            }
        }
    }

    #[test]
    fn a_written_partition_is_read_back_from_its_file(
        images in images(), config in configs(), seed: u64, whole in any::<bool>(),
    ) {
        if let Ok(partition) = assign(&config, &images, images.len(), seed) {
            let file = tempfile::NamedTempFile::new().unwrap();
            serde_json::to_writer(&file, &partition).unwrap();
            let from_file = PartitionConfig::File(PartitionFile { path: file.path().into() });
            prop_assert_eq!(&assign(&from_file, &images, images.len(), !seed).unwrap(), &partition);
            // The last image is on some list, so without it the file does not fit.
            let fewer = images.len() - usize::from(!whole);
            prop_assert_eq!(assign(&from_file, &images, fewer, seed).is_ok(), whole);
        }
    }

    #[test]
    fn label_skew_is_in_its_range(images in images(), config in configs(), seed: u64) {
        if let Ok(partition) = assign(&config, &images, images.len(), seed) {
            prop_assert!((0.0..1.0).contains(&label_skew(&partition.class_counts(&images))));
            prop_assert!(label_skew(&partition.pooled().class_counts(&images)) < 1e-12);
        }
    }
}

#[test]
fn skew_of_mnist_mini_orders_the_kinds() {
    let dataset =
        serde_json::from_str::<effgan_data::DatasetConfig>(r#"{"name":"mnist-mini"}"#).unwrap().load().unwrap();
    let skew = |json: &str| {
        let config: PartitionConfig = serde_json::from_str(json).unwrap();
        label_skew(&assign(&config, &dataset.train, dataset.num_assigned(), 1).unwrap().class_counts(&dataset.train))
    };
    let iid = skew(r#"{"kind":"iid","clients":10}"#);
    let even = skew(r#"{"kind":"dirichlet","clients":10,"alpha":10.0}"#);
    let uneven = skew(r#"{"kind":"dirichlet","clients":10,"alpha":0.1}"#);
    let one_class = skew(r#"{"kind":"by-label","clients":10,"classes_per_client":1}"#);
    let sizes = skew(r#"{"kind":"quantity","clients":10,"sigma":0.5}"#);
    let both = skew(r#"{"kind":"label-quantity","clients":10,"alpha":0.1,"sigma":0.5}"#);
    let shards = skew(r#"{"kind":"shards","clients":10,"shards_per_client":2}"#);
    assert!(sizes < even && even < both && even < shards, "{sizes} {both} {shards}");
    assert!(iid < even && even < uneven && uneven < one_class, "{iid} {even} {uneven} {one_class}");
    // Ten classes of equal size with one client each: 1 − 1/10, up to f64 rounding.
    assert!((one_class - 0.9).abs() < 1e-12, "{one_class}");
}
