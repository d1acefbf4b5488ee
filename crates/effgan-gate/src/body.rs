//! HTTP bodies that pass through gate and forwarder, with limits on time and size.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};

/// Longest pause within a body.
pub const MAX_SILENCE: Duration = Duration::from_secs(30);
/// Longest time for a whole body: an object of 5 MiB at 150 kbit/s.
pub const MAX_BODY_TIME: Duration = Duration::from_mins(5);

/// A body that this crate sends.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn empty() -> Body {
    full(Bytes::new())
}

/// The body of a request; what is unread when it is dropped is read and discarded.
// A node that finds the connection closed before it has read the 403 would retry for ever.
pub(crate) struct DrainedBody(Option<Incoming>);

/// Maximum number of bytes that are read only to be discarded.
const MAX_DISCARDED: usize = 16 << 20;

impl DrainedBody {
    pub(crate) fn new(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl Drop for DrainedBody {
    fn drop(&mut self) {
        let Some(mut body) = self.0.take().filter(|body| !body.is_end_stream()).map(TimedBody::new) else { return };
        let drain = async move {
            let mut left = MAX_DISCARDED;
            while let Some(Ok(frame)) = body.frame().await {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                match left.checked_sub(bytes) {
                    Some(rest) => left = rest,
                    None => break,
                }
            }
        };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(drain);
        }
    }
}

impl HttpBody for DrainedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        self.0.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

/// A body that fails after a pause of [`MAX_SILENCE`], or when it takes longer than [`MAX_BODY_TIME`].
pub(crate) struct TimedBody<B> {
    body: B,
    end: Instant,
    silence: Pin<Box<Sleep>>,
}

impl<B> TimedBody<B> {
    pub(crate) fn new(body: B) -> Self {
        let now = Instant::now();
        Self { body, end: now + MAX_BODY_TIME, silence: Box::pin(sleep_until(now + MAX_SILENCE)) }
    }
}

impl<B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin> HttpBody for TimedBody<B> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            ready!(self.silence.as_mut().poll(cx));
            return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, "the body does not arrive"))));
        };
        let next = (Instant::now() + MAX_SILENCE).min(self.end);
        self.silence.as_mut().reset(next);
        Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Reads a body of at most `max_bytes` bytes.
pub(crate) async fn read<B>(body: B, max_bytes: u64) -> io::Result<Bytes>
where
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    let limited = Limited::new(TimedBody::new(body), usize::try_from(max_bytes).unwrap_or(usize::MAX));
    limited.collect().await.map(Collected::to_bytes).map_err(io::Error::other)
}
