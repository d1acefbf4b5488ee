//! Requests to Flower's `SuperLink` behind the gate.

use std::error::Error;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prost::Message;
use rustls::ClientConfig;
use tokio::time::timeout;

use crate::address::ServerAddress;
use crate::body::{Body, MAX_BODY_TIME, MAX_SILENCE, full};
use crate::connect_error::causes;
use crate::connector::Connector;
use crate::endpoint::Endpoint;
use crate::error::GateError;
use crate::request_check::Refusal;
use crate::wire::RegisterNodeRequest;

/// How long an idle connection is kept: a `SuperLink` closes its end after 5 s.
const IDLE: Duration = Duration::from_secs(3);

/// The `SuperLink` on 127.0.0.1.
pub(super) struct SuperLink {
    client: Client<Connector, Body>,
    port: u16,
}

impl SuperLink {
    pub(super) fn new(port: u16, tls: ClientConfig) -> Result<Self, GateError> {
        let address = ServerAddress { host: "127.0.0.1".into(), port };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(Connector::new(address, tls, None)?);
        Ok(Self { client, port })
    }

    /// Sends a checked request.
    pub(super) async fn send(
        &self,
        endpoint: Endpoint,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response<Incoming>, Refusal> {
        self.post(endpoint.path(), headers, body).await
    }

    /// Registers a key of the list with Flower, as `flwr supernode register` does; false when Flower refuses it, for example because it is registered already.
    // So `admit` and `remove` are edits of one list, whether the server runs or not.
    pub(super) async fn register(&self, pem: &str) -> Result<bool, Refusal> {
        let key = RegisterNodeRequest { public_key: pem.as_bytes().to_vec() };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/protobuf"));
        let response = self.post("/v1/control/register-node", headers, full(key.encode_to_vec())).await?;
        Ok(response.status().is_success())
    }

    async fn post(&self, path: &'static str, headers: HeaderMap, body: Body) -> Result<Response<Incoming>, Refusal> {
        let authority = format!("127.0.0.1:{}", self.port);
        let uri = Uri::builder().scheme("https").authority(authority).path_and_query(path).build();
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.expect("a port and a constant path are a URI");
        *request.headers_mut() = headers;
        match timeout(MAX_BODY_TIME + MAX_SILENCE, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if is_of_body(&error) => Err(incomplete_body()),
            Ok(Err(_)) => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the SuperLink does not answer")),
            Err(_) => Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, "the SuperLink answers too late")),
        }
    }
}

/// Whether the site's own request ended early, rather than the `SuperLink`.
fn is_of_body(error: &(dyn Error + 'static)) -> bool {
    causes(error).filter_map(|error| error.downcast_ref::<hyper::Error>()).any(hyper::Error::is_user)
}

/// The refusal of a request whose body is incomplete.
pub(super) fn incomplete_body() -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "a body that ended early, or with an invalid tail")
}

/// The refusal of a response that cannot be read.
pub(super) fn unreadable_response() -> Refusal {
    Refusal::new(StatusCode::BAD_GATEWAY, "the SuperLink's response cannot be read")
}
