//! What a run writes down while it works: its folder, the events, the pictures.

mod append;
pub mod csv_file;
pub mod events;
pub(crate) mod grid_name;
pub mod machine;
pub mod pictures;
pub mod run_dir;
pub mod run_info;
pub mod summary;
mod tensorboard;
