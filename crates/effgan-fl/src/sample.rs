//! Sampling from an ensemble: draw a member by its weight, draw z, and run that member's generator (EFFGAN, §3).
//!
//! Image i of seed s is always the same, however many images are drawn and in whatever parts: its member, its z and its class are
//! functions of (s, i), and it has a fixed position in a fixed batch of its member.
//!
//! The member of a conditional network is drawn by its weight too, independently of the class, because the number of images of
//! each class never leaves a client. A client without images of a class may therefore draw that class badly.

use std::ops::Range;

use effgan_nn::model::BATCH;
use effgan_nn::{Device, Model, Params, Purpose, Streams, parallel_map};
use rand::RngExt;

use crate::{FlError, Result};

/// Number of batches that are drawn per loading of a member.
const BATCHES_PER_LOAD: usize = 8;

/// The images to draw, and what draws them.
#[derive(Clone, Debug)]
pub struct Draw<'a> {
    /// Seed of the images.
    pub seed: u64,
    /// Indices of the images.
    pub range: Range<u64>,
    /// Classes that the images of a conditional network take in turn: image i is of class `classes[i mod n]`. When empty, the class of
    /// each image is drawn uniformly.
    pub classes: &'a [u8],
    /// Classes that are not drawn where `classes` is empty, sorted, and not all of the network's.
    pub without: &'a [u8],
    /// The device that the generators are on.
    pub device: Device,
    /// Threads, ≥ 1; changes no image.
    pub jobs: usize,
}

impl Draw<'_> {
    /// Images `range` of `seed`, drawn on `device` by `jobs` threads, of no given classes.
    pub fn new(seed: u64, range: Range<u64>, device: Device, jobs: usize) -> Self {
        Self { seed, range, classes: &[], without: &[], device, jobs }
    }
}

/// The images of `draw` from a mixture of generators with these `weights` (≥ 0, not all 0): u8 `[n, c, h, w]`.
///
/// `load(m)` returns the tensors of member m. It is called repeatedly, so that a large ensemble is never in memory at once.
///
/// # Errors
/// Those of `load`; tensors that do not fit `model`; [`FlError::Config`] for a class that the model does not have, or when it is not
/// conditional.
pub fn sample(
    model: &dyn Model,
    weights: &[f64],
    load: &(impl Fn(usize) -> Result<Params> + Sync),
    draw: &Draw,
) -> Result<Vec<u8>> {
    check_classes(model, draw.classes)?;
    let (streams, range) = (Streams::of_run(draw.seed), &draw.range);
    let portions = portions(&choose_members(weights, &streams, range.end), weights.len(), range.start);
    let drawn = parallel_map(portions.len(), draw.jobs, |i| draw_portion(model, &portions[i], load, draw));
    let drawn = drawn.into_iter().collect::<Result<Vec<_>>>()?;
    let image_len = model.image_len();
    let mut images = vec![0; (range.end - range.start) as usize * image_len];
    for (index, image) in drawn.into_iter().flatten() {
        let at = (index - range.start) as usize * image_len;
        images[at..at + image_len].copy_from_slice(&image);
    }
    Ok(images)
}

fn check_classes(model: &dyn Model, classes: &[u8]) -> Result<()> {
    let known = model.num_classes().unwrap_or_default();
    match classes.iter().find(|&&class| usize::from(class) >= known) {
        None => Ok(()),
        Some(class) if known == 0 => Err(FlError::Config(format!(
            "class {class} cannot be drawn: the model was trained without network.conditional = true"
        ))),
        Some(class) => {
            Err(FlError::Config(format!("class {class} must be from 0 to {}, the model's classes", known - 1)))
        }
    }
}

/// Classes of the images with these indices; empty when the model is not conditional.
fn labels(model: &dyn Model, draw: &Draw, indices: &[u64], streams: &Streams) -> Vec<u8> {
    let Some(num_classes) = model.num_classes() else { return Vec::new() };
    let drawn: Vec<u8> =
        (0..num_classes).map(|class| class as u8).filter(|class| !draw.without.contains(class)).collect();
    let label = |&index: &u64| match draw.classes.len() as u64 {
        0 => drawn[streams.at(Purpose::SampleClass, index).random_range(0..drawn.len())],
        n => draw.classes[(index % n) as usize],
    };
    indices.iter().map(label).collect()
}

