//! The head of a request: endpoint, length and key.

use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::{HeaderMap, StatusCode};

use super::{Refusal, SiteIdentity, forbidden, malformed, not_the_node};
use crate::endpoint::Endpoint;
use crate::headers::PUBLIC_KEY;

/// Checks the head of a request, and returns its endpoint and the length of its body.
pub(crate) fn check_head(
    site: &SiteIdentity,
    method: &str,
    target: &str,
    headers: &HeaderMap,
) -> Result<(Endpoint, u64), Refusal> {
    let no_endpoint = Refusal::new(StatusCode::NOT_FOUND, "not an endpoint that a node needs");
    let endpoint = Endpoint::of(method, target).ok_or(no_endpoint)?;
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(malformed("a body of unknown length"));
    }
    let length = single(headers, CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
    let length: u64 = length.ok_or_else(|| malformed("a body of unknown length"))?;
    // What `probe` sends; the response tells it that the site is admitted.
    if length == 0 {
        return Err(malformed("a probe whether the site is admitted"));
    }
    if length > endpoint.max_request() {
        // At 413 a node would end itself; at 403 it drops the message.
        return Err(forbidden("a request with too many bytes"));
    }
    if single(headers, PUBLIC_KEY) != Some(site.header()) {
        return Err(not_the_node("another key in the header than in TLS"));
    }
    Ok((endpoint, length))
}

/// The value of a header that occurs once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}
