//! The native half of `effgan.flower`: the server of a federation, for which Python carries messages, and a site's replies.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, sync_channel};

use effgan_data::ClientName;
use effgan_fl::{FlError, Strategy, StrategyReply};
use effgan_nn::Params;
use effgan_run::api::{self, Content, Grid, MessageId, NodeId, Pulled, Run, SiteImages, StrategyConfig};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::errors::{exception, usage};
use crate::{arguments, run, tensors, work};

/// Runs a federation into the folder `out`, or resumes the one that is there. `server` is the server's folder, whose list maps nodes to
/// sites. On the caller's thread, `nodes`, `push` and `pull` are called to carry messages, `aggregate` where the config names a strategy,
/// and `log` with a line per round.
#[pyfunction]
#[pyo3(signature = (config, *, out, nodes, push, pull, aggregate, log, server=None, settings=None, jobs=None))]
#[allow(clippy::too_many_arguments, reason = "each has its name in Python")]
pub fn federate(
    config: &Bound<'_, PyAny>,
    out: PathBuf,
    nodes: &Bound<'_, PyAny>,
    push: &Bound<'_, PyAny>,
    pull: &Bound<'_, PyAny>,
    aggregate: &Bound<'_, PyAny>,
    log: &Bound<'_, PyAny>,
    server: Option<PathBuf>,
    settings: Option<&Bound<'_, PyDict>>,
    jobs: Option<i64>,
) -> PyResult<PathBuf> {
    let settings = settings.map(|settings| arguments::tables(settings, "settings")).transpose()?.unwrap_or_default();
    let jobs = arguments::some_count(jobs, "jobs")?;
    let run = Run { config: run::source(config)?, settings, seed: None, out: Some(out), jobs };
    let flower = Flower { nodes, push, pull, aggregate, log };
    let federate = |stop: &_, calls: Sender<Call>| {
        let log = calls.clone();
        // After Ctrl-C there may be no receiver any more.
        api::federate(run, server, &mut Calls(calls), stop, move |line| {
            drop(log.send(Call::Log(line.into())));
        })
    };
    work::work(config.py(), federate, |call| flower.handle(call))
}

/// The site's reply to a message of the type `kind`: arrays, numbers and words by name.
#[pyfunction]
#[pyo3(signature = (kind, arrays, numbers, words, *, state_dir, policy=None, data_dir=None, client_name=None, partition_id=None, jobs=None))]
#[allow(clippy::too_many_arguments, reason = "each has its name in Python")]
pub fn answer<'py>(
    py: Python<'py>,
    kind: &str,
    arrays: &Bound<'py, PyDict>,
    numbers: &Bound<'py, PyDict>,
    words: BTreeMap<String, String>,
    state_dir: PathBuf,
    policy: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    client_name: Option<&str>,
    partition_id: Option<i64>,
    jobs: Option<i64>,
) -> PyResult<Bound<'py, PyTuple>> {
    let images = images(data_dir, client_name, partition_id)?;
    let params = tensors::of_dict(arrays, "arrays")?;
    let message = Content { params, numbers: tensors::numbers(numbers, "numbers")?, words };
    let jobs = arguments::some_count(jobs, "jobs")?;
    let answer = work::quietly(py, |stop| api::answer(images, state_dir, policy, jobs, kind, message, stop))?;
    content_to_python(py, answer)
}

/// What the site's ledger records of a message of the type `kind`, as JSON.
#[pyfunction]
pub fn question_of(
    kind: &str,
    arrays: &Bound<'_, PyDict>,
    numbers: &Bound<'_, PyDict>,
    words: BTreeMap<String, String>,
) -> PyResult<String> {
    let params = tensors::of_dict(arrays, "arrays")?;
    Ok(api::question_of(kind, Content { params, numbers: tensors::numbers(numbers, "numbers")?, words }))
}

/// Records in the site's ledger that `question`, from [`question_of`], is refused with the code `refusal`; returns the ledger's head.
#[pyfunction]
#[pyo3(signature = (question, refusal, why, *, state_dir, policy=None, data_dir=None))]
#[allow(clippy::needless_pass_by_value, reason = "pyo3 passes paths by value")]
pub fn write_refusal(
    question: &str,
    refusal: &str,
    why: &str,
    state_dir: PathBuf,
    policy: Option<PathBuf>,
    data_dir: Option<PathBuf>,
) -> PyResult<Option<String>> {
    let head = api::write_refusal(&state_dir, policy.as_deref(), data_dir.is_some(), question, refusal, why);
    head.map_err(|failure| exception(&failure))
}

fn images(data_dir: Option<PathBuf>, client_name: Option<&str>, partition_id: Option<i64>) -> PyResult<SiteImages> {
    match (data_dir, client_name, partition_id) {
        (data_dir, None, Some(partition_id)) => {
            let partition_id = arguments::count(partition_id, "partition-id")? as usize;
            Ok(SiteImages::Assigned { partition_id, data_dir })
        }
        (Some(data_dir), Some(name), None) => {
            let client = ClientName::new(name).map_err(|error| usage(format!("client-name: {error}")))?;
            Ok(SiteImages::Own { data_dir, client })
        }
        _ => Err(usage(
            "a site is started with data-dir and client-name in its --node-config, or for experiments with partition-id".into(),
        )),
    }
}

