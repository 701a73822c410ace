//! Cuts the byte stream of a connection into frames without copying: a small frame is split off the buffer it was read
//! into, a large one has a buffer of its own, which is used again. A client's connection cuts responses with it, the
//! embedded broker requests. Memory follows the bytes that have arrived, not the length that was announced.

use bytes::{Bytes, BytesMut};

use super::buffers::{Buffers, LARGE};
use crate::error::{Error, ErrorKind};

/// Room for small frames; also what a peer gets before it has sent anything.
const READ_AHEAD: usize = 8 << 10;
/// So much of an announced frame is allocated at once, whatever the peer has shown so far.
const TRUSTED: usize = 1 << 20;
/// Below this, a fresh buffer is better than short reads.
const MIN_SPACE: usize = 512;

/// After so many small frames in a row, no large ones are to be expected.
const QUIET: u32 = 2;

/// The reading half's buffer.
#[derive(Debug)]
pub(crate) struct Frames {
    buffer: BytesMut,
    buffers: Buffers,
    max_frame: usize,
    /// The buffer is to hold so many bytes before the present frame's next growth.
    goal: usize,
    /// Twice the largest frame that arrived whole: it may be allocated at once next time.
    trusted: usize,
    /// Small frames since the last large one; `QUIET` if none came yet.
    small: u32,
}

/// A length no frame may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadLength {
    length: i32,
    max: usize,
}

impl Frames {
    /// No frame may be larger than `max_frame`, its size field not counted.
    pub(crate) fn new(max_frame: usize, buffers: Buffers) -> Self {
        Self { buffer: BytesMut::new(), buffers, max_frame, goal: 0, trusted: TRUSTED, small: QUIET }
    }

    /// The next whole frame, without its length.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, BadLength> {
        let Some(total) = self.announced()? else { return Ok(None) };
        if self.buffer.len() < total {
            return Ok(None);
        }
        self.goal = 0;
        self.trusted = self.trusted.max(total.saturating_mul(2));
        let mut frame = if total < LARGE { self.buffer.split_to(total).freeze() } else { self.lend(total) };
        bytes::Buf::advance(&mut frame, 4);
        if total >= LARGE {
            self.small = 0;
        } else if self.small < QUIET {
            self.small += 1;
            if self.small == QUIET {
                self.buffers.clear();
            }
        }
        Ok(Some(frame))
    }

    /// The present frame with its whole buffer, apart from the few bytes behind it.
    fn lend(&mut self, total: usize) -> Bytes {
        let behind = self.buffer.get(total..).unwrap_or_default();
        let behind = if behind.is_empty() { BytesMut::new() } else { BytesMut::from(behind) };
        let mut buffer = std::mem::replace(&mut self.buffer, behind);
        buffer.truncate(total);
        self.buffers.lend(buffer)
    }

    /// The buffer with room to read into. Call it after [`next`](Self::next) has returned `None`.
    pub(crate) fn space(&mut self) -> &mut BytesMut {
        match self.announced() {
            Ok(Some(total)) if total > self.buffer.len() => {
                if self.buffer.len() >= self.goal {
                    let step = self.trusted.max(self.buffer.len().saturating_mul(2));
                    self.goal = total.min(step);
                }
                if total < LARGE {
                    self.buffer.reserve(self.goal.saturating_sub(self.buffer.len()));
                } else if self.buffer.capacity() < self.goal {
                    let mut larger = self.buffers.take(self.goal);
                    larger.extend_from_slice(&self.buffer);
                    self.buffer = larger;
                }
            }
            _ => {
                if self.buffer.capacity() - self.buffer.len() < MIN_SPACE {
                    self.buffer.reserve(READ_AHEAD);
                }
            }
        }
        &mut self.buffer
    }

    /// The present frame's size including its length field, once that has arrived.
    fn announced(&self) -> Result<Option<usize>, BadLength> {
        let Some(length) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = i32::from_be_bytes(*length);
        match usize::try_from(length) {
            Ok(n) if n >= 4 && n <= self.max_frame => Ok(Some(n + 4)),
            _ => Err(BadLength { length, max: self.max_frame }),
        }
    }
}

/// Whoever reads on has another connection, which has seen no large frame.
impl Drop for Frames {
    fn drop(&mut self) {
        if self.small < QUIET || self.goal >= LARGE {
            self.buffers.clear();
        }
    }
}

