//! A run, samples and scores as calls: what Python needs, by the code that the commands use.
//!
//! Each call works on the caller's thread and on `jobs` of its own, and ends early with [`Kind::Interrupted`](crate::Kind::Interrupted)
//! when its `stop` becomes true.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;
use effgan_data::{ClientName, ClientShare, Dataset, DatasetConfig, DatasetName};
use effgan_fl::ensemble::Selection;
use effgan_fl::{Ensemble, FlError, Refusal};
use effgan_nn::kernels::Isa;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::Config;
pub use crate::config::StrategyConfig;
pub use crate::contract::{Members, Steps};
use crate::failure::{Failure, Result};
use crate::pipeline;
use crate::progress::Progress;
use crate::protocol::ledger::Asked;
use crate::protocol::ledger::Ledger;
pub use crate::protocol::retention::prune;
use crate::protocol::{self, SiteList, SiteSettings};
pub use crate::protocol::{Content, Grid, MessageId, NodeId, Pulled, SiteImages};
use crate::record::events::Event;
use crate::record::machine;
pub use crate::scores::Evaluation;
use crate::scores::{FeatureNet, Images, Question, Reference};

/// Images of one call: all of them are in memory.
const MOST_AT_ONCE: u64 = 10_000_000;

/// What to run, and where.
#[derive(Clone, Debug)]
pub struct Run {
    /// The experiment.
    pub config: Source,
    /// Values of the config to replace, by `section.key`.
    pub settings: Map<String, Value>,
    /// Replaces the config's seed.
    pub seed: Option<u64>,
    /// The run folder, which must not exist; `runs/` and the config's name when absent.
    pub out: Option<PathBuf>,
    /// Threads, ≥ 1; all cores when absent. Changes no result.
    pub jobs: Option<usize>,
}

/// A config.
#[derive(Clone, Debug)]
pub enum Source {
    /// A TOML file.
    File(PathBuf),
    /// The tables of one.
    Tables(Map<String, Value>),
}

/// Trains as `run` says and answers with its folder. `tell` is given each round and each score as it is done, as a line of `metrics.jsonl`.
///
/// # Errors
/// As `effgan run`.
pub fn run(run: Run, stop: &AtomicBool, tell: impl Fn(String) + Send + Sync + 'static) -> Result<PathBuf> {
    let (jobs, (config, out)) = (jobs_or_cores(run.jobs)?, config_and_out(run)?);
    pipeline::run(&config, &out, jobs, &telling(tell), stop)?;
    Ok(out)
}

/// Runs a federation over the sites that `grid` reaches, or goes on with the one in the folder `out`; answers with the folder. `log` is
/// given a line a round.
///
/// # Errors
/// A wrong config; sites that do not come; then as [`run`].
pub fn federate(
    run: Run,
    server: Option<PathBuf>,
    grid: &mut dyn Grid,
    stop: &AtomicBool,
    log: impl Fn(&str) + Send + Sync + 'static,
) -> Result<PathBuf> {
    let (jobs, (config, out)) = (jobs_or_cores(run.jobs)?, config_and_out(run)?);
    let list = server.map(SiteList::of);
    pipeline::federate(&config, &out, jobs, grid, list, &Progress::lines(log), stop)?;
    Ok(out)
}

/// What the site says to a message of Flower's type `kind`, with `jobs` threads; `policy` is the site's `policy.toml`. What goes wrong is
/// an answer too: the code of a refusal.
///
/// # Errors
/// [`Kind::Interrupted`](crate::Kind::Interrupted) when `stop` becomes true; `jobs` out of its bounds.
pub fn answer(
    images: SiteImages,
    state_dir: PathBuf,
    policy: Option<PathBuf>,
    jobs: Option<usize>,
    kind: &str,
    message: Content,
    stop: &AtomicBool,
) -> Result<Content> {
    let settings = SiteSettings { images, state_dir, policy, jobs: jobs_or_cores(jobs)? };
    protocol::answer(&settings, kind, message, stop)
}

/// What a site's ledger has of a message of Flower's type `kind`, as JSON: for [`write_refusal`].
pub fn question_of(kind: &str, message: Content) -> String {
    serde_json::to_string(&protocol::asked_of(kind, message)).expect("a question is plain data")
}

