//! Whether the gate would accept a site, for `effgan federation check`.

use std::io;
use std::time::Duration;

use hyper::header::{CONTENT_LENGTH, DATE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::destination::Destination;
use crate::address::ServerAddress;
use crate::body::empty;
use crate::connect_error::ConnectError;
use crate::connector::Connector;
use crate::endpoint::Endpoint;
use crate::error::GateError;

/// How long the gate may take to respond.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Calls the gate as the site would, and returns the date of its response. The request has no body, so the gate refuses it itself, and
/// nothing reaches Flower.
///
/// # Errors
/// [`GateError`] when something is wrong at this end; the inner error when the server does not accept the site.
pub fn probe(destination: &Destination) -> Result<Result<Option<String>, ConnectError>, GateError> {
    let connector = destination.connector()?;
    let wrong = |error| GateError::Listen { address: destination.server.to_string(), error };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(wrong)?;
    let called = runtime.block_on(async { timeout(TIMEOUT, call(&connector, &destination.server)).await });
    Ok(called.unwrap_or_else(|_| Err(ConnectError::Unreachable("no answer in 10 s".into()))))
}

async fn call(connector: &Connector, server: &ServerAddress) -> Result<Option<String>, ConnectError> {
    let stream = connector.connect().await.map_err(|error| ConnectError::of(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| ConnectError::of(&error))?;
    let connection = tokio::spawn(connection);
    let mut request = Request::new(empty());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = hyper::Uri::from_static(Endpoint::SendNodeHeartbeat.path());
    let host = HeaderValue::from_str(&server.to_string())
        .map_err(|_| ConnectError::Unreachable("its name is not valid in HTTP".into()))?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    let sent = sender.send_request(request).await;
    let response = match sent {
        Ok(response) => response,
        Err(error) => {
            // When the handshake was refused, the connection holds the reason.
            let cause = connection.await.ok().and_then(Result::err);
            return Err(cause.map_or_else(|| ConnectError::of(&error), |cause| ConnectError::of(&cause)));
        }
    };
    match response.status() {
        StatusCode::BAD_REQUEST => {
            Ok(response.headers().get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned))
        }
        StatusCode::UNAUTHORIZED => Err(ConnectError::NotAdmitted),
        StatusCode::SERVICE_UNAVAILABLE => Err(ConnectError::Unreachable("it is busy".into())),
        _ => Err(ConnectError::of(&io::Error::other("something other than effgan's gate answers"))),
    }
}
