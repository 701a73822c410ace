//! One side's TLS session and its buffers: encrypted bytes in, encrypted bytes out, plain bytes in between. No socket and no
//! waiting. It drives rustls without rustls' own buffers, which read 4 KiB at a time and cost three times the decryption.
//!
//! Every call hands rustls the same unread bytes again, whoever calls: it remembers places in them.

use std::io::IoSlice;

use rustls::Error;
use rustls::client::UnbufferedClientConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus};
use tokio::io::ReadBuf;

/// The most plain bytes in a record.
const RECORD: usize = 16 << 10;
/// Room for what the socket has to give: four full records and the beginning of a fifth.
const INCOMING: usize = (64 << 10) + RECORD + 1024;
/// So much is encrypted ahead of what the socket has taken: eight full records.
const WRITE_AHEAD: usize = 128 << 10;

/// A client's or, in tests, a server's connection.
pub(super) trait Side: Send + 'static {
    type Data;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    fn is_handshaking(&self) -> bool;
}

impl Side for UnbufferedClientConnection {
    type Data = rustls::client::ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn is_handshaking(&self) -> bool {
        (**self).is_handshaking()
    }
}

pub(super) struct Session<S> {
    tls: S,
    incoming: Queue,
    outgoing: Queue,
    /// Decrypted, but there was no room where it was to go.
    spare: Vec<u8>,
    spare_from: usize,
    /// Small parts on their way into one record.
    gathered: Vec<u8>,
    /// The other side has said goodbye.
    ended: bool,
    /// What broke it. rustls would go on where it failed, so it is asked no more.
    failed: Option<Error>,
}

/// Bytes between two ends, in one piece of memory that is kept.
struct Queue {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

/// How far the session came.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// There is more to do.
    Again,
    /// There is no room for what was decrypted.
    Full,
    /// All that came in is done with.
    Idle,
}

