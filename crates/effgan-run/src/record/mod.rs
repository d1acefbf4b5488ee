//! What a run records while it works: its folder, the events, the pictures.
//!
//! [`run_dir`] is the folder; [`events`] are the lines of its `metrics.jsonl`, [`run_info`] is its `run.json`. The report
//! is made from these files alone. `docs/run-folder.md` documents them.

mod append;
pub mod csv_file;
pub(crate) mod data_hash;
pub mod events;
pub(crate) mod grid_name;
pub mod loss_key;
pub mod machine;
pub mod pictures;
pub mod run_dir;
pub mod run_info;
pub(crate) mod samples;
pub(crate) mod summary;
mod tensorboard;
mod verdict;
