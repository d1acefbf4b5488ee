//! What the live view looks like: numbers in, lines out.

use std::time::Duration;

use effgan_fl::{ExchangeKind, PlannedRound};

use super::size::Size;
use effgan_run::progress::ClientProgress;
use effgan_run::record::loss_key;
use effgan_run::units::counted;

/// Everything that one frame shows.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub stage: Stage,
    /// Rounds of the run.
    pub rounds: u32,
    /// Training steps done, and in all rounds together.
    pub step: u64,
    pub steps: u64,
    pub images_per_second: f64,
    /// Bytes sent so far, down and up.
    pub bytes: u64,
    /// The last score as text.
    pub score: Option<String>,
    /// Time left of the run; `None` before the first step.
    pub left: Option<Duration>,
}

/// What the run is doing.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// No client has done a step.
    Starting,
    /// Clients train.
    Round {
        round: PlannedRound,
        /// Clients that have begun.
        begun: Vec<ClientProgress>,
        /// Time left of the round.
        left: Option<Duration>,
    },
    /// Scoring after this many rounds.
    Scoring(u32),
}

/// Blanks before and between the parts of a line.
const INDENT: &str = "  ";
/// Maximum number of columns of a bar.
const LONGEST_BAR: usize = 30;
/// Maximum number of columns of a client's name.
const LONGEST_NAME: usize = 24;

impl View {
    /// The lines of the frame: fewer than the terminal has, none wider than it.
    pub(super) fn lines(&self, size: Size, paint: Paint) -> Vec<String> {
        let mut lines = vec![paint.bold(&clip(&self.heading(), size.columns))];
        lines.push(self.run_line(size, paint));
        // Six lines are taken: the heading, the run's bar, the footer, and three for scrolling output and the cursor.
        let room = size.lines.saturating_sub(6);
        if let Stage::Round { begun, .. } = &self.stage {
            lines.extend(client_lines(begun, room, size.columns, paint));
        }
        lines.push(clip(&self.footer(), size.columns));
        lines
    }

    fn heading(&self) -> String {
        match &self.stage {
            Stage::Starting => "starting".into(),
            Stage::Scoring(done) => format!("round {done} of {} is done: scoring", self.rounds),
            Stage::Round { round, begun, .. } => {
                let done = begun.iter().filter(|client| client.is_done()).count();
                let to_come = round.clients.saturating_sub(begun.len());
                let mut heading = format!("round {} of {}: ", round.round, self.rounds);
                heading += if round.kind == ExchangeKind::Collect { "fine-tuning" } else { "training" };
                heading += &format!(" {}", counted(round.clients as u64, "client"));
                for (n, what) in [(done, "done"), (begun.len() - done, "at work"), (to_come, "to come")] {
                    heading += &if n > 0 { format!(", {n} {what}") } else { String::new() };
                }
                heading
            }
        }
    }

    /// The run's bar, with the time left of the round and of the run.
    fn run_line(&self, size: Size, paint: Paint) -> String {
        let share = self.step as f64 / self.steps.max(1) as f64;
        let left = match (&self.stage, self.left) {
            (Stage::Round { left: Some(of_round), .. }, Some(of_run)) => {
                format!("   {} left of the round, {} of the run", clock(*of_round), clock(of_run))
            }
            (_, Some(of_run)) => format!("   {} left of the run", clock(of_run)),
            _ => String::new(),
        };
        let text = format!("{:>3.0} %{left}", (100.0 * share).floor());
        with_bar("", share, &text, size.columns, paint)
    }

    fn footer(&self) -> String {
        let mut parts = vec![];
        if self.images_per_second > 0.0 {
            parts.push(format!("{:.0} images/s", self.images_per_second));
        }
        parts.push(format!("{:.1} MB sent", self.bytes as f64 / 1e6));
        parts.extend(self.score.clone());
        format!("{INDENT}{}", parts.join("   "))
    }
}

/// A line for each client that is training, `room` lines at most.
fn client_lines(begun: &[ClientProgress], room: usize, columns: usize, paint: Paint) -> Vec<String> {
    let at_work: Vec<&ClientProgress> = begun.iter().filter(|client| !client.is_done()).collect();
    let shown = if at_work.len() > room { room.saturating_sub(1) } else { at_work.len() };
    let name_columns = at_work.iter().map(|client| client.client.len()).max().unwrap_or(0).min(LONGEST_NAME);
    let step_columns = at_work.iter().map(|client| client.steps.to_string().len()).max().unwrap_or(0);
    let line = |client: &&ClientProgress| {
        let ClientProgress { client, step, steps, losses, .. } = client;
        let name = format!("{:<name_columns$}{INDENT}", clip(client, name_columns));
        let text = format!("{step:>step_columns$}/{steps}{}", losses_of_client(losses));
        with_bar(&name, *step as f64 / *steps as f64, &text, columns, paint)
    };
    let mut lines: Vec<String> = at_work[..shown].iter().map(line).collect();
    if shown < at_work.len() {
        lines.push(paint.faint(&format!("{INDENT}+{} more", at_work.len() - shown)));
    }
    lines
}

/// Losses as `  loss D 1.000  G 0.750`; empty without any.
fn losses_of_client(losses: &[(&str, f64)]) -> String {
    let text = losses.iter().map(|(key, loss)| format!("{} {loss:<6.3}", loss_key::short(key)));
    let text = text.collect::<Vec<_>>().join(" ");
    if text.is_empty() { text } else { format!("{INDENT}loss {}", text.trim_end()) }
}

