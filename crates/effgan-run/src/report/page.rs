//! The page: values for the template, and their escaping.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use effgan_data::control_chars::plain;
use effgan_metrics::main_metric;
use effgan_nn::Precision;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, context, escape_formatter};
use sha2::{Digest, Sha256};

use super::run_folder::Folder;
use super::{attendance, clients, drift, losses, partition, samples, scores, traffic};
use crate::privacy::{self, ClientPrivacyStatement};
use crate::record::events::Outcome;
use crate::record::run_info::{RunInfo, Status};
use crate::units;

/// Renders the page. Values are escaped since the templates are named `.html`.
pub(super) fn render(folder: &Folder) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    // Names and texts may come from others: characters that reorder or hide text are replaced.
    environment.set_formatter(|out, state, value| match value.as_str().filter(|_| !value.is_safe()) {
        Some(text) => escape_formatter(out, state, &Value::from(plain(text))),
        None => escape_formatter(out, state, value),
    });
    environment.add_template("parts.html", include_str!("parts.html"))?;
    environment.add_template("template.html", include_str!("template.html"))?;
    environment.get_template("template.html")?.render(page(folder))
}

// The page is given to others: with its Content-Security-Policy the browser itself enforces that it loads nothing and runs only our script.

/// The source expression of a Content-Security-Policy that allows an inline script or style: the SHA-256 of its text.
pub(super) fn source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

/// The values of the template.
fn page(folder: &Folder) -> Value {
    let [style, script] = [include_str!("style.css"), include_str!("player.js")];
    let main = main_metric(folder.network());
    context! {
        style => Value::from_safe_string(style.into()),
        script => Value::from_safe_string(script.into()),
        style_source => Value::from_safe_string(source(style)),
        script_source => Value::from_safe_string(source(script)),
        run => Serde(&folder.info),
        started => units::utc(folder.info.started),
        took => units::duration(folder.info.seconds),
        banner => banner(folder),
        verdict => folder.verdict.as_ref().map(|verdict| context! { line => verdict.line(), is_fine => verdict.verdict == Outcome::Fine }),
        unreadable => folder.unreadable.len(),
        unreadable_lines => units::lines(&folder.unreadable),
        headline => scores::headline(folder),
        privacy => privacy_lines(&folder.info),
        is_insecure => folder.info.privacy.iter().any(|statement| statement.insecure),
        notes => Serde(&folder.other_notes()),
        comparison => Serde(samples::comparison(folder)),
        main => context! { label => main.label, better => main.better.word() },
        metrics => Serde(scores::headings(folder.network())),
        about_scores => scores::about(folder),
        scores => Serde(scores::rows(folder)),
        num_scored => units::count(folder.scores.values().map(|score| score.scores.n as u64).max().unwrap_or(0)),
        no_scores => folder.no_scores(),
        score_chart => Serde(scores::by_round(folder)),
        cost_chart => Serde(scores::by_bytes(folder)),
        is_server_trained => is_server_trained(folder),
        losses => Serde(losses::charts(folder)),
        rounds => Serde(samples::rounds(folder)),
        members => Serde(samples::members(folder)),
        heat => Serde(partition::heat(&folder.info.partition, &folder.info.dataset)),
        drift => Serde(drift::drift(folder)),
        attendance => Serde(attendance::attendance(folder)),
        traffic => Serde(traffic::traffic(folder)),
        stages => Serde(traffic::stages(folder)),
        clients => Serde(clients::clients(folder)),
        facts => facts(&folder.info),
        config => folder.config.as_str(),
    }
}

/// Whether the server trains the generator, so that clients go on with their own discriminators from round to round.
fn is_server_trained(folder: &Folder) -> bool {
    folder.settings.as_ref().is_some_and(|config| config.algorithm.has_single_batch_replies())
}

/// What the run's privacy costs, by image and by client.
fn privacy_lines(info: &RunInfo) -> Vec<String> {
    let of_clients = info.client_privacy.iter().flat_map(ClientPrivacyStatement::lines);
    privacy::lines(&info.privacy).into_iter().chain(of_clients).collect()
}

/// The banner of a run that is not done: why the page is incomplete.
fn banner(folder: &Folder) -> Option<String> {
    let info = &folder.info;
    let far = match folder.rounds.keys().next_back() {
        Some(round) => format!("after round {round}"),
        None => "before its first round was finished".into(),
    };
    let reason = info.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match info.status {
        Status::Done => None,
        Status::Running => Some(format!("This run was still at work when the report was written, {far}.")),
        Status::Interrupted => Some(format!("This run was interrupted {far}{reason}; effgan resume continues it.")),
        Status::Failed => Some(format!("This run failed {far}{reason}")),
    }
}

/// The table of machine and versions: `(name, value)`.
fn facts(info: &RunInfo) -> Vec<(&'static str, String)> {
    let machine = &info.machine;
    let [c, h, w] = info.dataset.image_shape;
    let test = info.dataset.num_test.map(|n| format!(", {} test images", units::count(n as u64))).unwrap_or_default();
    let dataset = format!(
        "{}: {} training images of {c} × {h} × {w}{test}, {} classes",
        info.dataset.name,
        units::count(info.dataset.num_dealt as u64),
        info.dataset.num_classes
    );
    let network = format!(
        "generator {} values, discriminator {} values",
        units::count(info.network.generator_values),
        units::count(info.network.discriminator_values)
    );
    let precision = match info.precision {
        Precision::F32 => "f32",
        Precision::Bf16 => "f32, with inputs of the large matrix products rounded to bf16",
    };
    vec![
        ("effgan", info.version.clone()),
        ("processor", format!("{}, {} cores", machine.cpu, machine.cores)),
        ("instruction set", machine.instruction_set.clone()),
        ("networks computed by", machine.gpu.clone().unwrap_or_else(|| "the processor".into())),
        ("operating system", machine.os.clone()),
        ("training", precision.into()),
        ("threads", info.jobs.to_string()),
        ("data set", dataset),
        ("networks", network),
    ]
}
