//! TensorBoard's event file: losses, bytes, clients and scores as scalars by round, and the grids of samples as images.
//!
//! `tensorboard --logdir runs` shows all runs below `runs/`, while they work too. The file is a sequence of `TFRecord`s (length, masked
//! CRC-32C of the length, message, masked CRC-32C of the message); its tags are in `docs/run-folder.md`.

mod message;

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use effgan_fl::ensemble::NormStatistics;
use effgan_fl::{ClientRecord, RoundRecord};
use image::RgbImage;
use prost::Message;

use self::message::{Image, Summary, Value};
use crate::events::{Event, Score};
use crate::summary::round_of_grid;

/// An event file that grows with its run.
pub struct EventFile {
    file: File,
}

impl EventFile {
    /// Makes `events.out.tfevents.<started>.effgan` in `folder`; `started` is in seconds since 1970.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(folder: &Path, started: u64) -> io::Result<Self> {
        let file = File::create(folder.join(format!("events.out.tfevents.{started:010}.effgan")))?;
        let events = Self { file };
        events.write(&message::Event {
            wall_time: now(),
            file_version: Some("brain.Event:2".into()),
            ..message::Event::default()
        })?;
        Ok(events)
    }

    /// Appends the scalars of `event`; some events have none.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn record(&self, event: &Event) -> io::Result<()> {
        let (round, scalars) = match event {
            Event::Round(round) => (round.round, of_round(round)),
            Event::Score(score) => (score.round, of_score(score)),
            Event::Losses(_) | Event::Member(_) | Event::Stage(_) => return Ok(()),
        };
        self.summary(round, scalars.into_iter().map(scalar).collect())
    }

    /// Appends the grid of samples `name` as a PNG file's bytes: `round_0007` is step 7 of `samples/round`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn picture(&self, name: &str, picture: &RgbImage, png: &[u8]) -> io::Result<()> {
        let image = Image {
            height: picture.height().cast_signed(),
            width: picture.width().cast_signed(),
            colorspace: 3,
            encoded_image_string: png.to_vec(),
        };
        let (tag, round) = round_of_grid(name).map_or((name, 0), |round| ("round", round));
        self.summary(round, vec![Value { tag: format!("samples/{tag}"), image: Some(image), scalar: None }])
    }

    fn summary(&self, round: u32, value: Vec<Value>) -> io::Result<()> {
        let summary = Some(Summary { value });
        self.write(&message::Event { wall_time: now(), step: i64::from(round), summary, file_version: None })
    }

    /// In one call, so that a reader meets whole records.
    fn write(&self, event: &message::Event) -> io::Result<()> {
        (&self.file).write_all(&record(&event.encode_to_vec()))
    }
}

/// A scalar's tag and value.
type Scalar = (String, f64);

fn scalar((tag, value): Scalar) -> Value {
    Value { tag, scalar: Some(value as f32), image: None }
}

/// Means over the clients that took part, and what was sent.
fn of_round(round: &RoundRecord) -> Vec<Scalar> {
    let loss = |name: &str| mean(round.clients.iter().filter_map(|client| client.metrics.get(name).copied()));
    let drift = |of: fn(&ClientRecord) -> Option<f64>| mean(round.clients.iter().filter_map(of));
    let scalars = [
        ("loss/discriminator", loss("loss_d")),
        ("loss/generator", loss("loss_g")),
        ("drift/norm", drift(|client| Some(client.drift?.norm))),
        ("drift/cosine", drift(|client| Some(client.drift?.cosine))),
        ("clients/answered", Some(round.clients.len() as f64)),
        ("clients/missing", Some(round.missing.len() as f64)),
        ("bytes/down", Some(round.bytes_down as f64)),
        ("bytes/up", Some(round.bytes_up as f64)),
    ];
    scalars.into_iter().filter_map(|(tag, value)| Some((tag.to_owned(), value?))).collect()
}

/// `fd_small/average/recomputed`: the metric, what was scored, and how its statistics were made.
fn of_score(score: &Score) -> Vec<Scalar> {
    let of = [Some(score.of.name()), score.norm_statistics.map(NormStatistics::name)];
    let of = of.into_iter().flatten().collect::<Vec<_>>().join("/");
    let scores = &score.scores;
    let values = [("fd_small", scores.fd_small), ("class_kl", scores.class_kl), ("modes", scores.modes as f64)];
    values.map(|(metric, value)| (format!("{metric}/{of}"), value)).into()
}

/// None of nothing.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (n, sum) = values.fold((0_u64, 0.0), |(n, sum), value| (n + 1, sum + value));
    (n > 0).then(|| sum / n as f64)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// `data` as a `TFRecord`.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), data, &masked_crc(data)].concat()
}

/// `TFRecord`'s mask keeps a checksum of data that holds checksums from being weak.
fn masked_crc(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}
