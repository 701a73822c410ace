//! The bounded reader: it slices its frame instead of copying, never reads past the end, and checks every length
//! against what is left before anyone reserves memory for it.

use bytes::Bytes;

use crate::wire::error::{DecodeError, DecodeFault};

type Decoded<T> = Result<T, DecodeError>;

/// Reads one frame from front to back; never past its end.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    frame: Bytes,
    at: usize,
}

impl Reader {
    /// Reads `frame`.
    pub(crate) fn new(frame: Bytes) -> Self {
        Self { frame, at: 0 }
    }

    /// Bytes not read yet.
    pub(crate) fn remaining(&self) -> usize {
        self.frame.len() - self.at
    }

    /// An error if anything is left over.
    pub(crate) fn finish(self) -> Decoded<()> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(DecodeError::new(DecodeFault::Trailing(left))),
        }
    }

    /// The next `n` bytes, sharing the frame.
    pub(crate) fn take(&mut self, n: usize) -> Decoded<Bytes> {
        let start = self.advance(n)?;
        Ok(self.frame.slice(start..start + n))
    }

    pub(in crate::wire) fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let start = self.advance(N)?;
        let mut out = [0; N];
        out.copy_from_slice(&self.frame[start..start + N]);
        Ok(out)
    }

    fn advance(&mut self, n: usize) -> Decoded<usize> {
        let left = self.remaining();
        if n > left {
            return Err(DecodeError::new(DecodeFault::Truncated { needed: n, left }));
        }
        let start = self.at;
        self.at += n;
        Ok(start)
    }

    /// One byte.
    pub(crate) fn u8(&mut self) -> Decoded<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Big-endian, as everything here.
    pub(crate) fn i16(&mut self) -> Decoded<i16> {
        self.array().map(i16::from_be_bytes)
    }

    /// Big-endian.
    pub(crate) fn i32(&mut self) -> Decoded<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// Unsigned varint, 5 bytes at most.
    pub(crate) fn uvarint(&mut self) -> Decoded<u32> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let byte = self.u8()?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::new(DecodeFault::Varint))
    }

    /// The length of a compact string, bytes or array: one more than it is, 0 for null.
    pub(crate) fn compact_len(&mut self) -> Decoded<Option<usize>> {
        match self.uvarint()? {
            0 => Ok(None),
            n => self.bounded(i64::from(n) - 1),
        }
    }

    /// A length of 16 bits, −1 for null (classic strings).
    pub(crate) fn len16(&mut self) -> Decoded<Option<usize>> {
        match self.i16()? {
            -1 => Ok(None),
            n => self.bounded(i64::from(n)),
        }
    }

    /// A length of 32 bits, −1 for null (classic bytes and arrays).
    pub(crate) fn len32(&mut self) -> Decoded<Option<usize>> {
        match self.i32()? {
            -1 => Ok(None),
            n => self.bounded(i64::from(n)),
        }
    }

    /// Everything counted by a length takes at least one byte, so none may be larger than what is left.
    fn bounded(&self, n: i64) -> Decoded<Option<usize>> {
        match usize::try_from(n) {
            Ok(len) if len <= self.remaining() => Ok(Some(len)),
            _ => Err(DecodeError::new(DecodeFault::Length(n))),
        }
    }

    /// A section of tagged fields: `known` gets each tag with a reader of exactly its bytes and tells whether it read
    /// them; unknown tags are skipped.
    pub(crate) fn tags(&mut self, mut known: impl FnMut(u32, &mut Reader) -> Decoded<bool>) -> Decoded<()> {
        // No bound needed on the count: every turn consumes at least two bytes or fails.
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let size = self.uvarint()? as usize;
            let mut field = Reader::new(self.take(size)?);
            if known(tag, &mut field)? {
                field.finish()?;
            }
        }
        Ok(())
    }
}
