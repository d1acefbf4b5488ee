//! The ledger for people: a text table and a self-contained HTML page.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use effgan_data::control_chars::without_control;
use effgan_fl::policy::{Amount, PrivateUpdates};
use effgan_metrics::Membership;
use effgan_nn::params;

use crate::privacy::Counts;
use crate::units::{counted, probability};

use super::{Answered, Asked, Audited, AuditedGenerator, Began, Entry, Head, Ledger, LedgerError, Line, Refused};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:72em;padding:0 1em;color:#222;background:#fff}\
    table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.25em .8em .25em 0;border-bottom:1px solid #ddd}\
    td:nth-child(-n+4){white-space:nowrap}.refused{color:#a3261b}code{font-size:85%;overflow-wrap:anywhere}";

/// A line of the ledger as the cells of a row.
struct Row {
    time: String,
    what: String,
    round: String,
    /// The first digits of the config's hash.
    config: String,
    text: String,
    is_refused: bool,
}

/// Sums over all lines.
#[derive(Default)]
struct Totals {
    answered: u64,
    refused: u64,
    bytes: u64,
    trained: Amount,
}

/// Writes the ledger as a text table. Only one line is in memory at a time.
///
/// # Errors
/// Outside: the ledger is broken or cannot be read. Inside: `out` cannot be written.
pub fn table(ledger: &Ledger, out: &mut dyn Write) -> Result<io::Result<()>, LedgerError> {
    let (mut totals, mut written) = (Totals::default(), Ok(()));
    let head = ledger.read(|_, line| {
        totals.add(&line.entry);
        let Row { time, what, round, config, text, .. } = Row::of(line);
        if written.is_ok() {
            written = writeln!(out, "{time:<20}  {what:<9}  {round:>5}  {config:<8}  {text}");
        }
    })?;
    Ok(written.and_then(|()| writeln!(out, "{}", totals.line(&head))))
}

/// Writes the ledger as an HTML page without scripts that loads nothing; its Content-Security-Policy enforces both.
///
/// # Errors
/// Outside: the ledger is broken or cannot be read. Inside: `out` cannot be written.
pub fn page(ledger: &Ledger, out: &mut dyn Write) -> Result<io::Result<()>, LedgerError> {
    let mut written = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'sha256-{}'\"><title>Ledger</title><style>{STYLE}</style></head><body>\
         <h1>What this site was asked, and what left it</h1><table>\
         <tr><th>time (UTC)<th>request<th>round<th>config<th>answer</tr>\n",
        hash_of(STYLE)
    );
    let mut totals = Totals::default();
    let head = ledger.read(|_, line| {
        totals.add(&line.entry);
        let Row { time, what, round, config, text, is_refused } = Row::of(line);
        let [time, what, round, config, text] = [time, what, round, config, text].map(|cell| escaped(&cell));
        let class = if is_refused { " class=\"refused\"" } else { "" };
        if written.is_ok() {
            written =
                writeln!(out, "<tr{class}><td>{time}<td>{what}<td>{round}<td><code>{config}</code><td>{text}</tr>");
        }
    })?;
    Ok(written.and_then(|()| writeln!(out, "</table><p>{}</p></body></html>", escaped(&totals.line(&head)))))
}

impl Row {
    fn of(line: Line) -> Self {
        let is_refused = match &line.entry {
            Entry::Refused(_) => true,
            Entry::Audited(audited) => !audited.leaves,
            _ => false,
        };
        let (what, round, config, text) = match line.entry {
            Entry::Answered(answered) => {
                let Asked { kind, round, config, .. } = &answered.asked;
                (kind.clone(), *round, config.clone(), sent(&answered))
            }
            Entry::Began(began) => {
                let Began { asked: Asked { kind, round, config, .. }, private } = *began;
                (kind, round, config, format!("began {}", private_updates(&private)))
            }
            Entry::Audited(audited) => {
                let Asked { kind, round, config, .. } = &audited.asked;
                (kind.clone(), *round, config.clone(), audit(&audited))
            }
            Entry::Refused(refused) => {
                let Refused { asked: Asked { kind, round, config, .. }, refusal, why, .. } = *refused;
                (kind, round, config, format!("refused: {} ({why})", refusal.code()))
            }
            Entry::Approved { config, name, last_round, images, persons } => {
                let counts = images.map(|images| format!(", with {}", Counts { images, persons })).unwrap_or_default();
                let text = format!("{name} was approved here{counts}, up to round {last_round}");
                ("approved".into(), None, config, text)
            }
            Entry::Withdrawn { config } => ("withdrawn".into(), None, config, "the approval was withdrawn here".into()),
            Entry::Mended { bytes, .. } => (
                "mended".into(),
                None,
                String::new(),
                format!("{bytes} bytes of an incomplete line, left by a crash, were cut off"),
            ),
        };
        let round = round.map(|round| round.to_string()).unwrap_or_default();
        let config = config.chars().take(8).collect::<String>();
        let [time, what, config, text] = [line.time, what, config, text].map(|cell| without_control(&cell));
        Self { time, what, round, config, text, is_refused }
    }
}

