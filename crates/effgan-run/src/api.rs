//! A run, samples and scores as single calls on plain values: what the Python module and the fuzz targets use.
//!
//! Each call works on the caller's thread and on `jobs` threads of its own, and ends early with
//! [`Kind::Interrupted`](crate::Kind::Interrupted) when its `stop` becomes true.

mod evaluate;
mod inputs;
mod site;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;
use effgan_data::{ClientName, ClientShare};
use effgan_fl::ensemble::Selection;
use effgan_fl::sample::Draw;
use effgan_fl::{Ensemble, FlError};
use effgan_nn::Device;
pub use effgan_nn::DeviceName;
use serde_json::{Map, Value};

pub use self::evaluate::{Against, Scored, evaluate};
use self::inputs::{checked, config_of, jobs_or_cores, toml_settings};
pub use self::site::{answer, question_of, show_ledger, verify_ledger, write_refusal};
use crate::config::Config;
pub use crate::config::NetworkName;
pub use crate::config::StrategyConfig;
use crate::failure::{Failure, Result};
use crate::pipeline::{self, Execution};
use crate::progress::Progress;
use crate::protocol::SiteList;
pub use crate::protocol::retention::prune;
pub use crate::protocol::{Content, Grid, MessageId, NodeId, Pulled, SiteImages};
use crate::record::events::Event;
pub use crate::scores::{Audit, Evaluation, NetworkChoice};
pub use crate::steps::{Members, Steps};

/// Maximum number of images of one call, since all of them are in memory.
const MAX_AT_ONCE: u64 = 10_000_000;

/// What computes images and scores.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hardware {
    /// The device.
    pub device: DeviceName,
    /// Threads; all cores when absent.
    pub jobs: Option<usize>,
}

/// Audits the generators of the run in the folder `path` by so many `samples` of each: [`pipeline::audit`].
///
/// # Errors
/// As there; also no threads.
pub fn audit(path: &Path, samples: usize, jobs: Option<usize>, stop: &AtomicBool) -> Result<Audit> {
    let nothing = Progress::events(|_| {});
    pipeline::audit(path, samples, Execution::new(checked(jobs)?, &nothing, stop), &|_, _| {})
}

/// What to run, and where.
#[derive(Clone, Debug)]
pub struct Run {
    /// The config.
    pub config: Source,
    /// Values that replace those of the config, by `section.key`.
    pub settings: Map<String, Value>,
    /// Replaces the config's seed.
    pub seed: Option<u64>,
    /// The run folder, which must not exist; `runs/<name of the config>` when absent.
    pub out: Option<PathBuf>,
    /// Threads, ≥ 1; all cores when absent. Changes no result.
    pub jobs: Option<usize>,
}

/// Where a config comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A TOML file.
    File(PathBuf),
    /// The tables of such a file.
    Tables(Map<String, Value>),
}

impl Source {
    /// The file, which errors name.
    fn file(&self) -> Option<PathBuf> {
        match self {
            Self::File(file) => Some(file.clone()),
            Self::Tables(_) => None,
        }
    }
}

/// Runs `run` and returns its folder. `on_event` is called with each round and each score when it is done: a line of `metrics.jsonl`.
///
/// # Errors
/// As `effgan run`.
pub fn run(run: Run, stop: &AtomicBool, on_event: impl Fn(String) + Send + Sync + 'static) -> Result<PathBuf> {
    let (jobs, file) = (checked(run.jobs)?, run.config.file());
    let (config, out) = config_and_out(run)?;
    let progress = rounds_and_scores(on_event);
    let execution = Execution { config_file: file.as_deref(), ..Execution::new(jobs, &progress, stop) };
    pipeline::run(&config, &out, execution)?;
    Ok(out)
}

