//! The images of a site as `--client`, `--data` and `--partition-id` name them.

use std::path::PathBuf;

use anyhow::anyhow;
use effgan_data::ClientName;
use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::SiteImages;

/// The images that a command line names.
///
/// # Errors
/// When `client` is not a valid name.
pub(super) fn site_images(
    client: Option<String>,
    data_dir: Option<PathBuf>,
    partition_id: Option<usize>,
) -> Result<SiteImages> {
    match (client, data_dir, partition_id) {
        (Some(client), Some(data_dir), None) => {
            let client = ClientName::new(client).map_err(|error| Failure::usage(anyhow!("--client: {error}")))?;
            Ok(SiteImages::Own { data_dir, client })
        }
        (_, data_dir, partition_id) => {
            Ok(SiteImages::Assigned { partition_id: partition_id.unwrap_or_default(), data_dir })
        }
    }
}
