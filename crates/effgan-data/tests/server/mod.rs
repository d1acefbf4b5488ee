//! A small HTTP server on 127.0.0.1 for tests of downloads. It records the requests, and can misbehave.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// A request: the path, and the first byte of its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub path: String,
    pub from: Option<usize>,
}

/// How a file is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Whole, or the requested range.
    Well,
    /// Always whole; ranges are ignored.
    WithoutRanges,
    /// The connection breaks after this many bytes of each response.
    BreakingOff(usize),
    /// Not found.
    NotFound,
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `body` at every path.
    pub(crate) fn start(body: Vec<u8>, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (requests, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (log, stopped) = (Arc::clone(&requests), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A client that hangs up early is its own business.
                let _ = answer(&stream.unwrap(), &body, manner, &log);
            }
        });
        Self { address, requests, stop, thread: Some(thread) }
    }

    /// The address of a folder on this server.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/files/", self.address)
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread from its wait for a connection.
        let _ = TcpStream::connect(&self.address);
        self.thread.take().map(JoinHandle::join);
    }
}

fn answer(stream: &TcpStream, body: &[u8], manner: Manner, log: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next().unwrap_or(Ok(String::new()))?.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut from = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().ok();
        }
        if line.is_empty() {
            break;
        }
    }
    log.lock().unwrap().push(Request { path, from });
    let start = if manner == Manner::WithoutRanges { 0 } else { from.unwrap_or(0) };
    let head = match (manner, start) {
        (Manner::NotFound, _) => "404 Not Found\r\nContent-Length: 0\r\n".into(),
        (_, 0) => format!("200 OK\r\nContent-Length: {}\r\n", body.len()),
        _ => format!(
            "206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{}\r\n",
            body.len() - start,
            body.len() - 1,
            body.len()
        ),
    };
    let sent = match manner {
        Manner::NotFound => &[],
        Manner::BreakingOff(most) => &body[start..body.len().min(start + most)],
        Manner::Well | Manner::WithoutRanges => &body[start..],
    };
    let mut stream = stream;
    stream.write_all(format!("HTTP/1.1 {head}Connection: close\r\n\r\n").as_bytes())?;
    stream.write_all(sent)
}