/// `before`, a bar that fills the space, and `text`; without a bar when fewer than 5 columns are left for one.
fn with_bar(before: &str, share: f64, text: &str, columns: usize, paint: Paint) -> String {
    let taken = [INDENT, before, text, INDENT].iter().map(|part| part.chars().count()).sum::<usize>();
    match columns.saturating_sub(taken).min(LONGEST_BAR) {
        0..5 => clip(&format!("{INDENT}{before}{text}"), columns),
        length => format!("{INDENT}{before}{}{INDENT}{text}", bar(share, length, paint)),
    }
}

fn bar(share: f64, length: usize, paint: Paint) -> String {
    let filled = ((share.clamp(0.0, 1.0) * length as f64) as usize).min(length);
    paint.lively(&"━".repeat(filled)) + &paint.faint(&"─".repeat(length - filled))
}

/// `text` cut to `columns` characters, with `…` at the end when something is cut off.
fn clip(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

/// `0:07`, `12:30`, `3:05:00`, `2 d 7 h`.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match hours {
        0 => format!("{minutes}:{:02}", seconds % 60),
        1..48 => format!("{hours}:{:02}:{:02}", minutes % 60, seconds % 60),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

/// Terminal colours, or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    pub colours: bool,
}

impl Paint {
    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    fn lively(self, text: &str) -> String {
        self.with("36", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.colours && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Paint = Paint { colours: false };

    fn standing(i: u64, step: u64) -> ClientProgress {
        let client = format!("client-{i:04}");
        let losses = vec![("loss_d", 1.0), ("loss_g", 0.75)];
        ClientProgress { client, step, steps: 225, images: 16 * step, losses }
    }

    fn view(at_work: u64) -> View {
        let round = PlannedRound { round: 2, kind: ExchangeKind::Average, clients: 40, steps: 9000 };
        let begun = (0..3 + at_work).map(|i| standing(i, if i < 3 { 225 } else { 100 + i % 100 })).collect();
        View {
            stage: Stage::Round { round, begun, left: Some(Duration::from_secs(12)) },
            rounds: 4,
            step: 4700,
            steps: 10_000,
            images_per_second: 1540.4,
            bytes: 12_345_678,
            score: Some("averaged generator fd_small 63.72".into()),
            left: Some(Duration::from_secs(100)),
        }
    }

    #[test]
    fn a_frame_shows_clients_losses_and_time_left() {
        let lines = view(2).lines(Size { columns: 80, lines: 24 }, PLAIN);
        assert_eq!(
            lines,
            [
                "round 2 of 4: training 40 clients, 3 done, 2 at work, 35 to come",
                "  ━━━━━━━━━━━━━────────────────   47 %   0:12 left of the round, 1:40 of the run",
                "  client-0003  ━━━━━━━━━━━━━─────────────────  103/225  loss D 1.000  G 0.750",
                "  client-0004  ━━━━━━━━━━━━━─────────────────  104/225  loss D 1.000  G 0.750",
                "  1540 images/s   12.3 MB sent   averaged generator fd_small 63.72",
            ]
        );
    }

    #[test]
    fn a_client_shows_each_loss_of_its_model() {
        let shown = |losses: &[(&'static str, f64)]| {
            let client = ClientProgress { losses: losses.into(), ..standing(3, 100) };
            client_lines(&[client], 9, 50, PLAIN).remove(0)
        };
        let three = [("loss_pixels", 12.0), ("loss_kl", 0.25), ("loss_z", 1.0)];
        assert_eq!(shown(&three), "  client-0003  100/225  loss pixels 12.000 kl 0.2…");
        assert_eq!(shown(&three[1..]), "  client-0003  100/225  loss kl 0.250  Z 1.000");
        assert_eq!(shown(&[]), "  client-0003  ━━━━━━━━━━━───────────────  100/225");
    }

    #[test]
    fn a_frame_fits_any_terminal_and_counts_the_clients_without_a_line() {
        for (columns, lines) in [(80, 24), (120, 40), (60, 20), (30, 6), (200, 10)] {
            for at_work in [0, 1, 2, 16, 17, 30, 500] {
                let drawn = view(at_work).lines(Size { columns, lines }, PLAIN);
                assert!(drawn.len() < lines, "{at_work} at {columns} x {lines}: {drawn:#?}");
                assert!(drawn.iter().all(|line| line.chars().count() <= columns), "{columns}: {drawn:#?}");
                let named = drawn.iter().filter(|line| line.contains("loss D") || line.contains("client-0")).count();
                let more = drawn.iter().find_map(|line| line.trim().strip_prefix('+')?.strip_suffix(" more"));
                let more: usize = more.map_or(0, |n| n.parse().unwrap());
                assert_eq!(named + more, at_work as usize, "{drawn:#?}");
            }
        }
        let sixteen = view(16).lines(Size { columns: 80, lines: 24 }, PLAIN);
        assert!(!sixteen.iter().any(|line| line.contains("more")));
    }

    #[test]
    fn colours_change_no_character() {
        let size = Size { columns: 80, lines: 24 };
        let coloured = view(5).lines(size, Paint { colours: true }).join("\n");
        assert!(coloured.contains("\x1b[36m━"));
        let bare =
            ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[36m"].iter().fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(bare, view(5).lines(size, PLAIN).join("\n"));
    }

    #[test]
    fn times_are_read_at_a_glance() {
        let clocks = [7, 59, 60, 3599, 3600, 11_100, 172_799, 198_000].map(|s| clock(Duration::from_secs(s)));
        assert_eq!(clocks, ["0:07", "0:59", "1:00", "59:59", "1:00:00", "3:05:00", "47:59:59", "2 d 7 h"]);
    }
}