/// Runs a federation over the sites that `grid` reaches, or resumes the one in the folder `run.out`, and returns the folder.
///
/// `server` is the server's folder, whose list maps nodes to sites; without it a node's own claim counts. `log` is called with
/// a line per round.
///
/// # Errors
/// When the config is wrong or sites do not connect in time; then as [`run`].
pub fn federate(
    run: Run,
    server: Option<PathBuf>,
    grid: &mut dyn Grid,
    stop: &AtomicBool,
    log: impl Fn(&str) + Send + Sync + 'static,
) -> Result<PathBuf> {
    let (jobs, file) = (checked(run.jobs)?, run.config.file());
    let (config, out) = config_and_out(run)?;
    let (progress, list) = (Progress::lines(log), server.map(SiteList::of));
    let execution = Execution { config_file: file.as_deref(), ..Execution::new(jobs, &progress, stop) };
    pipeline::federate(&config, &out, grid, list, execution)?;
    Ok(out)
}

/// The steps of a config's algorithm for `clients`, given by name and n_k, on images of `image_shape` `[c, h, w]` in `num_classes`
/// classes.
///
/// # Errors
/// When the config is wrong.
pub fn steps(
    config: Source,
    settings: &Map<String, Value>,
    clients: Vec<(ClientName, u64)>,
    image_shape: [usize; 3],
    num_classes: usize,
    jobs: Option<usize>,
) -> Result<Steps> {
    let config = config_of(config, &toml_settings(settings)?)?;
    Steps::new(&config, clients, image_shape, num_classes, jobs_or_cores(jobs)?)
}

/// The training images of one client.
pub struct Share {
    /// The client.
    pub name: ClientName,
    /// Its images, u8 `[n, c, h, w]`.
    pub pixels: Vec<u8>,
    /// Their labels, `[n]`.
    pub labels: Vec<u8>,
    /// Shape `[c, h, w]` of an image.
    pub shape: [usize; 3],
}

/// Splits a config's data set among its clients; returns their training images in the order of names.
///
/// # Errors
/// As `effgan run`, before it makes its folder.
pub fn deal(config: Source, settings: &Map<String, Value>) -> Result<Vec<Share>> {
    let file = config.file();
    let config = config_of(config, &toml_settings(settings)?)?;
    shares(&config).map_err(|failure| match &file {
        Some(file) => failure.of_config(file),
        None => failure,
    })
}

fn shares(config: &Config) -> Result<Vec<Share>> {
    config.check_partition()?;
    let dataset = config.load_dataset()?;
    let train = &dataset.train;
    let share = |share: ClientShare| Share {
        pixels: share.train.iter().flat_map(|&i| train.image(i as usize)).copied().collect(),
        labels: share.train.iter().map(|&i| train.labels()[i as usize]).collect(),
        shape: train.shape(),
        name: share.name,
    };
    Ok(config.deal(&dataset)?.clients.into_iter().map(share).collect())
}

fn config_and_out(run: Run) -> Result<(Config, PathBuf)> {
    let mut settings = toml_settings(&run.settings)?;
    settings.extend(run.seed.map(|seed| format!("seed={seed}")));
    let config = config_of(run.config, &settings)?;
    let out = run.out.unwrap_or_else(|| PathBuf::from("runs").join(&config.name));
    Ok((config, out))
}

/// Resumes the run in the folder `path`, as `effgan resume` does; `on_event` is called as in [`run`], from the checkpoint on: again with what
/// an earlier start has recorded after it.
///
/// # Errors
/// As `effgan resume`.
pub fn resume(
    path: &Path,
    settings: &Map<String, Value>,
    jobs: Option<usize>,
    stop: &AtomicBool,
    on_event: impl Fn(String) + Send + Sync + 'static,
) -> Result<()> {
    let progress = rounds_and_scores(on_event);
    let execution = Execution::new(checked(jobs)?, &progress, stop);
    pipeline::resume(path, &toml_settings(settings)?, execution)
}

/// Passes rounds and scores as lines of JSON to `on_event`.
fn rounds_and_scores(on_event: impl Fn(String) + Send + Sync + 'static) -> Progress {
    Progress::events(move |event: &Event| {
        if matches!(event, Event::Round(_) | Event::Score(_)) {
            on_event(serde_json::to_string(event).expect("an event is plain data"));
        }
    })
}

/// The config in the TOML `text` with every default filled in, as a run folder keeps it; reading it gives the same config.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage), naming the line or the key.
pub fn resolved_config(text: &str) -> Result<String> {
    Config::parse(text, &[]).map(|config| config.to_toml())
}

