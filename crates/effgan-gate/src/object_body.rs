//! The body of a `push-object` request, passed on to Flower as it arrives: megabytes of content are never held in memory.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};

use crate::body::TimedBody;
use crate::request_check::is_object_tail;

/// A `push-object` request: its checked head, its content as it arrives, and its tail, which is checked before it is passed on.
pub(crate) struct ObjectBody<B> {
    head: Option<Bytes>,
    /// Content that arrived together with the head.
    early: Bytes,
    rest: TimedBody<B>,
    content: u64,
    tail: Vec<u8>,
    tail_len: usize,
    is_over: bool,
}

impl<B> ObjectBody<B> {
    /// `early` arrived together with the head, which `content` bytes and then `tail` bytes follow.
    pub(crate) fn new(head: Vec<u8>, early: Bytes, rest: TimedBody<B>, content: u64, tail: usize) -> Self {
        Self { head: Some(head.into()), early, rest, content, tail: Vec::new(), tail_len: tail, is_over: false }
    }

    /// The part of `bytes` that may be passed on now.
    fn take(&mut self, mut bytes: Bytes) -> io::Result<Option<Bytes>> {
        let content = bytes.split_to(usize::try_from(self.content).unwrap_or(usize::MAX).min(bytes.len()));
        self.content -= content.len() as u64;
        self.tail.extend_from_slice(&bytes);
        if self.content > 0 || self.tail.len() < self.tail_len {
            return Ok((!content.is_empty()).then_some(content));
        }
        if self.tail.len() > self.tail_len || !is_object_tail(&self.tail) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the object has an invalid tail"));
        }
        self.is_over = true;
        Ok(Some([&content[..], &self.tail].concat().into()))
    }
}

impl<B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin> HttpBody for ObjectBody<B> {
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
                let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "the object ends early");
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
        let tail = if self.is_over { 0 } else { self.tail_len };
        SizeHint::with_exact(head as u64 + self.content + tail as u64)
    }
}
