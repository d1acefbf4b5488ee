//! The live view of a run: a thread that redraws the clients' progress ten times a second. Clients never wait for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use effgan_fl::PlannedRound;
use signal_hook::consts::SIGWINCH;
use signal_hook::flag;

use super::screen::Screen;
use super::size::{Size, wants_colour};
use super::view::{Paint, Stage, View};
use effgan_run::progress::{ClientProgress, Clients};
use effgan_run::record::events::{Event, Scored};

/// Time between two frames.
const FRAME: Duration = Duration::from_millis(100);

/// The live view; it is redrawn until this is dropped.
pub(super) struct Live {
    screen: Arc<Mutex<Screen>>,
    history: Arc<Mutex<History>>,
    /// Dropped to end the thread.
    hold: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Starts to draw a run whose rounds are `plan`, the first `done` of which an earlier start has finished.
    pub(super) fn start(plan: Vec<PlannedRound>, done: usize, clients: Arc<Clients>) -> Self {
        let screen = Arc::<Mutex<Screen>>::default();
        let history = Arc::new(Mutex::new(History::new(plan, done)));
        let (hold, held) = channel();
        let thread = spawn({
            let (screen, history) = (Arc::clone(&screen), Arc::clone(&history));
            move || draw(&screen, &history, &clients, &held)
        });
        Self { screen, history, hold: Some(hold), thread: Some(thread) }
    }

    /// Updates the view with an event of the run.
    pub(super) fn note(&self, event: &Event) {
        lock(&self.history).note(event, Instant::now());
    }

    /// Calls `print` while the view is erased.
    pub(super) fn above(&self, print: impl FnOnce()) {
        lock(&self.screen).above(print);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        drop(self.hold.take());
        // A panic of the thread has already been printed.
        let _ = self.thread.take().map(JoinHandle::join);
        lock(&self.screen).clear();
    }
}

