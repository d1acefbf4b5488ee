//! TensorBoard's event file: losses, bytes, clients and scores as scalars by round, and grids of samples as images.
//!
//! `tensorboard --logdir runs` shows all runs below `runs/`, finished or not. The file is a sequence of `TFRecord`s (length, masked
//! CRC-32C of the length, message, masked CRC-32C of the message); its tags are in `docs/run-folder.md`.

mod tensorboard_message;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use effgan_fl::ensemble::NormStatistics;
use effgan_fl::{ClientRecord, RoundRecord};
use effgan_nn::file::open_to_append;
use image::RgbImage;
use prost::Message;

use self::tensorboard_message::{Image, Summary, Value};
use super::append::{rewind, synced_len};
use super::grid_name::round_of_grid;
use super::loss_key;
use crate::record::events::{Event, Score};

/// An event file that grows with its run.
pub(super) struct EventFile {
    file: File,
    /// Returns seconds since 1970; tests fix it.
    clock: fn() -> f64,
}

impl EventFile {
    /// Creates `events.out.tfevents.<started>.effgan` in `folder`; `started` is in seconds since 1970.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn create(folder: &Path, started: u64) -> io::Result<Self> {
        Self::begin(open_to_append(&folder.join(file_name(started)))?, now)
    }

    /// Opens the file that [`create`](Self::create) made, to append to it; creates it when it is gone.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn open(folder: &Path, started: u64) -> io::Result<Self> {
        let file = open_to_append(&folder.join(file_name(started)))?;
        if file.metadata()?.len() == 0 { Self::begin(file, now) } else { Ok(Self { file, clock: now }) }
    }

    /// The length of the file in bytes, all of them on the disk.
    ///
    /// # Errors
    /// When the file cannot be synced.
    pub(super) fn synced_len(&self) -> io::Result<u64> {
        synced_len(&self.file)
    }

    /// Cuts the file back to its first `len` bytes.
    ///
    /// # Errors
    /// When the file cannot be cut.
    pub(super) fn rewind(&self, len: u64) -> io::Result<()> {
        rewind(&self.file, len)?;
        if len == 0 { self.write_version() } else { Ok(()) }
    }

    fn begin(file: File, clock: fn() -> f64) -> io::Result<Self> {
        let events = Self { file, clock };
        events.write_version()?;
        Ok(events)
    }

    fn write_version(&self) -> io::Result<()> {
        self.write(0, Some("brain.Event:2".into()), None)
    }

    /// Appends the scalars of `event`; only rounds and scores have any.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn record(&self, event: &Event) -> io::Result<()> {
        let (round, scalars) = match event {
            Event::Round(round) => (round.round, of_round(round)),
            Event::Score(score) => (score.round, of_score(score)),
            _ => return Ok(()),
        };
        self.summary(round, scalars.into_iter().filter_map(scalar).collect())
    }

    /// Appends the grid of samples `name` as a PNG file's bytes: `round_0007` is step 7 of `samples/round`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn picture(&self, name: &str, picture: &RgbImage, png: &[u8]) -> io::Result<()> {
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
        self.write(round, None, Some(Summary { value }))
    }

    /// Writes one record in one call, so that a concurrent reader sees whole records.
    fn write(&self, round: u32, file_version: Option<String>, summary: Option<Summary>) -> io::Result<()> {
        let event =
            tensorboard_message::Event { wall_time: (self.clock)(), step: i64::from(round), file_version, summary };
        (&self.file).write_all(&record(&event.encode_to_vec()))
    }
}

fn file_name(started: u64) -> String {
    format!("events.out.tfevents.{started:010}.effgan")
}

/// A scalar's tag and value.
type Scalar = (String, f64);

/// A scalar as a message; `None` when it is not a finite f32.
fn scalar((tag, value): Scalar) -> Option<Value> {
    let scalar = Some(value as f32).filter(|value| value.is_finite());
    Some(Value { tag, scalar: Some(scalar?), image: None })
}

/// The scalars of a round: means over the clients that took part, counts and bytes.
fn of_round(round: &RoundRecord) -> Vec<Scalar> {
    let keys: BTreeSet<&str> =
        round.clients.iter().flat_map(|client| loss_key::losses(&client.metrics)).map(|loss| loss.0).collect();
    let loss = |key: &str| mean(round.clients.iter().filter_map(|client| client.metrics.get(key).copied()));
    let losses = keys.into_iter().map(|key| (format!("loss/{}", loss_key::what(key)), loss(key)));
    let drift = |of: fn(&ClientRecord) -> Option<f64>| mean(round.clients.iter().filter_map(of));
    let scalars = [
        ("drift/norm", drift(|client| Some(client.drift?.norm))),
        ("drift/cosine", drift(|client| Some(client.drift?.cosine))),
        ("clients/answered", Some(round.clients.len() as f64)),
        ("clients/missing", Some(round.missing.len() as f64)),
        ("bytes/down", Some(round.bytes_down as f64)),
        ("bytes/up", Some(round.bytes_up as f64)),
    ];
    let scalars = losses.chain(scalars.map(|(tag, value)| (tag.to_owned(), value)));
    scalars.filter_map(|(tag, value)| Some((tag, value?))).collect()
}

