//! A connection's bytes under TLS, in two halves over one session. The reading half belongs to the connection's driver, the
//! writing half to whoever writes. The session's lock is held for encrypting and decrypting, never across an await.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::failure::Failure;
use super::session::{Session, Side};
use crate::env::{Transport, lock};

struct Shared<S> {
    session: Session<S>,
    io: Box<dyn AsyncWrite + Send + Unpin>,
    /// The socket takes nothing any more. Who reads learns why: the broker may have said so before it closed.
    broken: bool,
    /// What waits to be written came of reading, and the reader sees to it. All else is the writer's business, whose
    /// waker must stay with the socket.
    owed: bool,
    /// What ended the session; told to who reads, after the bytes before it.
    failed: Option<rustls::Error>,
}

struct Reader<S> {
    shared: Arc<Mutex<Shared<S>>>,
    io: Box<dyn AsyncRead + Send + Unpin>,
    ended: bool,
}

struct Writer<S: Side>(Arc<Mutex<Shared<S>>>);

/// Shakes hands. Dropping it closes the stream.
pub(super) async fn secure<S: Side>(tls: S, transport: Transport) -> Result<Transport, Failure> {
    let session = Session::new(tls);
    let shared = Shared { session, io: transport.writer, broken: false, owed: false, failed: None };
    let shared = Arc::new(Mutex::new(shared));
    let mut reader = Reader { shared: shared.clone(), io: transport.reader, ended: false };
    poll_fn(|cx| reader.poll_handshake(cx)).await?;
    Ok(Transport { reader: Box::new(reader), writer: Box::new(Writer(shared)) })
}

impl<S: Side> Shared<S> {
    /// Writes all encrypted bytes. Ready when the socket has them.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        if self.broken {
            return Poll::Pending;
        }
        let sent = self.poll_send_to_socket(cx);
        if let Poll::Ready(Err(e)) = &sent
            && matches!(e.kind(), BrokenPipe | ConnectionReset | ConnectionAborted)
        {
            self.broken = true;
            return Poll::Pending;
        }
        sent
    }

    fn poll_send_to_socket(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.session.to_send().is_empty() {
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, self.session.to_send()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.session.sent(count);
        }
        self.owed = false;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// The session is over; who reads is told.
    fn fail(&mut self, error: rustls::Error) {
        self.failed.get_or_insert(error);
        self.broken = true;
    }
}

impl<S: Side> Reader<S> {
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            {
                let mut shared = lock(&self.shared);
                let shaken = shared.session.shake_hands();
                let sent = shared.poll_send(cx).map_err(|e| Failure::lost(&e));
                // The broker gets to know why, if it still listens.
                shaken.map_err(Failure::Tls)?;
                let sent = sent?;
                // A socket that is broken is read to its end, which tells why.
                if !shared.session.is_handshaking() && !shared.broken {
                    return sent.map(Ok);
                }
            }
            if ready!(self.poll_fill(cx)).map_err(|e| Failure::lost(&e))? == 0 {
                return Poll::Ready(Err(Failure::Closed));
            }
        }
    }

    /// Reads from the socket.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut shared = lock(&self.shared);
        let mut space = ReadBuf::new(shared.session.space());
        if space.capacity() == 0 {
            return Poll::Ready(Err(wrapped(rustls::Error::PeerSentOversizedRecord)));
        }
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut space))?;
        let count = space.filled().len();
        shared.session.received(count);
        Poll::Ready(Ok(count))
    }

    /// Decrypts what is there. Whether the session is over then.
    fn decrypt(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> bool {
        let mut shared = lock(&self.shared);
        let idle = shared.session.to_send().is_empty();
        let read = shared.session.read(into);
        shared.owed |= idle && !shared.session.to_send().is_empty();
        if shared.owed {
            // Answers of TLS itself, alerts among them. Whatever is in the way shows when reading or writing.
            let _sent = shared.poll_send(cx);
        }
        if let Err(error) = read {
            shared.fail(error);
        }
        shared.session.has_ended() || shared.failed.is_some()
    }
}

impl<S: Side> AsyncRead for Reader<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        loop {
            let over = self.ended || self.decrypt(cx, into);
            if into.filled().len() > before || into.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if over {
                self.ended = true;
                let failed = lock(&self.shared).failed.clone();
                return Poll::Ready(failed.map_or(Ok(()), |error| Err(wrapped(error))));
            }
            if ready!(self.poll_fill(cx))? == 0 {
                self.ended = true;
            }
        }
    }
}

impl<S: Side> AsyncWrite for Writer<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if parts.iter().all(|part| part.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let mut shared = lock(&self.0);
        loop {
            if shared.broken {
                return Poll::Pending;
            }
            let taken = match shared.session.write(parts) {
                Ok(taken) => taken,
                Err(error) => {
                    shared.fail(error);
                    // The reading half tells it, and has had its turn if both belong to one task.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            };
            match (taken, shared.poll_send(cx)) {
                // Some of it may be on its way already. What is wrong with the socket shows at the next call.
                (1.., _) => return Poll::Ready(Ok(taken)),
                (0, Poll::Ready(Err(e))) => return Poll::Ready(Err(e)),
                (0, Poll::Pending) => return Poll::Pending,
                (0, Poll::Ready(Ok(()))) => {}
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.0);
        shared.session.close().map_err(wrapped)?;
        ready!(shared.poll_send(cx))?;
        Pin::new(&mut shared.io).poll_shutdown(cx)
    }
}

/// Says goodbye, if the socket takes it at once.
impl<S: Side> Drop for Writer<S> {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        if !shared.broken && shared.session.close().is_ok() {
            let _sent = shared.poll_send(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// As it travels through streams, for [`Failure::of`].
fn wrapped(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