/// Writes into the site's ledger that `question` was refused, with `why`, where [`answer`] was not called or not to its end; answers with the
/// ledger's head, or with nothing where the site keeps none. `names_files` says whether the site was given a folder of images.
///
/// # Errors
/// A `refusal` that is no code of the list, a `question` that is none; when the line is not on the disk.
pub fn write_refusal(
    state_dir: &Path,
    policy: Option<&Path>,
    names_files: bool,
    question: &str,
    refusal: &str,
    why: &str,
) -> Result<Option<String>> {
    let code =
        Refusal::of_code(refusal).ok_or_else(|| Failure::usage(anyhow!("{refusal:?} is no code of a refusal")))?;
    let asked: Asked = serde_json::from_str(question).map_err(Failure::usage)?;
    let policy = protocol::policy_file(policy, names_files, state_dir);
    policy.map(|policy| protocol::write_refusal(&policy, asked, code, why)).transpose()
}

/// Reads the ledger in the folder `site` line by line; answers with how many lines there are, each as it was written.
///
/// # Errors
/// The first line that is not.
pub fn verify_ledger(site: &Path) -> Result<u64> {
    Ok(Ledger::of(site).read(|_, _| ()).map_err(anyhow::Error::from)?.lines)
}

/// Shows the ledger in the folder `site` as a table and as a page.
///
/// # Errors
/// As [`verify_ledger`].
pub fn show_ledger(site: &Path) -> Result<[Vec<u8>; 2]> {
    let (mut table, mut page) = (Vec::new(), Vec::new());
    protocol::ledger::table(&Ledger::of(site), &mut table)
        .map_err(anyhow::Error::from)?
        .map_err(anyhow::Error::from)?;
    protocol::ledger::page(&Ledger::of(site), &mut page).map_err(anyhow::Error::from)?.map_err(anyhow::Error::from)?;
    Ok([table, page])
}

/// The steps of the algorithm of a config for `clients` with so many training images each, of this shape and number of classes.
///
/// # Errors
/// What is wrong with the config.
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

/// What one client of a config trains on.
pub struct Share {
    /// Who.
    pub name: ClientName,
    /// u8 `[n, c, h, w]`.
    pub pixels: Vec<u8>,
    /// `[n]`
    pub labels: Vec<u8>,
    /// `[c, h, w]`
    pub shape: [usize; 3],
}