/// Each metric, as in `class_kl/average/recomputed`: its name, what was scored, and how its statistics were made.
fn of_score(score: &Score) -> Vec<Scalar> {
    let of = [Some(score.of.name()), score.norm_statistics.map(NormStatistics::name)];
    let of = of.into_iter().flatten().collect::<Vec<_>>().join("/");
    score.scores.all().map(|(metric, value)| (format!("{}/{of}", metric.name), value)).collect()
}

/// The mean; `None` of no values.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (n, sum) = values.fold((0_u64, 0.0), |(n, sum), value| (n + 1, sum + value));
    (n > 0).then(|| sum / n as f64)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// `data` as one `TFRecord`.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), data, &masked_crc(data)].concat()
}

/// CRC-32C with `TFRecord`'s mask, without which a checksum of data that contains checksums would be weak.
fn masked_crc(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use effgan_fl::{Drift, ExchangeKind, Missing};

    use super::*;
    use crate::record::events::Scored;

    /// Two pixels of grey: `PNG` of `tests/fixtures/tensorboard_events.py`.
    const PNG: &str =
        "iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAIAAAB7QOjdAAAAD0lEQVR4nGNgYGBoaGgAAAMEAYG5N1mKAAAAAElFTkSuQmCC";

    fn client(name: &str, loss_d: f64, drift: Option<Drift>) -> ClientRecord {
        let metrics = BTreeMap::from([("loss_d".into(), loss_d), ("loss_g".into(), 2.5)]);
        ClientRecord {
            name: name.to_owned().try_into().unwrap(),
            num_examples: 1,
            counted: None,
            metrics,
            seconds: 1.0,
            drift,
        }
    }

    fn score(round: u32, of: Scored, how: Option<NormStatistics>, values: (f64, f64, usize)) -> Event {
        let (fd_small, class_kl, modes) = values;
        let scores = serde_json::json!({ "n": 2, "fd_small": fd_small, "class_kl": class_kl, "modes": modes });
        let scores = serde_json::from_value(scores).unwrap();
        Event::Score(Score { round, of, norm_statistics: how, scores, seconds: 1.0 })
    }

    fn round() -> Event {
        let missing = Missing { name: "c".to_owned().try_into().unwrap(), reason: "late".into() };
        Event::Round(RoundRecord {
            round: 3,
            kind: ExchangeKind::Average,
            clients: vec![client("a", 0.5, Some(Drift { norm: 4.0, cosine: -0.25 })), client("b", 1.0, None)],
            missing: vec![missing],
            refused: vec![],
            bytes_down: 13_000_000,
            bytes_up: 7_000_000,
            seconds: 1.0,
        })
    }

    #[test]
    fn our_bytes_are_those_that_tensorboard_writes_for_the_same_events() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let events = EventFile::begin(File::create(&path).unwrap(), || 1.5).unwrap();
        events.record(&score(0, Scored::Floor, None, (1.75, 0.0, 10))).unwrap();
        events.record(&round()).unwrap();
        events.picture("round_0003", &RgbImage::new(2, 1), &STANDARD.decode(PNG).unwrap()).unwrap();
        events.record(&score(3, Scored::Average, Some(NormStatistics::Recompute), (88.5, 0.25, 9))).unwrap();
        assert_eq!(fs::read(path).unwrap(), include_bytes!("../../tests/fixtures/tensorboard_events.tfevents"));
    }

    #[test]
    fn each_loss_of_a_round_is_a_scalar_in_the_order_of_keys() {
        let Event::Round(mut record) = round() else { unreachable!("it is a round") };
        for (client, [kl, pixels, z]) in record.clients.iter_mut().zip([[1.0, 2.0, 4.0], [3.0, 4.0, 8.0]]) {
            client.metrics = [("loss_kl", kl), ("loss_pixels", pixels), ("loss_z", z), ("steps", 9.0)]
                .map(|(key, value)| (key.to_owned(), value))
                .into();
        }
        let losses: Vec<Scalar> = of_round(&record).into_iter().take(4).collect();
        let expected = [("loss/kl", 2.0), ("loss/pixels", 3.0), ("loss/z", 6.0), ("drift/norm", 4.0)];
        assert_eq!(losses, expected.map(|(tag, value)| (tag.to_owned(), value)));
    }

    #[test]
    fn masked_checksum_of_a_published_example() {
        // RFC 3720, B.4: 32 bytes of zeros have CRC-32C 0x8a9136aa; masked by hand.
        assert_eq!(masked_crc(&[0; 32]), (0x6d55_1522_u32).wrapping_add(0xa282_ead8).to_le_bytes());
    }

    #[test]
    fn an_event_without_scalars_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let events = EventFile::create(folder.path(), 7).unwrap();
        let path = folder.path().join("events.out.tfevents.0000000007.effgan");
        let before = fs::read(&path).unwrap();
        events.record(&Event::Stage(crate::record::events::Stage { stage: "train".into(), seconds: 1.0 })).unwrap();
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(before.len(), 12 + 24 + 4);
    }
}
