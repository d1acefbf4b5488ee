//! `samples/summary.png`: the generators of a run beside real images, each with its score.

use std::io::Error;
use std::path::PathBuf;

use super::grid_name::{grid_of_round, round_of_grid};
use super::run_dir::RunDir;
use crate::record::events::{Score, Scored};
use crate::record::pictures::{captioned, save_png};

/// Draws `samples/summary.png`: samples of the averaged generator, of the mean of members and of the ensemble, and real images, side by side.
///
/// # Errors
/// When a grid cannot be read or the picture cannot be written.
pub(crate) fn save(dir: &RunDir, scores: &[Score]) -> anyhow::Result<()> {
    let mean = if dir.info().mean_is_fedgan { "FedGAN at equal work" } else { Scored::MeanOfMembers.title() };
    let mut panels = Vec::new();
    for (of, title) in [
        (Scored::Average, Scored::Average.title()),
        (Scored::MeanOfMembers, mean),
        (Scored::Ensemble, Scored::Ensemble.title()),
        (Scored::Floor, "real images"),
    ] {
        // The latest score, preferring the batch-norm statistics with which the grid was drawn.
        let best = scores.iter().filter(|score| score.of == of).max_by_key(|score| (score.round, is_drawn(score)));
        if let Some(score) = best {
            let picture = image::open(file(dir, &grid_name(of, score.round)))?.to_rgb8();
            panels.push((
                title.to_owned(),
                format!("{} {}", score.main_metric().label, score.main_metric().brief(score.main())),
                picture,
            ));
        } else if let Some(path) = unscored_grid(dir, of)? {
            panels.push((title.to_owned(), String::new(), image::open(path)?.to_rgb8()));
        }
    }
    save_png(&file(dir, "summary"), &captioned(&panels))
}

/// Whether the grid shows the images of this score.
fn is_drawn(score: &Score) -> bool {
    score.norm_statistics != Some(effgan_fl::ensemble::NormStatistics::Average)
}

/// The grid of a generator that was drawn but not scored; of the averaged generator, the one after its last round.
fn unscored_grid(dir: &RunDir, of: Scored) -> anyhow::Result<Option<PathBuf>> {
    if of != Scored::Average {
        return Ok(Some(file(dir, &grid_name(of, 0))).filter(|path| path.is_file()));
    }
    let files: Vec<PathBuf> =
        dir.join("samples").read_dir()?.map(|entry| Ok(entry?.path())).collect::<Result<_, Error>>()?;
    let round = |path: &PathBuf| path.file_stem().and_then(|name| round_of_grid(&name.to_string_lossy()));
    Ok(files.into_iter().filter_map(|path| Some((round(&path)?, path))).max().map(|(_, path)| path))
}

fn grid_name(of: Scored, round: u32) -> String {
    match of {
        Scored::Floor => "real".into(),
        Scored::Average => grid_of_round(round),
        Scored::MeanOfMembers => "mean_of_members".into(),
        Scored::Ensemble => "ensemble".into(),
    }
}

fn file(dir: &RunDir, name: &str) -> PathBuf {
    dir.join("samples").join(format!("{name}.png"))
}
