//! A gate or a forwarder in a thread.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use effgan_gate::{Forwarder, ForwarderConfig, Gate, GateConfig};

/// The lines that a gate or a forwarder has logged.
#[derive(Clone, Default)]
pub(crate) struct LogLines(Arc<Mutex<Vec<String>>>);

impl LogLines {
    pub(crate) fn log(&self) -> effgan_gate::Log {
        let lines = Arc::clone(&self.0);
        Arc::new(move |line: &str| lines.lock().expect("lines").push(line.to_owned()))
    }

    pub(crate) fn count(&self, text: &str) -> usize {
        self.0.lock().expect("lines").iter().filter(|line| line.contains(text)).count()
    }

    pub(crate) fn all(&self) -> String {
        self.0.lock().expect("lines").join("\n")
    }
}

/// A gate or a forwarder that runs in a thread until it is dropped.
pub(crate) struct Running {
    pub address: SocketAddr,
    pub log: LogLines,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn gate(config: GateConfig) -> Self {
        let log = LogLines::default();
        let gate = Gate::bind(config, log.log()).expect("a gate");
        let address = gate.address().expect("an address");
        Self::start(address, log, move |stop| gate.run(stop).expect("the gate ends without an error"))
    }

    pub(crate) fn forwarder(config: ForwarderConfig) -> Self {
        let log = LogLines::default();
        let forwarder = Forwarder::bind(config, log.log()).expect("a forwarder");
        let address = forwarder.address().expect("an address");
        Self::start(address, log, move |stop| forwarder.run(stop).expect("the forwarder ends without an error"))
    }

    fn start(address: SocketAddr, log: LogLines, run: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = Some(std::thread::spawn(move || run(&flag)));
        Self { address, log, stop, thread }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|ended| ended.is_ok()), "it ended in a panic");
    }
}
