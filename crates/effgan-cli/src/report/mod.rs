//! `report.html`: a run on one page that needs nothing but itself.
//!
//! Everything is read from the run folder, so a report can be made again at any time, and of a run that was interrupted or failed
//! as well. The page holds its pictures and styles, asks for nothing from anywhere, and works without scripts. Rust turns data into
//! texts and coordinates, `template.html` into markup, `style.css` into looks.

mod axis;
mod charts;
mod clients;
mod folder;
mod losses;
mod partition;
mod samples;
mod scores;
mod traffic;
mod units;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, context};

use crate::events::{RunInfo, Status};
use folder::Folder;

/// Writes `report.html` into the run folder, beside and renamed, and answers with its path.
pub fn write(run_dir: &Path) -> anyhow::Result<PathBuf> {
    let folder = Folder::read(run_dir)?;
    let html = render(&folder).context("filling in the report's template")?;
    let (path, beside) = (run_dir.join("report.html"), run_dir.join("report.html.part"));
    fs::write(&beside, html).with_context(|| format!("writing {}", beside.display()))?;
    fs::rename(&beside, &path).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// The page. Values are escaped since the templates are named `.html`.
fn render(folder: &Folder) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.add_template("style.css", include_str!("style.css"))?;
    environment.add_template("parts.html", include_str!("parts.html"))?;
    environment.add_template("template.html", include_str!("template.html"))?;
    environment.get_template("template.html")?.render(page(folder))
}

/// All that the template shows.
fn page(folder: &Folder) -> Value {
    context! {
        run => Serde(&folder.info),
        started => units::utc(folder.info.started),
        took => units::duration(folder.info.seconds),
        banner => banner(folder),
        unreadable => folder.unreadable,
        headline => scores::headline(folder),
        comparison => Serde(samples::comparison(folder)),
        scores => Serde(scores::rows(folder)),
        score_chart => Serde(scores::chart(folder)),
        losses => Serde(losses::charts(folder)),
        rounds => Serde(samples::rounds(folder)),
        members => Serde(samples::members(folder)),
        heat => Serde(partition::heat(&folder.info.partition)),
        traffic => Serde(traffic::traffic(folder)),
        stages => Serde(traffic::stages(folder)),
        clients => Serde(clients::clients(folder)),
        facts => facts(&folder.info),
        config => folder.config.as_str(),
    }
}

/// Why the page is not whole, for a run that is not done.
fn banner(folder: &Folder) -> Option<String> {
    let info = &folder.info;
    let far = match folder.rounds.keys().next_back() {
        Some(round) => format!("after round {round}"),
        None => "before its first round was done".into(),
    };
    let reason = info.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match info.status {
        Status::Done => None,
        Status::Running => Some(format!("This run was not done when the report was written, {far}.")),
        Status::Interrupted => Some(format!("This run was interrupted {far}{reason}. `effgan resume` goes on with it.")),
        Status::Failed => Some(format!("This run failed {far}{reason}")),
    }
}

/// Machine and versions as `(name, value)`.
fn facts(info: &RunInfo) -> Vec<(&'static str, String)> {
    let machine = &info.machine;
    let [c, h, w] = info.dataset.image_shape;
    let dataset = format!(
        "{}: {} images of {c} × {h} × {w} dealt to clients, {} to test, {} classes",
        info.dataset.name,
        units::count(info.dataset.num_dealt as u64),
        units::count(info.dataset.num_test as u64),
        info.dataset.num_classes
    );
    let network = format!(
        "generator {} values, discriminator {}",
        units::count(info.network.generator_values),
        units::count(info.network.discriminator_values)
    );
    let mut facts = vec![
        ("effgan", info.version.clone()),
        ("processor", format!("{}, {} cores", machine.cpu, machine.cores)),
        ("instruction set", machine.instruction_set.clone()),
        ("operating system", machine.os.clone()),
        ("clients at a time", info.jobs.to_string()),
        ("data set", dataset),
        ("networks", network),
    ];
    facts.extend(info.model_hash.clone().map(|hash| ("model hash", hash)));
    facts
}