/// The member of each of the images `0..end`.
fn choose_members(weights: &[f64], streams: &Streams, end: u64) -> Vec<usize> {
    let total: f64 = weights.iter().sum();
    let choose = |index| {
        let mut rest = streams.at(Purpose::SampleMember, index).random::<f64>() * total;
        let hit = weights.iter().position(|&weight| {
            rest -= weight;
            rest < 0.0
        });
        // Rounding may leave a remainder beyond the last weight.
        hit.unwrap_or_else(|| weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0))
    };
    (0..end).map(choose).collect()
}

/// Batches of one member, each given by the indices of at most [`BATCH`] images.
struct Portion {
    member: usize,
    batches: Vec<Vec<u64>>,
}

/// Cuts the images of each member into batches, beginning with image 0, and keeps the batches with an image at or after `start`.
fn portions(members: &[usize], num_members: usize, start: u64) -> Vec<Portion> {
    let mut images = vec![Vec::new(); num_members];
    members.iter().enumerate().for_each(|(index, &member)| images[member].push(index as u64));
    let mut portions = Vec::new();
    for (member, images) in images.into_iter().enumerate() {
        let wanted = |batch: &&[u64]| batch.last().is_some_and(|&last| last >= start);
        let batches: Vec<_> = images.chunks(BATCH).filter(wanted).map(<[u64]>::to_vec).collect();
        portions.extend(batches.chunks(BATCHES_PER_LOAD).map(|batches| Portion { member, batches: batches.to_vec() }));
    }
    portions
}

/// Index and pixels.
type Image = (u64, Vec<u8>);

/// The images of `portion` that `draw` asks for.
fn draw_portion(
    model: &dyn Model,
    portion: &Portion,
    load: &impl Fn(usize) -> Result<Params>,
    draw: &Draw,
) -> Result<Vec<Image>> {
    let sampler = model.sampler(&load(portion.member)?, draw.device)?;
    let (latent_dim, image_len, streams) = (sampler.latent_dim(), model.image_len(), Streams::of_run(draw.seed));
    let mut drawn = Vec::new();
    for batch in &portion.batches {
        let latent = |&index: &u64| streams.normal(Purpose::SampleLatent, index, latent_dim);
        let mut z: Vec<f32> = batch.iter().flat_map(latent).collect();
        z.resize(BATCH * latent_dim, 0.0);
        let mut labels = labels(model, draw, batch, &streams);
        labels.resize(BATCH, 0);
        let images = sampler.draw(z, &labels)?;
        let images = batch.iter().zip(images.chunks_exact(image_len));
        let wanted = images.filter(|(index, _)| **index >= draw.range.start);
        drawn.extend(wanted.map(|(&index, image)| (index, image.to_vec())));
    }
    Ok(drawn)
}

#[cfg(test)]
mod tests {
    use effgan_nn::gan::GanModel;
    use effgan_nn::networks::{DcganConfig, Network, NetworkConfig, init};

    use super::*;

    fn model(conditional: bool) -> GanModel {
        let dcgan = DcganConfig { latent_dim: 3, base_channels: 2, conditional, ..DcganConfig::default() };
        GanModel::new(Network::of_classes(NetworkConfig::Dcgan(dcgan), [1, 8, 8], 4).unwrap())
    }

    fn draw_from(model: &GanModel, classes: &[u8], range: Range<u64>, jobs: usize) -> Result<Vec<u8>> {
        let member = |index| {
            Ok(init(&model.network.generator_tensors(), &mut Streams::of_run(index as u64).at(Purpose::Init, 0)))
        };
        let draw = Draw { classes, ..Draw::new(7, range, Device::cpu().unwrap(), jobs) };
        sample(model, &[1.0, 2.0, 5.0], &member, &draw)
    }

    fn draw(range: Range<u64>, jobs: usize) -> Vec<u8> {
        draw_from(&model(false), &[], range, jobs).unwrap()
    }

