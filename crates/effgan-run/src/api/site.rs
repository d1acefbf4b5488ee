//! A site's half of a federation, for the program that carries its messages.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::anyhow;
use effgan_fl::Refusal;

use super::inputs::jobs_or_cores;
use crate::failure::{Failure, Result};
use crate::protocol::ledger::Asked;
use crate::protocol::ledger::Ledger;
use crate::protocol::{self, Content, SiteImages, SiteSettings};

/// The reply of a site to a message of Flower's type `kind`; `policy` is the site's `policy.toml`. A failure is a reply, too: the code
/// of a refusal.
///
/// # Errors
/// [`Kind::Interrupted`](crate::Kind::Interrupted) when `stop` becomes true; [`Kind::Usage`](crate::Kind::Usage) when `jobs` is out
/// of bounds.
pub fn answer(
    images: SiteImages,
    state_dir: PathBuf,
    policy: Option<PathBuf>,
    jobs: Option<usize>,
    kind: &str,
    message: Content,
    stop: &AtomicBool,
) -> Result<Content> {
    let at_site = SiteSettings { images, state_dir, policy, jobs: jobs_or_cores(jobs)? };
    protocol::answer(&at_site, kind, message, stop)
}

/// What a site's ledger records of a message of Flower's type `kind`, as JSON: an argument of [`write_refusal`].
pub fn question_of(kind: &str, message: Content) -> String {
    serde_json::to_string(&protocol::asked_of(kind, message)).expect("a question is plain data")
}

/// Records in a site's ledger that `question` was refused for the reason `why`, when [`answer`] was not called or did not return.
///
/// Returns the head of the ledger; `None` where the site keeps no ledger. `names_files` says whether the site was given a folder of
/// images.
///
/// # Errors
/// When `refusal` is not a code of a refusal, `question` does not come from [`question_of`], or the line cannot be written to disk.
pub fn write_refusal(
    state_dir: &Path,
    policy: Option<&Path>,
    names_files: bool,
    question: &str,
    refusal: &str,
    why: &str,
) -> Result<Option<String>> {
    let code =
        Refusal::of_code(refusal).ok_or_else(|| Failure::usage(anyhow!("{refusal:?} is not a code of a refusal")))?;
    let question: Asked = serde_json::from_str(question).map_err(Failure::usage)?;
    let policy = protocol::policy_file(policy, names_files, state_dir);
    policy.map(|policy| protocol::write_refusal(&policy, question, code, why)).transpose()
}

/// Verifies the ledger in the folder `site` and returns the number of its lines.
///
/// # Errors
/// The first line that has been changed.
pub fn verify_ledger(site: &Path) -> Result<u64> {
    Ok(Ledger::of(site).read(|_, _| ()).map_err(anyhow::Error::from)?.lines)
}

/// The ledger in the folder `site` as a text table and as an HTML page.
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
