//! Federated GANs: a run from its config to its report, on one machine or across sites that keep their images.
//!
//! A **run** reads a [`Config`] (one TOML file), splits a data set among clients (or connects to sites that have images of their own),
//! trains a generator with a federated algorithm, collects an ensemble where the algorithm has one, scores what it generates, and
//! leaves a **run folder**: config, events, checkpoints, samples, a model, and a report. A run that was interrupted is resumed from
//! its folder, with the same bits as an uninterrupted one.
//!
//! ```
//! use std::sync::{atomic::AtomicBool, mpsc};
//!
//! use effgan_fl::{Ensemble, ensemble::Selection, sample::Draw};
//! use effgan_run::pipeline::{self, Execution};
//! use effgan_run::progress::Progress;
//! use effgan_run::record::{events::Event, run_dir::read_events};
//! use effgan_run::{Config, report};
//!
//! // 120 embedded digits, split among three clients by label.
//! let text = r#"
//!     name = "tiny"
//!     seed = 1
//!     dataset = { name = "mnist-mini", limit = 120 }
//!     partition = { kind = "by-label", classes_per_client = 5, clients = 3, held_out = 0.2 }
//!     network = { kind = "dcgan", latent_dim = 8, base_channels = 8 }
//!     local = { batch_size = 16, learning_rate = 2e-3, epochs = 1 }
//!     algorithm = { kind = "effgan", rounds = 1, fine_tune_epochs = 1 }
//!     evaluation = { samples = 200 }
//! "#;
//! let config = Config::parse(text, &[])?;
//! let place = tempfile::tempdir().expect("a temporary folder");
//! let folder = place.path().join("tiny");
//!
//! // A run, followed from elsewhere: a page would read `receiver` on a thread of its own.
//! let (sender, receiver) = mpsc::channel();
//! let progress = Progress::events(move |event| {
//!     let _ = sender.send(event.clone()); // fails once nobody follows
//! });
//! let stop = AtomicBool::new(false); // may be set elsewhere, and ends the run with `Kind::Interrupted`
//! let execution = Execution::new(Some(2), &progress, &stop);
//! pipeline::run(&config, &folder, execution)?;
//! let events: Vec<Event> = receiver.try_iter().collect();
//! assert!(events.iter().any(|event| matches!(event, Event::Round(round) if round.clients.len() == 3)));
//!
//! // `metrics.jsonl` has the same events, also while the run is under way.
//! let (recorded, unreadable) = read_events(&folder)?;
//! assert!(recorded == events && unreadable.is_empty());
//!
//! let model = Ensemble::open(&folder)?;
//! let draw = Draw::new(1, 0..16, config.device()?, execution.jobs());
//! assert_eq!(model.sample(&Selection::Ensemble, &draw)?.len(), 16 * 28 * 28); // u8 [16, 1, 28, 28]
//! let evaluation = pipeline::evaluate(&folder, 200, execution)?;
//! assert!(evaluation.scores.all().any(|(metric, value)| metric.name == "coverage" && value <= 1.0));
//! assert!(report::write(&folder)?.is_file());
//!
//! // After an interruption the run is resumed; one that is done is extended. Each line is one that `effgan resume` would print.
//! let progress = Progress::lines(|line| println!("{line}"));
//! pipeline::resume(&folder, &["algorithm.rounds=2".to_owned()], Execution::new(Some(2), &progress, &stop))?;
//! # effgan_run::Result::Ok(())
//! ```
//!
//! The modules, in the order in which to read them:
//!
//! - [`config`]: the config file and its checks;
//! - [`pipeline`]: [`run`](pipeline::run), [`resume`](pipeline::resume) and [`federate`](pipeline::federate), top to bottom, each by an
//!   [`Execution`](pipeline::Execution): threads, listener, stop;
//! - [`privacy`]: what private training costs each client, before it begins;
//! - [`progress`]: what a run reports while it works, to a [`Listener`](progress::Listener): its stream of
//!   [`Event`](record::events::Event)s;
//! - [`record`]: the run folder, its [`events`](record::events) and pictures;
//! - [`scores`]: scores of generated images, during a run and afterwards;
//! - [`report`]: the run folder as one HTML page and two CSV tables;
//! - [`sweep`]: grids of runs;
//! - [`protocol`]: what server and sites of a federation say to each other, and what a site allows;
//! - [`api`]: the same as single calls on plain values, for Python;
//! - [`failure`] and [`units`]: errors, and numbers as text.
//!
//! Each module imports only from those before it in the order failure, units; config; privacy; record; scores; report, progress; protocol;
//! pipeline; sweep; api. The crate prints nothing: a listener is called, and warnings go to the [`log`] facade.

#![forbid(unsafe_code)]

pub mod api;
pub mod config;
pub mod failure;
pub mod pipeline;
pub mod privacy;
pub mod progress;
pub mod protocol;
pub mod record;
pub mod report;
pub mod scores;
mod steps;
pub mod sweep;
pub mod units;

pub use self::config::Config;
pub use self::failure::{Failure, Kind, Result};