/// Generates images `0..num` of `seed`, u8 `[num, c, h, w]`: from the ensemble when `members` is empty, from these members of it, or
/// from the averaged generator, whose name is `global`. They take the [`classes`] in turn where some are given.
///
/// # Errors
/// When the model has no such member or class, or a file does not match the manifest.
pub fn sample(
    model: &Ensemble,
    members: &[String],
    classes: &[String],
    seed: u64,
    num: u64,
    on: Hardware,
    stop: &AtomicBool,
) -> Result<Vec<u8>> {
    let (selection, classes) = (selection(members)?, self::classes(classes, model)?);
    draw(model, &selection, &classes, seed, num, on, stop)
}

/// The labels of the classes that `names` select: names of classes, numbers, or `all` alone, which stands for all that can be drawn.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage) for a name that is neither, and for any of an unconditional model. Whether a number is a class that can be drawn is found when it is.
pub fn classes(names: &[String], model: &Ensemble) -> Result<Vec<u8>> {
    if let (Some(name), None) = (names.first(), model.manifest().network.num_classes) {
        let why = "the model was trained without network.conditional = true";
        return Err(usage(format!("class {name} cannot be drawn: {why}")));
    }
    if names == ["all"] {
        return Ok(model.drawable());
    }
    let known = &model.manifest().classes;
    let class = |name: &String| {
        let are_numbers = known.iter().any(|known| known.parse::<u8>().is_ok());
        let line = || match known.join(", ") {
            names if are_numbers => format!("--class {name} is neither `all` nor one of {names}"),
            names if names.is_empty() => format!("--class {name} is neither `all` nor a number from 0 to 255"),
            names => format!("--class {name} is neither `all` nor a number from 0 to 255 nor one of {names}"),
        };
        match known.iter().position(|known| known == name) {
            Some(label) => Ok(label as u8),
            // Where classes are called by numbers, another number is not one of them.
            None if are_numbers => Err(usage(line())),
            None => name.parse::<u8>().map_err(|_| usage(line())),
        }
    };
    names.iter().map(class).collect()
}

/// Checks the environment variable that chooses the instruction set of the [`Device`]. For the start of a program, before any work.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage) when `EFFGAN_ISA` names no instruction set of this processor.
pub fn check_environment() -> Result<()> {
    Ok(Device::cpu().map(drop)?)
}

/// The generators that `names` select: the ensemble when empty, the averaged generator for `global`, otherwise these members.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage) when `global` is combined with other names, or one is not a valid client name.
pub fn selection(names: &[String]) -> Result<Selection> {
    match names {
        [] => Ok(Selection::Ensemble),
        [name] if name == "global" => Ok(Selection::Global),
        names if names.iter().any(|name| name == "global") => Err(Failure::usage(anyhow!(
            "--member global cannot be combined with others: it is the averaged generator, not a member of the ensemble"
        ))),
        names => {
            let names: std::result::Result<_, _> = names.iter().map(ClientName::new).collect();
            Ok(Selection::Members(names?))
        }
    }
}

fn draw(
    model: &Ensemble,
    selection: &Selection,
    classes: &[u8],
    seed: u64,
    num: u64,
    on: Hardware,
    stop: &AtomicBool,
) -> Result<Vec<u8>> {
    if !(1..=MAX_AT_ONCE).contains(&num) {
        return Err(usage(format!("n = {num} must be from 1 to {MAX_AT_ONCE}")));
    }
    let (device, jobs) = (on.device.open()?, jobs_or_cores(on.jobs)?);
    let draw = Draw { classes, ..Draw::new(seed, 0..num, device, jobs) };
    Ok(model.sample_while(&|| check(stop), selection, &draw)?)
}

fn check(stop: &AtomicBool) -> effgan_fl::Result<()> {
    if stop.load(Ordering::Relaxed) { Err(FlError::Interrupted) } else { Ok(()) }
}

fn usage(line: String) -> Failure {
    Failure::usage(anyhow!(line))
}
