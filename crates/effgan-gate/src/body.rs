//! Bodies that pass through: never held whole where nothing in them is looked at, and never waited for without end.

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

use crate::decide::is_tail;

/// Longest silence within a body.
pub const SILENCE: Duration = Duration::from_secs(30);
/// Longest that a body may take: one object of 5 MiB at 150 kbit/s.
pub const WHOLE: Duration = Duration::from_mins(5);

/// Any body of ours.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn empty() -> Body {
    full(Bytes::new())
}

/// The body of a request. What nobody read of it when it is dropped is read and thrown away: one who is refused in the middle of his words
/// would otherwise find the line cut before he hears why, and try again for ever.
pub(crate) struct Heard(Option<Incoming>);

/// Most bytes that are read for that alone.
const THROWN_AWAY: usize = 16 << 20;

impl Heard {
    pub(crate) fn new(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        let Some(mut body) = self.0.take().filter(|body| !body.is_end_stream()).map(Timed::new) else { return };
        let hear_out = async move {
            let mut left = THROWN_AWAY;
            while let Some(Ok(frame)) = body.frame().await {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                match left.checked_sub(bytes) {
                    Some(rest) => left = rest,
                    None => break,
                }
            }
        };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(hear_out);
        }
    }
}

impl HttpBody for Heard {
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

/// A body that is silent no longer than [`SILENCE`], and over after [`WHOLE`].
pub(crate) struct Timed<B> {
    body: B,
    end: Instant,
    silence: Pin<Box<Sleep>>,
}

impl<B> Timed<B> {
    pub(crate) fn new(body: B) -> Self {
        let now = Instant::now();
        Self { body, end: now + WHOLE, silence: Box::pin(sleep_until(now + SILENCE)) }
    }
}

impl<B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin> HttpBody for Timed<B> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            ready!(self.silence.as_mut().poll(cx));
            return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, "a body that does not come"))));
        };
        let next = (Instant::now() + SILENCE).min(self.end);
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

/// All of a body of `most` bytes or fewer.
pub(crate) async fn read<B>(body: B, most: u64) -> io::Result<Bytes>
where
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    let limited = Limited::new(Timed::new(body), usize::try_from(most).unwrap_or(usize::MAX));
    limited.collect().await.map(Collected::to_bytes).map_err(io::Error::other)
}

/// A `push-object` request: its checked head, its content unread, and its end, which is checked before it goes on.
pub(crate) struct Object<B> {
    head: Option<Bytes>,
    /// Came with the head.
    early: Bytes,
    rest: Timed<B>,
    content: u64,
    tail: Vec<u8>,
    most_tail: usize,
    is_over: bool,
}

impl<B> Object<B> {
    /// `early` is what came after the head with it; `content` bytes and `tail` bytes follow the head.
    pub(crate) fn new(head: Vec<u8>, early: Bytes, rest: Timed<B>, content: u64, tail: usize) -> Self {
        Self { head: Some(head.into()), early, rest, content, tail: Vec::new(), most_tail: tail, is_over: false }
    }

    /// What of `bytes` may go on now.
    fn take(&mut self, mut bytes: Bytes) -> io::Result<Option<Bytes>> {
        let content = bytes.split_to(usize::try_from(self.content).unwrap_or(usize::MAX).min(bytes.len()));
        self.content -= content.len() as u64;
        self.tail.extend_from_slice(&bytes);
        if self.content > 0 || self.tail.len() < self.most_tail {
            return Ok((!content.is_empty()).then_some(content));
        }
        if self.tail.len() > self.most_tail || !is_tail(&self.tail) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an object that ends in something else"));
        }
        self.is_over = true;
        Ok(Some([&content[..], &self.tail].concat().into()))
    }
}

impl<B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin> HttpBody for Object<B> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(head) = self.head.take() {
            return Poll::Ready(Some(Ok(Frame::data(head))));
        }
        while !self.is_over {
            let mut bytes = std::mem::take(&mut self.early);
            if bytes.is_empty() {
                let frame = ready!(Pin::new(&mut self.rest).poll_frame(cx)).transpose()?;
                let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "an object that ends early");
                bytes = frame.ok_or_else(ended)?.into_data().unwrap_or_default();
            }
            if let Some(bytes) = self.take(bytes)? {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        let head = self.head.as_ref().map_or(0, Bytes::len);
        let tail = if self.is_over { 0 } else { self.most_tail };
        SizeHint::with_exact(head as u64 + self.content + tail as u64)
    }
}
