//! The headers that pass through gate and forwarder.

use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use hyper::{Response, StatusCode};

use crate::body::{Body, empty};

/// The header in which a node sends its key.
pub(crate) const PUBLIC_KEY: &str = "flwr-public-key";

/// The request headers that pass, which are those that Flower reads. All others are dropped.
const REQUEST_HEADERS: [&str; 8] = [
    "content-type",
    "accept",
    PUBLIC_KEY,
    "flwr-timestamp",
    "flwr-signature",
    "flwr-package-name",
    "flwr-package-version",
    "flwr-component-name",
];

/// The response headers that pass.
const RESPONSE_HEADERS: [HeaderName; 2] =
    [CONTENT_TYPE, HeaderName::from_static("flwr-version-incompatibility-message")];

/// The headers of a request that pass.
pub(crate) fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let pass = |name| Some((HeaderName::from_static(name), headers.get(name)?.clone()));
    REQUEST_HEADERS.into_iter().filter_map(pass).collect()
}

/// A response with `status`, those of `headers` that pass, and `body`.
pub(crate) fn response(status: StatusCode, headers: &HeaderMap, body: Body) -> Response<Body> {
    let mut response = empty_response(status);
    for name in RESPONSE_HEADERS {
        if let Some(value) = headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    *response.body_mut() = body;
    response
}

/// A response without a body.
pub(crate) fn empty_response(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    response
}