impl BadLength {
    /// The error of a client, with the usual reasons recognised.
    pub(crate) fn error(self, peer: &str) -> Error {
        let Self { length, max } = self;
        let bytes = length.to_be_bytes();
        let message = if bytes[..2] == [0x15, 0x03] || bytes[..2] == [0x16, 0x03] {
            format!("{peer} answers with TLS: this listener wants an encrypted connection, so turn on TLS")
        } else if &bytes == b"HTTP" {
            format!("{peer} answers with HTTP: that is not a Kafka listener")
        } else if length < 4 {
            format!("{peer} announced a frame of {length} bytes, which is not Kafka's protocol: check host and port")
        } else {
            format!(
                "{peer} announced a frame of {length} bytes, more than the limit of {max}: not a Kafka broker, or raise the limit"
            )
        };
        Error::new(ErrorKind::Protocol, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(n: usize) -> Vec<u8> {
        [&(n as i32).to_be_bytes()[..], &vec![7; n]].concat()
    }

    fn feed(frames: &mut Frames, bytes: &[u8]) {
        frames.space().extend_from_slice(bytes);
    }

    #[test]
    fn frames_come_out_whole_whatever_the_pieces() {
        let sizes = [5, 4, 9000, 100, 2 * LARGE, 7, LARGE, LARGE - 5, 3 * LARGE];
        let stream: Vec<u8> = sizes.into_iter().flat_map(frame).collect();
        for step in [1, 3, 7, 1000, 100_000, 1 << 20] {
            let (mut frames, mut got) = (Frames::new(1 << 20, Buffers::default()), vec![]);
            for piece in stream.chunks(step) {
                feed(&mut frames, piece);
                while let Some(f) = frames.next().unwrap() {
                    assert!(f.iter().all(|byte| *byte == 7));
                    got.push(f.len());
                }
            }
            assert_eq!(got, sizes, "pieces of {step}");
        }
    }

    #[test]
    fn hostile_lengths_are_refused_before_anything_is_allocated() {
        for length in [i32::MIN, -1, 0, 3, (100 << 20) + 1, i32::MAX] {
            let mut frames = Frames::new(100 << 20, Buffers::default());
            feed(&mut frames, &length.to_be_bytes());
            let error = frames.next().unwrap_err().error("kafka:9092");
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(error.to_string().contains(&length.to_string()) && error.to_string().contains("kafka:9092"));
            assert!(frames.space().capacity() <= 2 * READ_AHEAD);
        }
    }

    #[test]
    fn an_announced_frame_is_allocated_as_it_arrives() {
        let mut frames = Frames::new(100 << 20, Buffers::default());
        feed(&mut frames, &(90i32 << 20).to_be_bytes());
        assert!(frames.next().unwrap().is_none());
        assert!(frames.space().capacity() <= 2 * TRUSTED);
        feed(&mut frames, &vec![0; TRUSTED]);
        assert!(frames.next().unwrap().is_none());
        assert!(frames.space().capacity() <= 4 * TRUSTED);
    }

    #[test]
    fn a_large_frame_is_not_moved_once_its_size_is_trusted() {
        let mut frames = Frames::new(100 << 20, Buffers::default());
        feed(&mut frames, &frame(600_000)[..10]);
        let at = frames.space().as_ptr();
        let rest = frame(600_000);
        for piece in rest[10..].chunks(8192) {
            feed(&mut frames, piece);
        }
        assert_eq!(frames.next().unwrap().unwrap().as_ptr() as usize, at as usize + 4);
    }

    #[test]
    fn the_buffer_of_a_large_frame_is_used_again_until_none_come_any_more() {
        let (buffers, large) = (Buffers::default(), frame(600_000));
        let mut frames = Frames::new(100 << 20, buffers.clone());
        let mut get = |bytes: &[u8]| {
            for piece in bytes.chunks(8192) {
                feed(&mut frames, piece);
            }
            frames.next().unwrap().unwrap()
        };
        let first = get(&large);
        let (second, at) = (get(&large), first.as_ptr());
        assert_ne!(second.as_ptr(), at, "the first is held");
        drop(first);
        assert_eq!(get(&large).as_ptr(), at);
        assert!(buffers.idle() >= 600_000);
        get(&frame(10));
        assert!(buffers.idle() >= 600_000);
        get(&frame(10));
        assert_eq!(buffers.idle(), 0);
    }

    #[test]
    fn nothing_waits_for_a_connection_that_has_ended() {
        for read in [600_000, 10] {
            let (buffers, large) = (Buffers::default(), frame(600_000));
            let mut frames = Frames::new(100 << 20, buffers.clone());
            for piece in large[..read].chunks(8192) {
                feed(&mut frames, piece);
            }
            frames.space();
            drop(frames);
            let mut frames = Frames::new(100 << 20, buffers.clone());
            feed(&mut frames, &frame(10));
            frames.next().unwrap().unwrap();
            buffers.give_back(buffers.room(600_000, 1 << 20));
            assert_eq!(buffers.idle(), 0, "{read}");
        }
    }

    #[test]
    fn tls_and_http_are_recognised() {
        let error = |bytes: [u8; 4]| BadLength { length: i32::from_be_bytes(bytes), max: 1 }.error("p").to_string();
        assert!(error([0x15, 3, 3, 0]).contains("TLS"));
        assert!(error(*b"HTTP").contains("HTTP"));
    }
}