/// What each client of a config trains on, in the order of names.
///
/// # Errors
/// As `effgan run`, before it makes its folder.
pub fn deal(config: Source, settings: &Map<String, Value>) -> Result<Vec<Share>> {
    let config = config_of(config, &toml_settings(settings)?)?;
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

fn config_of(source: Source, settings: &[String]) -> Result<Config> {
    match source {
        Source::File(path) => Config::load(&path, settings),
        Source::Tables(tables) => Config::parse(&toml_text(&tables, "the config")?, settings),
    }
}

/// Goes on with the run in `path`, as `effgan resume`; `tell` is given what is done from here on, as in [`run`].
///
/// # Errors
/// As `effgan resume`.
pub fn resume(
    path: &Path,
    settings: &Map<String, Value>,
    jobs: Option<usize>,
    stop: &AtomicBool,
    tell: impl Fn(String) + Send + Sync + 'static,
) -> Result<()> {
    pipeline::resume(path, &toml_settings(settings)?, jobs_or_cores(jobs)?, &telling(tell), stop)
}

fn telling(tell: impl Fn(String) + Send + Sync + 'static) -> Progress {
    Progress::events(move |event: &Event| {
        if matches!(event, Event::Round(_) | Event::Score(_)) {
            tell(serde_json::to_string(event).expect("an event is plain data"));
        }
    })
}

fn toml_settings(settings: &Map<String, Value>) -> Result<Vec<String>> {
    settings.iter().map(|(key, value)| setting(key, value)).collect()
}

/// The config in the TOML `text` with every key, as a run folder keeps it: it gives the same config again.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage), naming the line or the key.
pub fn resolved_config(text: &str) -> Result<String> {
    Config::parse(text, &[]).map(|config| config.to_toml())
}

/// Images `0..num` of `seed`, u8 `[num, c, h, w]`: from the ensemble, from these `members` of it, or from the averaged generator, which is called
/// `global`.
///
/// # Errors
/// A member that the model does not have; a file that is not what the manifest says.
pub fn sample(
    model: &Ensemble,
    members: &[String],
    seed: u64,
    num: u64,
    jobs: Option<usize>,
    stop: &AtomicBool,
) -> Result<Vec<u8>> {
    let selection = selection(members)?;
    draw(model, &selection, seed, num, jobs_or_cores(jobs)?, stop)
}

/// What is scored.
#[derive(Debug)]
pub enum Scored<'a> {
    /// u8 images `[n, c, h, w]` and their shape.
    Images(&'a [u8], [usize; 4]),
    /// Samples of the ensemble, with this seed.
    Model(&'a Ensemble, u64),
}

/// Scores `n` images against the first `n` test images of a data set: a name, or the keys of a config's `[dataset]`. All images when `n` is absent, or
/// as many samples as the test split has images.
///
/// # Errors
/// When there are fewer images than `n`, or they have another shape than the reference's.
pub fn evaluate(
    scored: &Scored,
    reference: &Value,
    n: Option<usize>,
    jobs: Option<usize>,
    stop: &AtomicBool,
) -> Result<Evaluation> {
    let jobs = jobs_or_cores(jobs)?;
    let dataset = dataset(reference)?;
    let images = match scored {
        Scored::Images(images, [_, shape @ ..]) => Images::Pixels(images, *shape),
        Scored::Model(model, seed) => Images::Model(model, Selection::Ensemble, *seed),
    };
    let unknown = || Failure::usage(anyhow!("there is no feature network for the images of {}", dataset.name));
    let network = FeatureNet::of_dataset(dataset.name).ok_or_else(unknown)?;
    let question = Question {
        images,
        name: "images".into(),
        reference: Reference::of_dataset(&dataset),
        network: &network,
        copies_by: &network,
        n,
        in_depth: false,
        shares: Vec::new(),
        jobs,
        stop,
        tell: &|_, _, _| {},
    };
    question.answer()
}

/// Checks what the environment says of the processor, once, before any work.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage) when `EFFGAN_ISA` names no instruction set of this processor.
pub fn check_environment() -> Result<()> {
    Isa::wanted().map(drop).map_err(|error| Failure::usage(anyhow!(error)))
}

/// What `names` of members stand for: none for the ensemble, `global` for the averaged generator.
///
/// # Errors
/// [`Kind::Usage`](effgan_run::Kind::Usage).
pub fn selection(names: &[String]) -> Result<Selection> {
    match names {
        [] => Ok(Selection::Ensemble),
        [name] if name == "global" => Ok(Selection::Global),
        names if names.iter().any(|name| name == "global") => {
            Err(Failure::usage(anyhow!("--member global stands alone: it is no member of the ensemble")))
        }
        names => {
            let names: std::result::Result<_, _> = names.iter().map(ClientName::new).collect();
            Ok(Selection::Members(names?))
        }
    }
}

fn draw(
    model: &Ensemble,
    selection: &Selection,
    seed: u64,
    num: u64,
    jobs: usize,
    stop: &AtomicBool,
) -> Result<Vec<u8>> {
    if !(1..=MOST_AT_ONCE).contains(&num) {
        return Err(usage(format!("n = {num} is outside 1..={MOST_AT_ONCE}")));
    }
    Ok(model.sample_while(&|| go_on(stop), selection, &[], seed, 0..num, jobs)?)
}

fn go_on(stop: &AtomicBool) -> effgan_fl::Result<()> {
    if stop.load(Ordering::Relaxed) { Err(FlError::Interrupted) } else { Ok(()) }
}

fn jobs_or_cores(jobs: Option<usize>) -> Result<usize> {
    match jobs {
        Some(jobs) if !(1..=1024).contains(&jobs) => Err(usage(format!("jobs = {jobs} is outside 1..=1024"))),
        jobs => Ok(jobs.unwrap_or_else(machine::cores)),
    }
}

fn dataset(reference: &Value) -> Result<Dataset> {
    let config = match reference {
        Value::String(name) => DatasetConfig::of(name.parse::<DatasetName>()?),
        tables => DatasetConfig::deserialize(tables).map_err(|error| usage(format!("reference: {error}")))?,
    };
    Ok(config.load()?)
}

/// `section.key=value` with the value in TOML, where a string cannot be taken for anything else.
fn setting(key: &str, value: &Value) -> Result<String> {
    let table = Map::from_iter([("x".to_owned(), value.clone())]);
    let toml: toml::Table = toml_text(&table, key)?.parse().expect("written as TOML a line above");
    Ok(format!("{key}={}", toml["x"]))
}

fn toml_text(tables: &Map<String, Value>, what: &str) -> Result<String> {
    toml::to_string(tables).map_err(|error| usage(format!("{what} cannot be written as TOML: {error}")))
}

fn usage(line: String) -> Failure {
    Failure::usage(anyhow!(line))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_setting_keeps_its_type() {
        let setting = |value: Value| setting("a.b", &value).unwrap();
        assert_eq!(setting(json!(2)), "a.b=2");
        assert_eq!(setting(json!(0.5)), "a.b=0.5");
        assert_eq!(setting(json!("true")), "a.b=\"true\"");
        assert_eq!(setting(json!({ "kind": "iid", "clients": 3 })), "a.b={ clients = 3, kind = \"iid\" }");
    }

    #[test]
    fn what_toml_cannot_say_is_named() {
        let error = setting("local.ema", &Value::Null).unwrap_err().line();
        assert!(error.starts_with("local.ema cannot be written as TOML"), "{error}");
    }
}
