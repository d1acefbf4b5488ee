//! Whom a site calls, and as whom; and whether it would be let in.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::header::{CONTENT_LENGTH, DATE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::body::empty;
use crate::call::Call;
use crate::dial::{Dial, Place};
use crate::error::GateError;
use crate::file;
use crate::identity::{ClientIdentity, client_identity};
use crate::proxy::Proxy;
use crate::tls::{self, Trouble};

/// Most bytes of a private key in OpenSSH's form.
const MOST: u64 = 64 << 10;
/// How long a gate may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The way from a site to its server.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The server.
    pub server: Place,
    /// The one CA that is trusted.
    pub ca: PathBuf,
    /// The site.
    pub identity: ClientIdentity,
    /// Through which the call goes.
    pub proxy: Option<Proxy>,
}

impl Destination {
    /// The way that a kit says: its `ca.crt` and its `key`, the proxy of the environment, and `server`, which is `host:port`.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn of_kit(kit: &Path, server: &str) -> Result<Self, GateError> {
        let server = Place::parse(server)?;
        let identity = client_identity(&file::read(&kit.join("key"), MOST)?)?;
        let proxy = Proxy::of_environment(&server)?;
        Ok(Self { server, ca: kit.join("ca.crt"), identity, proxy })
    }

    pub(crate) fn dial(&self) -> Result<Dial, GateError> {
        Dial::new(self.server.clone(), tls::caller(&self.ca, Some(&self.identity))?, self.proxy.clone())
    }
}

/// Calls the gate as the site would, and answers with the date that it says. The one request is without a body, which the gate itself
/// answers: nothing reaches Flower.
///
/// # Errors
/// [`GateError`] for what is wrong here; the inner error is what is wrong there.
pub fn probe(destination: &Destination) -> Result<Result<Option<String>, Trouble>, GateError> {
    let dial = destination.dial()?;
    let wrong = |error| GateError::Listen { address: destination.server.to_string(), error };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(wrong)?;
    let called = runtime.block_on(async { timeout(PATIENCE, call(&dial, &destination.server)).await });
    Ok(called.unwrap_or_else(|_| Err(Trouble::Unreachable("no answer in 10 s".into()))))
}

async fn call(dial: &Dial, server: &Place) -> Result<Option<String>, Trouble> {
    let stream = dial.connect().await.map_err(|error| Trouble::of(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| Trouble::of(&error))?;
    let connection = tokio::spawn(connection);
    let mut request = Request::new(empty());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = hyper::Uri::from_static(Call::SendNodeHeartbeat.path());
    let host = HeaderValue::from_str(&server.to_string()).map_err(|_| Trouble::Unreachable("it has no name".into()))?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    let answered = sender.send_request(request).await;
    let answer = match answered {
        Ok(answer) => answer,
        Err(error) => {
            // Where a handshake is refused, the connection itself knows why.
            let behind = connection.await.ok().and_then(Result::err);
            return Err(behind.map_or_else(|| Trouble::of(&error), |behind| Trouble::of(&behind)));
        }
    };
    match answer.status() {
        StatusCode::BAD_REQUEST => {
            Ok(answer.headers().get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned))
        }
        StatusCode::UNAUTHORIZED => Err(Trouble::NotAdmitted),
        StatusCode::SERVICE_UNAVAILABLE => Err(Trouble::Unreachable("it is busy".into())),
        _ => Err(Trouble::of(&io::Error::other("another server than a gate of effgan's answers"))),
    }
}