/// What left with an answer, in words.
fn sent(answered: &Answered) -> String {
    let Answered { arrays, numbers, words, trained, .. } = answered;
    let array = |(name, array): (&String, &super::Array)| {
        let digest: String = array.sha256.chars().take(16).collect();
        format!("{name} ({} bytes, SHA-256 {digest}…)", array.bytes)
    };
    let mut parts: Vec<String> = arrays.iter().map(array).collect();
    parts.extend(numbers.iter().map(|(name, number)| format!("{name} {}", shortened(*number))));
    parts.extend(words.iter().map(|(name, word)| format!("{name} {word}")));
    let done = match trained.steps {
        0 if arrays.is_empty() => String::new(),
        0 => "; the same answer again".into(),
        steps => format!("; after {}, {}", counted(steps, "training step"), passes(trained.passes)),
    };
    format!("sent {}{done}", parts.join(", "))
}

/// What the audits of a request's generators found, and the decision, in words.
fn audit(Audited { leaves, generators, .. }: &Audited) -> String {
    let Some((last, before)) = generators.split_last() else { return String::new() };
    let found = before.iter().map(|generator| found(generator, false)).chain([found(last, *leaves)]);
    found.collect::<Vec<_>>().join("; ")
}

fn found(AuditedGenerator { steps, why, audit }: &AuditedGenerator, leaves: bool) -> String {
    let (after, decision) = (counted(*steps, "training step"), if leaves { "leaves" } else { "stays" });
    let Some(audit) = audit else {
        return format!("the generator after {after} is not audited ({why}), and {decision}");
    };
    let interval =
        |Membership { auc, auc_low, auc_high, .. }: &Membership| format!("{auc:.3} ({auc_low:.3} to {auc_high:.3})");
    let strongest = audit.strongest().map(|attacked| {
        let numbers = format!("{} that trained from {}", counted(audit.num_train as u64, "image"), audit.num_held_out);
        format!(
            "{attacked} tells {numbers} held-out ones with an area of {}, other attacks with less",
            interval(&attacked.membership)
        )
    });
    let discriminator =
        audit.discriminator.as_ref().map(|membership| format!(", the discriminator with {}", interval(membership)));
    let because = match (leaves, why.as_str()) {
        (_, "") => String::new(),
        (true, why) => format!(", though {why}"),
        (false, why) => format!(", since {why}"),
    };
    let (strongest, discriminator) = (strongest.unwrap_or_default(), discriminator.unwrap_or_default());
    format!("the generator after {after} {decision}{because}; by its audit, {strongest}{discriminator}")
}

/// Private updates, in words.
fn private_updates(private: &[PrivateUpdates]) -> String {
    let updates = |of: &PrivateUpdates| {
        let PrivateUpdates { noise_multiplier, sample_rate, updates } = of;
        let (updates, rate) = (counted(*updates, "private update"), probability(*sample_rate));
        format!("{updates} with noise of {noise_multiplier}, in each an image or person with probability {rate}")
    };
    private.iter().map(updates).collect::<Vec<_>>().join(", ")
}

impl Totals {
    fn add(&mut self, entry: &Entry) {
        match entry {
            Entry::Answered(answered) => {
                self.answered += 1;
                self.bytes += answered.arrays.values().map(|array| array.bytes).sum::<u64>();
                self.trained = std::mem::take(&mut self.trained).plus(&answered.trained);
            }
            // The training of a generator that leaves is that of the answer.
            Entry::Audited(audited) if !audited.leaves => {
                self.trained = std::mem::take(&mut self.trained).plus(&audited.trained);
            }
            Entry::Refused(_) => self.refused += 1,
            _ => {}
        }
    }

    fn line(&self, head: &Head) -> String {
        let Self { answered, refused, bytes, trained } = self;
        format!(
            "in all: {} with {} of parameters, {}; {} of training, {}, {}; {}, head {}",
            counted(*answered, "answer"),
            counted(*bytes, "byte"),
            counted(*refused, "refusal"),
            counted(trained.rounds, "answer"),
            counted(trained.steps, "step"),
            passes(trained.passes),
            counted(head.lines, "line"),
            head.hash
        )
    }
}

fn passes(passes: f64) -> String {
    let passes = (passes * 10.0).round() / 10.0;
    format!("{passes} {} over the images", if passes == 1.0 { "pass" } else { "passes" })
}

/// Counts as they are and other numbers to four decimals; the ledger itself holds all digits.
fn shortened(number: f64) -> String {
    if number.fract() == 0.0 { number.to_string() } else { format!("{number:.4}") }
}

fn escaped(text: &str) -> String {
    let entity = |c| match c {
        '&' => "&amp;".into(),
        '<' => "&lt;".into(),
        '>' => "&gt;".into(),
        '"' => "&quot;".into(),
        '\'' => "&#39;".into(),
        c => String::from(c),
    };
    text.chars().map(entity).collect()
}

/// SHA-256 of a style in base64, as a Content-Security-Policy names it.
fn hash_of(style: &str) -> String {
    let hex = params::sha256(style.as_bytes());
    let byte = |i: usize| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("a hash is hex");
    STANDARD.encode((0..32).map(byte).collect::<Vec<u8>>())
}