impl<S: Side> Session<S> {
    pub(super) fn new(tls: S) -> Self {
        let (incoming, outgoing, spare, gathered) = (Queue::new(INCOMING), Queue::new(0), Vec::new(), Vec::new());
        Self { tls, incoming, outgoing, spare, spare_from: 0, gathered, ended: false, failed: None }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Where encrypted bytes from the other side go; [`received`](Self::received) says how many they were. Empty only
    /// where a record is too large to be one.
    pub(super) fn space(&mut self) -> &mut [u8] {
        self.incoming.compact();
        &mut self.incoming.bytes[self.incoming.end..]
    }

    pub(super) fn received(&mut self, count: usize) {
        self.incoming.end += count;
    }

    /// Encrypted bytes for the other side; [`sent`](Self::sent) says how many it got.
    pub(super) fn to_send(&self) -> &[u8] {
        &self.outgoing.bytes[self.outgoing.start..self.outgoing.end]
    }

    pub(super) fn sent(&mut self, count: usize) {
        self.outgoing.take(count);
    }

    /// Goes through the handshake as far as it gets. After an error there may be an alert to send.
    pub(super) fn shake_hands(&mut self) -> Result<(), Error> {
        self.settle()
    }

    /// Decrypts what has come in, as far as there is room for it.
    pub(super) fn read(&mut self, into: &mut ReadBuf<'_>) -> Result<(), Error> {
        let before = into.filled().len();
        let spare = &self.spare[self.spare_from..];
        let count = spare.len().min(into.remaining());
        into.put_slice(&spare[..count]);
        self.spare_from += count;
        if self.spare_from == self.spare.len() {
            self.spare.clear();
            self.spare_from = 0;
        }
        let mut step = Step::Again;
        while into.remaining() > 0 && step == Step::Again {
            let some = into.filled().len() > before;
            step = self.step(Some(into), some)?;
        }
        Ok(())
    }

    /// Encrypts, and returns how many bytes of `parts` that were: none while enough waits to be sent.
    pub(super) fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<usize, Error> {
        let limit = WRITE_AHEAD.saturating_sub(self.to_send().len());
        let mut left = limit;
        let mut gathered = std::mem::take(&mut self.gathered);
        gathered.clear();
        for part in parts {
            let mut part = &part[..part.len().min(left)];
            left -= part.len();
            if !gathered.is_empty() || part.len() < RECORD {
                let (head, tail) = part.split_at(part.len().min(RECORD - gathered.len()));
                gathered.extend_from_slice(head);
                part = tail;
                if gathered.len() == RECORD {
                    self.encrypt(&gathered)?;
                    gathered.clear();
                }
            }
            let (whole, rest) = part.split_at(part.len() - part.len() % RECORD);
            self.encrypt(whole)?;
            gathered.extend_from_slice(rest);
        }
        self.encrypt(&gathered)?;
        self.gathered = gathered;
        Ok(limit - left)
    }

    /// Says goodbye.
    pub(super) fn close(&mut self) -> Result<(), Error> {
        self.settle()?;
        let Self { tls, incoming, outgoing, .. } = self;
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = tls.process(incoming.unread()).state {
            outgoing.fill(|space| room(traffic.queue_close_notify(space)))?;
        }
        Ok(())
    }

    fn encrypt(&mut self, plain: &[u8]) -> Result<(), Error> {
        if plain.is_empty() {
            return Ok(());
        }
        self.settle()?;
        let Self { tls, incoming, outgoing, .. } = self;
        // What rustls itself has to say, such as new keys, it writes before it.
        match tls.process(incoming.unread()).state? {
            ConnectionState::WriteTraffic(mut traffic) => outgoing.fill(|space| room(traffic.encrypt(plain, space))),
            _ => Err(Error::HandshakeNotComplete),
        }
    }

    /// Goes on until there is nothing to do but to send, to receive or to write.
    fn settle(&mut self) -> Result<(), Error> {
        while self.step(None, false)? == Step::Again {}
        Ok(())
    }

    /// `some`: a record that does not fit is left for the next time.
    fn step(&mut self, into: Option<&mut ReadBuf<'_>>, some: bool) -> Result<Step, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let Self { tls, incoming, outgoing, spare, failed, .. } = self;
        let UnbufferedStatus { mut discard, state, .. } = tls.process(incoming.unread());
        let step = match state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                outgoing.fill(|space| encoded(data.encode(space)))?;
                Step::Again
            }
            // It lies in the queue, in order.
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Step::Again
            }
            Ok(ConnectionState::ReadTraffic(mut traffic)) => match into {
                Some(into) if some && traffic.peek_len().is_some_and(|n| n.get() > into.remaining()) => Step::Full,
                into => {
                    if let Some(record) = traffic.next_record() {
                        let record = record.inspect_err(|error| *failed = Some(error.clone()))?;
                        discard += record.discard;
                        let fits = into.as_ref().map_or(0, |into| into.remaining()).min(record.payload.len());
                        let (now, later) = record.payload.split_at(fits);
                        if let Some(into) = into {
                            into.put_slice(now);
                        }
                        spare.extend_from_slice(later);
                    }
                    Step::Again
                }
            },
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                self.ended = true;
                Step::Idle
            }
            Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => Step::Idle,
            Ok(_) => return Err(Error::General("early data, which was not asked for".into())),
            Err(error) => {
                self.incoming.take(discard);
                self.failed = Some(error.clone());
                self.take_alert();
                return Err(error);
            }
        };
        self.incoming.take(discard);
        Ok(step)
    }

    /// After an error: what the other side is to be told of it. rustls hands that out before it looks at its input again.
    fn take_alert(&mut self) {
        let Self { tls, incoming, outgoing, .. } = self;
        if let Ok(ConnectionState::EncodeTlsData(mut data)) = tls.process(incoming.unread()).state {
            // Without it the other side sees a stream that ends.
            let _told = outgoing.fill(|space| encoded(data.encode(space)));
        }
    }
}

/// The bytes written, or how many there must be room for.
fn encoded(encoded: Result<usize, EncodeError>) -> Result<usize, Option<usize>> {
    encoded.map_err(|e| match e {
        EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => Some(required_size),
        EncodeError::AlreadyEncoded => None,
    })
}

/// The same of traffic.
fn room(encrypted: Result<usize, EncryptError>) -> Result<usize, Option<usize>> {
    encrypted.map_err(|e| match e {
        EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => Some(required_size),
        EncryptError::EncryptExhausted => None,
    })
}

impl Queue {
    fn new(size: usize) -> Self {
        Self { bytes: vec![0; size], start: 0, end: 0 }
    }

    fn unread(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    fn take(&mut self, count: usize) {
        self.start += count;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    fn compact(&mut self) {
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
    }

    /// Adds what `write` writes, which says how much room it needs where there is too little.
    fn fill(&mut self, mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>) -> Result<(), Error> {
        let needed = match write(&mut self.bytes[self.end..]) {
            Ok(count) => {
                self.end += count;
                return Ok(());
            }
            Err(Some(needed)) => needed,
            Err(None) => return Err(Error::EncryptError),
        };
        self.compact();
        let least = self.end + needed;
        if self.bytes.len() < least {
            self.bytes.resize(least, 0);
        }
        match write(&mut self.bytes[self.end..]) {
            Ok(count) => {
                self.end += count;
                Ok(())
            }
            Err(_) => Err(Error::EncryptError),
        }
    }
}
