//! The writer: one growing buffer, with large shared chunks (record bodies) spliced in between without a copy.

use bytes::{BufMut, Bytes, BytesMut};

use crate::wire::error::{EncodeError, EncodeFault};

type Encoded = Result<(), EncodeError>;

/// A message ready for the socket: parts to be written one after another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frame {
    /// In order; record bodies are shared with whoever built them.
    pub(crate) parts: Vec<Bytes>,
}

impl Frame {
    /// All bytes in one piece, for tests and small blobs.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        match self.parts.len() {
            0 => Bytes::new(),
            1 => self.parts.swap_remove(0),
            _ => self.parts.concat().into(),
        }
    }
}

/// Chunks shorter than this are copied: one more part of a vectored write costs more.
const SPLICE_FROM: usize = 1024;

/// Appends primitives; large shared chunks are spliced in uncopied.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// Kept apart from `parts`, so that a size can still be patched into it.
    head: BytesMut,
    parts: Vec<Bytes>,
    tail: BytesMut,
    len: usize,
    framed: bool,
}

impl Writer {
    /// An empty writer; allocates with the first byte.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Starts with room for the frame's size, which [`finish`](Self::finish) fills in.
    pub(crate) fn framed() -> Self {
        let mut writer = Self { framed: true, ..Self::default() };
        writer.head.reserve(256);
        writer.i32(0);
        writer
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn buf(&mut self) -> &mut BytesMut {
        if self.parts.is_empty() { &mut self.head } else { &mut self.tail }
    }

    /// Copies `bytes`.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        self.buf().put_slice(bytes);
    }

    /// Appends `chunk` without copying it, unless it is small.
    pub(crate) fn splice(&mut self, chunk: &Bytes) {
        if chunk.len() < SPLICE_FROM {
            return self.put(chunk);
        }
        self.len += chunk.len();
        if !self.tail.is_empty() {
            self.parts.push(self.tail.split().freeze());
        }
        self.parts.push(chunk.clone());
    }

    /// Appends everything `other` holds.
    pub(crate) fn append(&mut self, other: Writer) {
        self.put(&other.head);
        other.parts.iter().for_each(|part| self.splice(part));
        self.put(&other.tail);
    }

    /// Big-endian.
    pub(crate) fn i16(&mut self, v: i16) {
        self.put(&v.to_be_bytes());
    }

    /// Big-endian.
    pub(crate) fn i32(&mut self, v: i32) {
        self.put(&v.to_be_bytes());
    }

    /// Unsigned varint.
    pub(crate) fn uvarint(&mut self, mut v: u32) {
        let mut out = [0; 5];
        let mut n = 0;
        while v >= 0x80 {
            out[n] = v as u8 | 0x80;
            v >>= 7;
            n += 1;
        }
        out[n] = v as u8;
        self.put(&out[..=n]);
    }

    /// See [`super::Reader::compact_len`].
    pub(crate) fn compact_len(&mut self, len: Option<usize>) -> Encoded {
        match len {
            None => self.uvarint(0),
            Some(n) => self.uvarint(fit::<i32>(n)? as u32 + 1),
        }
        Ok(())
    }

    /// See [`super::Reader::len16`].
    pub(crate) fn len16(&mut self, len: Option<usize>) -> Encoded {
        self.i16(len.map_or(Ok(-1), fit)?);
        Ok(())
    }

    /// See [`super::Reader::len32`].
    pub(crate) fn len32(&mut self, len: Option<usize>) -> Encoded {
        self.i32(len.map_or(Ok(-1), fit)?);
        Ok(())
    }

    /// The parts in order; a framed writer's size is set now.
    pub(crate) fn finish(mut self) -> Result<Frame, EncodeError> {
        if self.framed {
            let size: i32 = fit(self.len - 4)?;
            self.head[..4].copy_from_slice(&size.to_be_bytes());
        }
        let mut parts = Vec::with_capacity(self.parts.len() + 2);
        let ends = [self.head.freeze(), self.tail.freeze()];
        let [head, tail] = ends;
        parts.extend(Some(head).filter(|p| !p.is_empty()));
        parts.append(&mut self.parts);
        parts.extend(Some(tail).filter(|p| !p.is_empty()));
        Ok(Frame { parts })
    }
}

fn fit<T: TryFrom<usize>>(n: usize) -> Result<T, EncodeError> {
    T::try_from(n).map_err(|_| EncodeError::new(EncodeFault::TooLong(n)))
}
