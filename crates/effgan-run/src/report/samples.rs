//! Pictures of samples, embedded in the page.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use effgan_nn::checkpoint::read_file;
use image::{ImageFormat, ImageReader, RgbImage};
use serde::Serialize;

use super::partition::{Mix, mixes};
use super::run_folder::{Folder, one_in};
use super::scores::{self, average_name};
use crate::record::events::{Score, Scored};
use crate::record::pictures::animation;
use crate::units::{count, three_digits};

/// Widest picture that is shown enlarged with hard pixels; wider ones are scaled smoothly.
const SHOWN_LARGER: u32 = 240;

/// Maximum number of bytes of an embedded picture.
const MAX_BYTES: u64 = 1 << 26;
/// Maximum number of rounds that are shown on the page.
const MAX_ROUNDS: usize = 24;
/// Maximum number of frames of the GIF.
const MAX_FRAMES: usize = 60;
/// Maximum number of pixels of all frames together; beyond them, earlier rounds are left out.
const MAX_PIXELS: u64 = 1 << 28;

/// A PNG file as a data URI.
#[derive(Serialize)]
pub(super) struct Picture {
    uri: String,
    width: u32,
    height: u32,
    /// Whether it is shown enlarged, with hard pixels.
    pixels: bool,
    alt: String,
}

/// The sample file `name`; `None` when it is missing or not a picture.
fn picture(folder: &Folder, name: &str, alt: String) -> Option<Picture> {
    let bytes = read_file(&folder.sample_path(name), MAX_BYTES).ok()?;
    let (width, height) = ImageReader::with_format(Cursor::new(&bytes), ImageFormat::Png).into_dimensions().ok()?;
    let uri = format!("data:image/png;base64,{}", STANDARD.encode(&bytes));
    Some(Picture { uri, width, height, pixels: width <= SHOWN_LARGER, alt })
}

/// One of the pictures side by side, with its scores.
#[derive(Serialize)]
pub(super) struct Panel {
    class: &'static str,
    title: String,
    note: String,
    picture: Option<Picture>,
    /// The main metric.
    score: Option<String>,
    /// The other metrics of a run, each as a phrase.
    others: Vec<String>,
    mix: Option<Mix>,
}

/// Averaged generator, mean of members, ensemble and real images, as far as they were drawn or scored.
pub(super) fn comparison(folder: &Folder) -> Vec<Panel> {
    let (average, round) = folder.round_files().pop().unwrap_or_default();
    let after = if round == 0 { String::new() } else { format!("after round {round}") };
    let title = average_name(folder).trim_start_matches("the ");
    let mean_note =
        if folder.info.mean_is_fedgan { "FedGAN at equal work" } else { "mean of the fine-tuned generators" };
    let floor_note = if folder.no_scores().is_some() { "of the test split" } else { "the floor" };
    let rows = [
        (Scored::Average, "average", title, after.as_str(), average.as_str()),
        (Scored::MeanOfMembers, "mean", "mean of members", mean_note, "mean_of_members.png"),
        (Scored::Ensemble, "ensemble", "ensemble", "of the members", "ensemble.png"),
        (Scored::Floor, "level", "real images", floor_note, "real.png"),
    ];
    let scores: Vec<Option<&Score>> = rows.iter().map(|row| folder.latest(row.0)).collect();
    let counts: Vec<&[u64]> =
        scores.iter().flatten().map(|score| score.scores.settings.class_counts.as_slice()).collect();
    let mut mixes = mixes(&counts, &folder.info.dataset).into_iter();
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
        score: score.map(|score| three_digits(score.main())),
        others: score.map(|score| scores::others(&score.scores)).unwrap_or_default(),
        mix,
    }
}

/// A picture with its title.
#[derive(Serialize)]
pub(super) struct Titled {
    title: String,
    note: String,
    picture: Picture,
}

/// The averaged generator over the rounds.
#[derive(Serialize)]
pub(super) struct Rounds {
    shown: Vec<Titled>,
    /// One in `every` rounds is shown, counted from the last.
    every: usize,
}

/// The averaged generator after each round, or after an even choice of them, each with its score.
pub(super) fn rounds(folder: &Folder) -> Rounds {
    let files = folder.round_files();
    let every = one_in(files.len(), MAX_ROUNDS);
    let titled = |(file, round): &(String, u32)| {
        let title = format!("round {round}");
        let picture = picture(folder, file, format!("samples after {title}"))?;
        let score = folder.scores.values().find(|score| score.of == Scored::Average && score.round == *round);
        let note = score.map(|score| format!("{}\u{a0}{}", score.main_metric().label, three_digits(score.main())));
        Some(Titled { title, note: note.unwrap_or_default(), picture })
    };
    let mut shown: Vec<Titled> = files.iter().rev().step_by(every).filter_map(titled).collect();
    shown.reverse();
    Rounds { shown, every }
}

