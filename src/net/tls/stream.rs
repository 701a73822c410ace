//! A connection's bytes under TLS, in two halves over one session. The reading half belongs to the connection's driver and
//! reads the socket in large pieces; the writing half encrypts what callers hand over into full records and writes many at
//! once. The session's lock is held for encrypting and decrypting, never across an await.

use std::future::poll_fn;
use std::io::{self, BufRead as _, IoSlice, Write as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use rustls::Connection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::failure::Failure;
use crate::env::{Transport, lock};

/// So much is read from the socket at once: four full records.
const READ_SIZE: usize = 64 << 10;
/// So much is encrypted ahead of what the socket has taken: eight full records.
const WRITE_AHEAD: usize = 128 << 10;

struct Session {
    tls: Connection,
    io: Box<dyn AsyncWrite + Send + Unpin>,
    /// The socket takes nothing any more. Who reads learns why: the broker may have said so before it closed.
    broken: bool,
    /// What waits to be written came of reading, and the reader sees to it. All else is the writer's business, whose
    /// waker must stay with the socket.
    owed: bool,
}

struct Reader {
    session: Arc<Mutex<Session>>,
    io: Box<dyn AsyncRead + Send + Unpin>,
    /// What the socket gave and the session has not taken: `start..end`.
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Told after the bytes before it.
    failed: Option<io::Error>,
    ended: bool,
}

struct Writer(Arc<Mutex<Session>>);

/// Shakes hands. Dropping it closes the stream.
pub(super) async fn secure(mut tls: Connection, transport: Transport) -> Result<Transport, Failure> {
    tls.set_buffer_limit(Some(WRITE_AHEAD));
    let session = Arc::new(Mutex::new(Session { tls, io: transport.writer, broken: false, owed: false }));
    let buffer = vec![0; READ_SIZE].into_boxed_slice();
    let (start, end, failed, ended) = (0, 0, None, false);
    let mut reader = Reader { session: session.clone(), io: transport.reader, buffer, start, end, failed, ended };
    let writer = Writer(session);
    poll_fn(|cx| reader.poll_handshake(cx)).await?;
    Ok(Transport { reader: Box::new(reader), writer: Box::new(writer) })
}

impl Session {
    /// Takes encrypted bytes. Returns whether there will be more.
    fn feed(&mut self, mut bytes: &[u8], start: &mut usize) -> io::Result<bool> {
        let idle = !self.tls.wants_write();
        let taken = self.tls.read_tls(&mut bytes)?;
        *start += taken;
        let processed = self.tls.process_new_packets();
        self.owed |= idle && self.tls.wants_write();
        processed.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        Ok(taken > 0)
    }

    /// Moves decrypted bytes. It is no error that there are none.
    fn drain(&mut self, into: &mut ReadBuf<'_>) {
        while into.remaining() > 0 {
            let mut reader = self.tls.reader();
            let Ok(chunk @ [_, ..]) = reader.fill_buf() else { return };
            let count = chunk.len().min(into.remaining());
            into.put_slice(&chunk[..count]);
            reader.consume(count);
        }
    }

    /// Writes all encrypted bytes. Ready when the socket has them.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken {
            return Poll::Pending;
        }
        let sent = self.poll_send_to_socket(cx);
        if let Poll::Ready(Err(e)) = &sent
            && matches!(
                e.kind(),
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
            )
        {
            self.broken = true;
            return Poll::Pending;
        }
        sent
    }

    fn poll_send_to_socket(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Socket { io: &mut self.io, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        self.owed = false;
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

impl Reader {
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            {
                let mut session = lock(&self.session);
                let sent = session.poll_send(cx).map_err(|e| Failure::lost(&e))?;
                if !session.tls.is_handshaking() {
                    return sent.map(Ok);
                }
            }
            if ready!(self.poll_fill(cx)).map_err(|e| Failure::lost(&e))? == 0 {
                return Poll::Ready(Err(Failure::Closed));
            }
            let mut session = lock(&self.session);
            while self.start < self.end && session.tls.is_handshaking() {
                if let Err(e) = session.feed(&self.buffer[self.start..self.end], &mut self.start) {
                    // The broker gets to know why, if it still listens.
                    let _alert = session.poll_send(cx);
                    return Poll::Ready(Err(Failure::lost(&e)));
                }
            }
        }
    }

    /// Reads from the socket; only when all was taken that it gave before.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut space))?;
        (self.start, self.end) = (0, space.filled().len());
        Poll::Ready(Ok(self.end))
    }

    /// Decrypts what is there, as far as there is room for it.
    fn decrypt(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) {
        let mut session = lock(&self.session);
        session.drain(into);
        while into.remaining() > 0 && self.start < self.end {
            match session.feed(&self.buffer[self.start..self.end], &mut self.start) {
                Ok(true) => session.drain(into),
                Ok(false) => {
                    self.ended = true;
                    break;
                }
                Err(e) => {
                    self.failed = Some(e);
                    break;
                }
            }
        }
        if session.owed {
            // Whatever is in the way shows when reading or writing.
            let _sent = session.poll_send(cx);
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        loop {
            if self.failed.is_none() && !self.ended {
                self.decrypt(cx, into);
            }
            if into.filled().len() > before || into.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = self.failed.take() {
                self.ended = true;
                return Poll::Ready(Err(error));
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            self.ended = ready!(self.poll_fill(cx))? == 0;
        }
    }
}

impl AsyncWrite for Writer {
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
        let mut session = lock(&self.0);
        loop {
            let taken = session.tls.writer().write_vectored(parts)?;
            let sent = session.poll_send(cx);
            match (taken, sent) {
                (_, Poll::Ready(Err(e))) => return Poll::Ready(Err(e)),
                (1.., _) => return Poll::Ready(Ok(taken)),
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
        let mut session = lock(&self.0);
        session.tls.send_close_notify();
        ready!(session.poll_send(cx))?;
        Pin::new(&mut session.io).poll_shutdown(cx)
    }
}

/// Says goodbye, if the socket takes it at once.
impl Drop for Writer {
    fn drop(&mut self) {
        let mut session = lock(&self.0);
        session.tls.send_close_notify();
        let _sent = session.poll_send(&mut Context::from_waker(Waker::noop()));
    }
}

/// The socket as rustls writes to it.
struct Socket<'a, 'b> {
    io: &'a mut (dyn AsyncWrite + Send + Unpin),
    cx: &'a mut Context<'b>,
}

fn blocking<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl io::Write for Socket<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.io).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.io).poll_write_vectored(self.cx, parts))
    }

    fn flush(&mut self) -> io::Result<()> {
        blocking(Pin::new(&mut *self.io).poll_flush(self.cx))
    }
}
