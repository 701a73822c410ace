//! A request under way, seen by its caller.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::shared::{Reply, Shared};
use crate::error::{Error, ErrorKind, Result};
use crate::wire::Request;
use crate::wire::header::decode_response;

/// The answer to come. Decoded where it is awaited, so that the reader goes on meanwhile. Dropping it discards the
/// answer; the request is still sent. Cancel-safe.
#[must_use = "dropping it discards the answer"]
pub(crate) struct Pending<R> {
    raw: PendingFrame,
    version: i16,
    request: PhantomData<fn() -> R>,
}

/// The answer as a frame.
pub(super) struct PendingFrame {
    pub(super) reply: oneshot::Receiver<Reply>,
    pub(super) shared: Arc<Shared>,
    pub(super) maybe_sent: bool,
}

impl<R: Request> Pending<R> {
    pub(super) fn new(raw: PendingFrame, version: i16) -> Self {
        Self { raw, version, request: PhantomData }
    }

    /// After an error: whether any byte of the request may have reached the broker.
    pub(crate) fn maybe_sent(&self) -> bool {
        self.raw.maybe_sent
    }
}

impl<R: Request> Future for Pending<R> {
    type Output = Result<R::Response>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let frame = ready!(Pin::new(&mut self.raw).poll(cx))?;
        Poll::Ready(decode_response::<R>(frame, self.version).map_err(|e| {
            let peer = &self.raw.shared.peer;
            let message = format!("{peer} sent an answer to {} v{} that cannot be read", R::NAME, self.version);
            Error::new(ErrorKind::Protocol, message).with_source(e)
        }))
    }
}

impl Future for PendingFrame {
    type Output = Result<Bytes>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match ready!(Pin::new(&mut self.reply).poll(cx)) {
            Ok(Ok(frame)) => {
                self.maybe_sent = true;
                Poll::Ready(Ok(frame))
            }
            Ok(Err(lost)) => {
                self.maybe_sent = lost.maybe_sent;
                Poll::Ready(Err(lost.error))
            }
            Err(_) => {
                self.maybe_sent = true;
                Poll::Ready(Err(Error::new(ErrorKind::Closed, "the runtime that ran the connection has stopped")))
            }
        }
    }
}