/// The bytes of `samples/rounds.gif`: samples after each round, or an even choice; `None` before the first round is drawn.
pub(super) fn rounds_gif(folder: &Folder) -> anyhow::Result<Option<Vec<u8>>> {
    let files = folder.round_files();
    let mut room = MAX_PIXELS;
    let mut frame = |(file, round): &(String, u32)| {
        let path = folder.sample_path(file);
        let (width, height) = image::image_dimensions(&path).ok()?;
        room = room.checked_sub(u64::from(width) * u64::from(height))?;
        let picture = image::open(path).ok()?.to_rgb8();
        Some((format!("round {round}"), picture))
    };
    let chosen = files.iter().rev().step_by(one_in(files.len(), MAX_FRAMES));
    let mut frames: Vec<(String, RgbImage)> = chosen.filter_map(&mut frame).collect();
    frames.reverse();
    if frames.is_empty() { Ok(None) } else { animation(&frames).map(Some) }
}

/// A member of the ensemble that was drawn.
#[derive(Serialize)]
pub(super) struct Member {
    name: String,
    picture: Picture,
    /// Class shares of its training images; absent for a client that is not in the partition.
    trained: Option<Mix>,
    num_trained: String,
    /// Class shares of its samples; absent where no classifier fits the images.
    drawn: Option<Mix>,
    num_drawn: String,
    /// Total variation distance between the two, 0..1.
    distance: Option<String>,
    /// Why it is flagged.
    flagged: Option<String>,
    /// Whether its client attacks in the simulation.
    attacks: bool,
}

/// The members of the ensemble that were drawn, each with the classes of its training images and of its samples.
pub(super) fn members(folder: &Folder) -> Vec<Member> {
    let partition = &folder.info.partition;
    let files = folder.sample_files();
    let names: Vec<&str> = files.iter().filter_map(|file| file.strip_prefix("member_")?.strip_suffix(".png")).collect();
    let place = |name: &str| partition.clients.iter().position(|client| client == name);
    let trained = |name: &&str| {
        let counts = partition.class_counts.as_ref().zip(place(name)).and_then(|(counts, i)| counts.get(i));
        counts.map_or(&[][..], Vec::as_slice)
    };
    let drawn = |name: &&str| folder.members.get(*name).map_or(&[][..], Vec::as_slice);
    let counts: Vec<&[u64]> = names.iter().map(trained).chain(names.iter().map(drawn)).collect();
    let mut trained_mixes = mixes(&counts, &folder.info.dataset);
    let drawn_mixes = trained_mixes.split_off(names.len());
    let (trained, drawn) = counts.split_at(names.len());
    let sides = (trained.iter().copied().zip(trained_mixes)).zip(drawn.iter().copied().zip(drawn_mixes));
    names.iter().zip(sides).filter_map(|(name, (trained, drawn))| member(folder, name, trained, drawn)).collect()
}

/// A member with the counts and shares of its classes; `None` where its picture is missing.
fn member(folder: &Folder, name: &str, trained: (&[u64], Mix), drawn: (&[u64], Mix)) -> Option<Member> {
    Some(Member {
        name: name.into(),
        picture: picture(folder, &format!("member_{name}.png"), format!("samples of {name}"))?,
        num_trained: count(trained.0.iter().sum()),
        num_drawn: count(drawn.0.iter().sum()),
        distance: distance(trained.0, drawn.0).map(|distance| format!("{distance:.2}")),
        flagged: folder.flags.get(name).map(|flag| flag.reason.clone()),
        attacks: folder.attacks(name),
        trained: (!trained.0.is_empty()).then_some(trained.1),
        drawn: (!drawn.0.is_empty()).then_some(drawn.1),
    })
}

/// The total variation distance between the class shares of two counts, 0..1: half the sum of absolute differences. `None` where one
/// is empty or their classes differ.
fn distance(a: &[u64], b: &[u64]) -> Option<f64> {
    let [of_a, of_b] = [a, b].map(|counts| counts.iter().sum::<u64>() as f64);
    let differences = a.iter().zip(b).map(|(a, b)| (*a as f64 / of_a - *b as f64 / of_b).abs());
    (a.len() == b.len() && of_a > 0.0 && of_b > 0.0).then(|| differences.sum::<f64>() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_of_two_mixes_by_hand() {
        // Shares 1/2, 1/2, 0 and 1/4, 1/4, 1/2: |1/4| + |1/4| + |1/2| = 1.
        assert_eq!(distance(&[3, 3, 0], &[1, 1, 2]), Some(0.5));
        assert_eq!((distance(&[2, 4], &[1, 2]), distance(&[1, 0], &[0, 9])), (Some(0.0), Some(1.0)));
        assert_eq!([distance(&[0, 0], &[1, 1]), distance(&[1], &[1, 1]), distance(&[], &[])], [None; 3]);
    }
}