/// A call from the server's thread to Python's.
enum Call {
    Log(String),
    Nodes(SyncSender<Vec<NodeId>>),
    Push {
        node: NodeId,
        kind: String,
        content: Content,
        seconds: f64,
        done: SyncSender<MessageId>,
    },
    Pull {
        messages: Vec<(MessageId, u64)>,
        done: SyncSender<Option<Pulled>>,
    },
    Aggregate {
        strategy: StrategyConfig,
        round: u32,
        current: Params,
        replies: Vec<StrategyReply>,
        memory: Params,
        done: SyncSender<(Params, Params)>,
    },
}

/// A grid whose every step is a call to Python. When a call fails, the run ends and Python's exception says why.
struct Calls(Sender<Call>);

impl Calls {
    fn ask<T>(&self, call: impl FnOnce(SyncSender<T>) -> Call) -> effgan_fl::Result<T> {
        let (done, answer) = sync_channel(1);
        self.0.send(call(done)).map_err(|_| FlError::Interrupted)?;
        answer.recv().map_err(|_| FlError::Interrupted)
    }
}

impl Grid for Calls {
    fn nodes(&mut self) -> effgan_fl::Result<Vec<NodeId>> {
        self.ask(Call::Nodes)
    }

    fn push(&mut self, node: NodeId, kind: &str, content: Content, seconds: f64) -> effgan_fl::Result<MessageId> {
        self.ask(|done| Call::Push { node, kind: kind.into(), content, seconds, done })
    }

    fn pull(&mut self, messages: &[(MessageId, u64)]) -> effgan_fl::Result<Option<Pulled>> {
        self.ask(|done| Call::Pull { messages: messages.to_vec(), done })
    }

    fn strategy(&self, config: &StrategyConfig) -> Arc<dyn Strategy> {
        Arc::new(Called { calls: Self(self.0.clone()), config: config.clone() })
    }
}

/// A strategy that Python computes.
struct Called {
    calls: Calls,
    config: StrategyConfig,
}

impl Strategy for Called {
    fn aggregate(
        &self,
        round: u32,
        current: Params,
        replies: Vec<StrategyReply>,
        memory: Params,
    ) -> effgan_fl::Result<(Params, Params)> {
        let strategy = self.config.clone();
        self.calls.ask(|done| Call::Aggregate { strategy, round, current, replies, memory, done })
    }
}

/// The Python callables behind the calls.
struct Flower<'a, 'py> {
    nodes: &'a Bound<'py, PyAny>,
    push: &'a Bound<'py, PyAny>,
    pull: &'a Bound<'py, PyAny>,
    aggregate: &'a Bound<'py, PyAny>,
    log: &'a Bound<'py, PyAny>,
}

impl Flower<'_, '_> {
    /// Makes a call and sends its result back.
    fn handle(&self, call: Call) -> PyResult<()> {
        let py = self.log.py();
        // A run that has ended no longer receives results.
        match call {
            Call::Log(line) => drop(self.log.call1((line,))?),
            Call::Nodes(done) => drop(done.send(self.nodes.call0()?.extract()?)),
            Call::Push { node, kind, content, seconds, done } => {
                let content = content_to_python(py, content)?;
                drop(done.send(self.push.call1((node, kind, content, seconds))?.extract()?));
            }
            Call::Pull { messages, done } => drop(done.send(pulled(&self.pull.call1((messages,))?)?)),
            Call::Aggregate { strategy, round, current, replies, memory, done } => {
                let settings = py.import("json")?.getattr("loads")?.call1((json(&strategy),))?;
                let replies =
                    replies.into_iter().map(|reply| Ok((reply.num_examples, tensors::to_dict(py, reply.params)?)));
                let replies = replies.collect::<PyResult<Vec<_>>>()?;
                let (current, memory) = (tensors::to_dict(py, current)?, tensors::to_dict(py, memory)?);
                let made = self.aggregate.call1((strategy.name, settings, round, current, replies, memory))?;
                let (params, memory): (Bound<'_, PyDict>, Bound<'_, PyDict>) = made.extract()?;
                let made = (tensors::of_dict(&params, "arrays")?, tensors::of_dict(&memory, "memory")?);
                drop(done.send(made));
            }
        }
        Ok(())
    }
}

fn json(strategy: &StrategyConfig) -> String {
    serde_json::to_string(&strategy.settings).expect("settings are plain data")
}

/// Converts a pulled reply: `None`, or a message's id with its content or with the reason why there is none.
fn pulled(reply: &Bound<'_, PyAny>) -> PyResult<Option<Pulled>> {
    let Some((id, content)) = reply.extract::<Option<(MessageId, Bound<'_, PyAny>)>>()? else { return Ok(None) };
    let content = match content.extract::<String>() {
        Ok(reason) => Err(reason),
        // The text of the error may be the site's and is not repeated.
        Err(_) => content_of_python(&content)
            .map_err(|_| "unusable reply: it contains more than arrays, numbers and words".into()),
    };
    Ok(Some((id, content)))
}

fn content_to_python(py: Python<'_>, content: Content) -> PyResult<Bound<'_, PyTuple>> {
    let Content { params, numbers, words } = content;
    (tensors::to_dict(py, params)?, numbers, words).into_pyobject(py)
}

fn content_of_python(content: &Bound<'_, PyAny>) -> PyResult<Content> {
    let (arrays, numbers, words): (Bound<'_, PyDict>, Bound<'_, PyDict>, BTreeMap<String, String>) =
        content.extract()?;
    let params = tensors::of_dict(&arrays, "arrays")?;
    Ok(Content { params, numbers: tensors::numbers(&numbers, "numbers")?, words })
}
