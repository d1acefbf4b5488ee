//! Pictures of samples, inside of the page.

use std::fs;
use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, ImageReader};
use serde::Serialize;

use super::folder::Folder;
use super::partition::{Mix, mixes};
use super::scores::average_name;
use super::units::{count, three_digits};
use crate::events::{Score, Scored};

/// Pictures that are wider are shown smaller than they are, where hard pixels would become uneven.
const SHOWN_LARGER: u32 = 240;

/// Rounds that are shown at most.
const MOST_ROUNDS: usize = 24;

/// A PNG file as a data URI.
#[derive(Serialize)]
pub(super) struct Picture {
    uri: String,
    width: u32,
    height: u32,
    /// Whether it is shown larger than it is, with hard pixels.
    pixels: bool,
    alt: String,
}

/// The sample file `name`; none when it is missing or no picture.
fn picture(folder: &Folder, name: &str, alt: String) -> Option<Picture> {
    let bytes = fs::read(folder.sample_path(name)).ok()?;
    let (width, height) = ImageReader::with_format(Cursor::new(&bytes), ImageFormat::Png).into_dimensions().ok()?;
    let uri = format!("data:image/png;base64,{}", STANDARD.encode(&bytes));
    Some(Picture { uri, width, height, pixels: width <= SHOWN_LARGER, alt })
}

/// One of the pictures that stand side by side, with its scores.
#[derive(Serialize)]
pub(super) struct Panel {
    class: &'static str,
    title: String,
    note: String,
    picture: Option<Picture>,
    fd: Option<String>,
    kl: String,
    modes: String,
    classes: usize,
    mix: Option<Mix>,
}

/// Averaged generator, mean of members, ensemble, real images: those that were drawn or scored.
pub(super) fn comparison(folder: &Folder) -> Vec<Panel> {
    let (average, round) = round_files(folder).pop().unwrap_or_default();
    let after = if round == 0 { String::new() } else { format!("after round {round}") };
    let title = average_name(folder).trim_start_matches("the ");
    let mean_note = if folder.info.mean_is_fedgan { "FedGAN at equal work" } else { "averaged once more" };
    let rows = [
        (Scored::Average, "average", title, after.as_str(), average.as_str()),
        (Scored::MeanOfMembers, "mean", "mean of members", mean_note, "mean_of_members.png"),
        (Scored::Ensemble, "ensemble", "ensemble", "of the members", "ensemble.png"),
        (Scored::Floor, "level", "real images", "the floor of the score", "real.png"),
    ];
    let scores: Vec<Option<&Score>> = rows.iter().map(|row| folder.latest(row.0)).collect();
    let counts: Vec<&[u64]> = scores.iter().flatten().map(|score| score.scores.class_counts.as_slice()).collect();
    let mut mixes = mixes(&counts).into_iter();
    let mut panels = Vec::new();
    for ((_, class, title, note, file), score) in rows.into_iter().zip(scores) {
        let picture = picture(folder, file, format!("samples: {title}"));
        let mix = score.and_then(|_| mixes.next());
        if picture.is_some() || score.is_some() {
            panels.push(panel(class, title, note, picture, score, mix));
        }
    }
    panels
}

fn panel(
    class: &'static str,
    title: &str,
    note: &str,
    picture: Option<Picture>,
    score: Option<&Score>,
    mix: Option<Mix>,
) -> Panel {
    Panel {
        class,
        title: title.into(),
        note: note.into(),
        picture,
        fd: score.map(|score| three_digits(score.scores.fd_small)),
        kl: score.map(|score| format!("{:.3}", score.scores.class_kl)).unwrap_or_default(),
        modes: score.map(|score| score.scores.modes.to_string()).unwrap_or_default(),
        classes: score.map_or(0, |score| score.scores.class_counts.len()),
        mix,
    }
}

/// A picture and what it is called.
#[derive(Serialize)]
pub(super) struct Titled {
    title: String,
    note: String,
    picture: Picture,
    mix: Option<Mix>,
}

/// The averaged generator over the rounds.
#[derive(Serialize)]
pub(super) struct Rounds {
    shown: Vec<Titled>,
    /// Every how many rounds one is shown, counted from the last.
    every: usize,
}

/// The averaged generator after each round, or after an even choice of them.
pub(super) fn rounds(folder: &Folder) -> Rounds {
    let files = round_files(folder);
    let every = files.len().div_ceil(MOST_ROUNDS).max(1);
    let titled = |(file, round): &(String, u32)| {
        let title = format!("round {round}");
        let picture = picture(folder, file, format!("samples after {title}"))?;
        Some(Titled { title, note: String::new(), picture, mix: None })
    };
    let mut shown: Vec<Titled> = files.iter().rev().step_by(every).filter_map(titled).collect();
    shown.reverse();
    Rounds { shown, every }
}

/// Names and rounds of the files `round_….png`, by round.
fn round_files(folder: &Folder) -> Vec<(String, u32)> {
    let round = |name: &str| name.strip_prefix("round_")?.strip_suffix(".png")?.parse().ok();
    let mut files: Vec<(String, u32)> =
        folder.sample_files().into_iter().filter_map(|name| round(&name).map(|round| (name, round))).collect();
    files.sort_by_key(|file| file.1);
    files
}

/// The members of the ensemble that were drawn, each with the classes that it was trained on.
pub(super) fn members(folder: &Folder) -> Vec<Titled> {
    let partition = &folder.info.partition;
    let files = folder.sample_files();
    let names: Vec<&str> = files.iter().filter_map(|file| file.strip_prefix("member_")?.strip_suffix(".png")).collect();
    let place = |name: &str| partition.clients.iter().position(|client| client == name);
    let classes = |name: &str| place(name).and_then(|i| partition.class_counts.get(i)).map_or(&[][..], Vec::as_slice);
    let mixes = mixes(&names.iter().map(|name| classes(name)).collect::<Vec<_>>());
    let member = |(name, mix): (&&str, Mix)| {
        let picture = picture(folder, &format!("member_{name}.png"), format!("samples of {name}"))?;
        let note = format!("n\u{a0}=\u{a0}{}", count(classes(name).iter().sum()));
        let known = !classes(name).is_empty();
        Some(Titled {
            title: (*name).into(),
            note: if known { note } else { String::new() },
            picture,
            mix: known.then_some(mix),
        })
    };
    names.iter().zip(mixes).filter_map(member).collect()
}