    #[test]
    fn a_sample_is_the_same_whole_or_in_parts() {
        let whole = draw(0..1000, 1);
        for cut in [1, 50, 64, 700] {
            assert_eq!(whole, [draw(0..cut, 1), draw(cut..1000, 1)].concat(), "cut at {cut}");
        }
    }

    #[test]
    fn jobs_change_nothing() {
        assert_eq!(draw(0..500, 1), draw(0..500, 3));
    }

    #[test]
    fn given_classes_are_drawn_in_turn_in_every_part_of_a_sample() {
        let draw = |classes: &[u8], range| draw_from(&model(true), classes, range, 1).unwrap();
        let in_turn = draw(&[3, 1], 0..200);
        assert_eq!(in_turn, [draw(&[3, 1], 0..77), draw(&[3, 1], 77..200)].concat());
        // The even images are those of class 3 alone, the odd ones those of class 1: member and z are the same.
        let (threes, ones) = (draw(&[3], 0..200), draw(&[1], 0..200));
        for (i, image) in in_turn.chunks_exact(64).enumerate() {
            let alone = if i % 2 == 0 { &threes } else { &ones };
            assert_eq!(image, &alone[i * 64..(i + 1) * 64], "image {i}");
        }
        assert_ne!(threes, ones);
    }

    #[test]
    fn without_given_classes_they_are_drawn_uniformly_and_by_index() {
        let n = 20_000;
        let indices: Vec<u64> = (0..n).collect();
        let draw = Draw::new(1, 0..n, Device::cpu().unwrap(), 1);
        let drawn = |indices: &[u64]| labels(&model(true), &draw, indices, &Streams::of_run(1));
        let labels = drawn(&indices);
        let mut counts = [0; 4];
        for &label in &labels {
            counts[usize::from(label)] += 1;
        }
        for share in counts.map(|count: u32| f64::from(count) / n as f64) {
            // Five standard errors of a share of 1/4.
            assert!((share - 0.25).abs() < 5.0 * (0.25 * 0.75 / n as f64).sqrt(), "{share}");
        }
        assert_eq!(drawn(&[777])[0], labels[777]);
    }

    #[test]
    fn classes_that_are_left_out_are_drawn_only_where_they_are_given() {
        let n = 20_000;
        let indices: Vec<u64> = (0..n).collect();
        let drawn = |classes: &[u8]| {
            let draw = Draw { classes, without: &[1, 3], ..Draw::new(1, 0..n, Device::cpu().unwrap(), 1) };
            labels(&model(true), &draw, &indices, &Streams::of_run(1))
        };
        let count =
            |labels: &[u8], class| f64::from(labels.iter().map(|&label| u32::from(label == class)).sum::<u32>());
        let labels = drawn(&[]);
        assert_eq!([1, 3].map(|class| count(&labels, class)), [0.0; 2]);
        // Five standard errors of a share of 1/2.
        assert!((count(&labels, 0) / n as f64 - 0.5).abs() < 5.0 * (0.25 / n as f64).sqrt());
        assert_eq!(count(&drawn(&[3]), 3), n as f64);
    }

    #[test]
    fn classes_that_the_network_does_not_have_are_refused() {
        let error = |conditional, class| draw_from(&model(conditional), &[class], 0..1, 1).unwrap_err().to_string();
        assert_eq!(error(true, 4), "class 4 must be from 0 to 3, the model's classes");
        assert_eq!(
            error(false, 1),
            "class 1 cannot be drawn: the model was trained without network.conditional = true"
        );
    }

    #[test]
    fn members_are_drawn_by_their_weights() {
        let n = 20_000;
        let members = choose_members(&[1.0, 0.0, 3.0], &Streams::of_run(1), n);
        let share = members.iter().filter(|&&member| member == 2).count() as f64 / n as f64;
        // Five standard errors of a share of 3/4.
        assert!((share - 0.75).abs() < 5.0 * (0.75 * 0.25 / n as f64).sqrt(), "{share}");
        assert!(members.iter().all(|&member| member != 1));
    }
}