fn draw(screen: &Mutex<Screen>, history: &Mutex<History>, clients: &Clients, held: &Receiver<()>) {
    let resized = Arc::new(AtomicBool::new(false));
    // When this fails, the view keeps its first size.
    let _ = flag::register(SIGWINCH, Arc::clone(&resized));
    let (mut size, paint) = (Size::current(), Paint { colours: wants_colour() });
    while held.recv_timeout(FRAME) == Err(RecvTimeoutError::Timeout) {
        if resized.swap(false, Ordering::Relaxed) {
            size = Size::current();
        }
        let view = lock(history).view(clients.progress(), Instant::now());
        lock(screen).draw(view.lines(size, paint), size.columns);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Progress of the run up to the current round.
struct History {
    plan: Vec<PlannedRound>,
    /// Steps done by an earlier start, whose duration is not known.
    before: u64,
    /// Finished rounds in all; training steps and training time of this start.
    rounds: usize,
    steps: u64,
    trained: Duration,
    /// Time spent on scoring, after rounds.
    scored: Duration,
    bytes: u64,
    score: Option<String>,
    /// When the current round began.
    since: Instant,
}

impl History {
    fn new(plan: Vec<PlannedRound>, done: usize) -> Self {
        let (trained, scored) = (Duration::ZERO, Duration::ZERO);
        let before = plan.iter().take(done).map(|round| round.steps).sum();
        Self { plan, before, rounds: done, steps: 0, trained, scored, bytes: 0, score: None, since: Instant::now() }
    }

    fn note(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Round(record) => {
                self.steps += self.plan.get(self.rounds).map_or(0, |round| round.steps);
                self.rounds += 1;
                self.trained += Duration::from_secs_f64(record.seconds);
                self.bytes += record.bytes_down + record.bytes_up;
            }
            Event::Score(score) if score.of != Scored::Floor => {
                self.scored += Duration::from_secs_f64(score.seconds);
                self.score = Some(score.headline());
            }
            _ => {}
        }
        self.since = now;
    }

    fn view(&self, begun: Vec<ClientProgress>, now: Instant) -> View {
        let worked = now.saturating_duration_since(self.since);
        let in_round: u64 = begun.iter().map(|client| client.step).sum();
        let images: u64 = begun.iter().map(|client| client.images).sum();
        let pace = Pace { steps: self.steps + in_round, time: self.trained + worked };
        let steps: u64 = self.plan.iter().map(|round| round.steps).sum();
        let stage = match self.plan.get(self.rounds) {
            Some(&round) if !begun.is_empty() => {
                Stage::Round { round, begun, left: pace.of(round.steps.saturating_sub(in_round)) }
            }
            _ if self.steps == 0 => Stage::Starting,
            _ => Stage::Scoring(self.rounds as u32),
        };
        View {
            stage,
            rounds: self.plan.len() as u32,
            step: self.before + pace.steps,
            steps,
            images_per_second: if images > 0 { images as f64 / worked.as_secs_f64() } else { 0.0 },
            bytes: self.bytes,
            score: self.score.clone(),
            left: pace
                .of(steps.saturating_sub(self.before + pace.steps))
                .map(|training| training + self.scoring_left()),
        }
    }

    /// Time left for scoring: as long per remaining round as per finished one.
    fn scoring_left(&self) -> Duration {
        let to_come = self.plan.len().saturating_sub(self.rounds);
        self.scored.mul_f64(to_come as f64 / self.rounds.max(1) as f64)
    }
}

/// A number of steps and the time that they took.
#[derive(Clone, Copy)]
struct Pace {
    steps: u64,
    time: Duration,
}

impl Pace {
    /// The time that `steps` take at this pace; `None` before the first step.
    fn of(self, steps: u64) -> Option<Duration> {
        (self.steps > 0).then(|| self.time.mul_f64(steps as f64 / self.steps as f64))
    }
}

#[cfg(test)]
mod tests {
    use effgan_fl::{ExchangeKind, RoundRecord};

    use super::*;

    fn plan() -> Vec<PlannedRound> {
        let round = |(round, steps)| PlannedRound { round, kind: ExchangeKind::Average, clients: 2, steps };
        [(1, 100), (2, 100), (3, 300)].map(round).into()
    }

    fn begun(step: u64) -> Vec<ClientProgress> {
        vec![ClientProgress { client: "a".into(), step, steps: 50, images: 10 * step, losses: vec![] }]
    }

    fn round(seconds: f64) -> Event {
        let (clients, missing) = (Vec::new(), Vec::new());
        let kind = ExchangeKind::Average;
        Event::Round(RoundRecord {
            round: 1,
            kind,
            clients,
            missing,
            refused: Vec::new(),
            bytes_down: 2_000_000,
            bytes_up: 500_000,
            seconds,
        })
    }

    #[test]
    fn time_left_counts_the_steps_of_later_rounds() {
        let mut history = History::new(plan(), 0);
        let start = history.since;
        // 40 steps in 4 s are 0.1 s each; 60 more in this round and 400 after it.
        let view = history.view(begun(40), start + Duration::from_secs(4));
        assert_eq!(view.left, Some(Duration::from_secs(46)));
        let Stage::Round { left, .. } = view.stage else { panic!("clients work") };
        assert_eq!((left, view.images_per_second), (Some(Duration::from_secs(6)), 100.0));

        // The round took 20 s: 0.2 s per step. Time between rounds does not count as training.
        history.note(&round(20.0), start + Duration::from_secs(50));
        let view = history.view(Vec::new(), start + Duration::from_secs(50));
        assert_eq!((view.left, view.step, view.bytes), (Some(Duration::from_secs(80)), 100, 2_500_000));
        assert!(matches!(view.stage, Stage::Scoring(1)));
    }

    #[test]
    fn steps_of_an_earlier_start_count_as_done_but_not_towards_the_pace() {
        let history = History::new(plan(), 2);
        // 40 steps in 4 s, and 260 of the last round to come.
        let view = history.view(begun(40), history.since + Duration::from_secs(4));
        assert_eq!((view.step, view.steps, view.left), (240, 500, Some(Duration::from_secs(26))));
    }

    #[test]
    fn no_time_left_is_shown_before_the_first_step() {
        let history = History::new(plan(), 0);
        let view = history.view(Vec::new(), Instant::now());
        assert!(view.left.is_none() && matches!(view.stage, Stage::Starting));
    }
}
