//! gzip (RFC 1952), by `flate2` over zlib-rs. Written as one member; read as any number of them, each checked against
//! its CRC-32 and length. The output grows with what was decoded, not with what a header says.

use std::cell::RefCell;

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::super::RecordsError;
use super::grow;
use super::room::Room;

/// The largest window that deflate has, which every reader takes.
const WINDOW_BITS: u8 = 15;
/// What zlib's manual says a stream may exceed its data by, and gzip's header and trailer.
const OVERHEAD: usize = 64;
/// Deflate cannot expand more than this.
const MOST_EXPANSION: usize = 1032;

/// Members without content cost a decoder each, and no limit of what is decoded stops them.
const MOST_EMPTY: usize = 16;

const MALFORMED: RecordsError = RecordsError::Malformed { field: "gzip stream" };

/// Compresses into one member.
pub(super) fn compress(data: &[u8], level: u32) -> Result<Vec<u8>, RecordsError> {
    thread_local! {
        /// About 300 KB that would be allocated and cleared for every batch; a reset is a fraction of that.
        static ENCODER: RefCell<Option<(u32, Compress)>> = const { RefCell::new(None) };
    }
    let kept = ENCODER.take().filter(|(of, _)| *of == level);
    let (_, mut encoder) =
        kept.unwrap_or_else(|| (level, Compress::new_gzip(flate2::Compression::new(level), WINDOW_BITS)));
    encoder.reset();
    let mut out = Vec::with_capacity(data.len() / 2 + OVERHEAD);
    loop {
        let rest = data.get(encoder.total_in() as usize..).unwrap_or_default();
        let status = encoder.compress_vec(rest, &mut out, FlushCompress::Finish);
        match status.map_err(|_| MALFORMED)? {
            Status::StreamEnd => break,
            Status::Ok | Status::BufError => out.reserve(data.len() / 4 + OVERHEAD),
        }
    }
    ENCODER.set(Some((level, encoder)));
    Ok(out)
}

/// Decompresses all members of `data`; more bytes than the limit are an error, found before there is memory for them.
pub(super) fn decompress(mut data: &[u8], out: &mut Room<'_>) -> Result<(), RecordsError> {
    let mut empty = 0;
    while !data.is_empty() {
        let before = out.len();
        data = member(data, out)?;
        empty += usize::from(out.len() == before);
        if empty > MOST_EMPTY {
            return Err(MALFORMED);
        }
    }
    Ok(())
}

/// Decodes one member and returns what is behind it.
fn member<'a>(data: &'a [u8], out: &mut Room<'_>) -> Result<&'a [u8], RecordsError> {
    let mut decoder = Decompress::new_gzip(WINDOW_BITS);
    let mut rest = data;
    grow(out, size(data), data.len().saturating_mul(MOST_EXPANSION));
    loop {
        let (read, written) = (decoder.total_in(), decoder.total_out());
        // Where memory is full, one byte more shows whether there is more.
        let (full, mut beyond) = (out.free() == 0, [0]);
        let target = if full { &mut beyond[..] } else { out.parts().1 };
        let status = decoder.decompress(rest, target, FlushDecompress::None).map_err(|_| MALFORMED)?;
        let (consumed, produced) = ((decoder.total_in() - read) as usize, (decoder.total_out() - written) as usize);
        rest = rest.get(consumed..).ok_or(MALFORMED)?;
        if full && produced > 0 {
            if !grow(out, rest.len().saturating_mul(4), rest.len().saturating_mul(MOST_EXPANSION)) {
                return Err(RecordsError::TooLarge { limit: out.limit() });
            }
            out.parts().1[..1].copy_from_slice(&beyond);
        }
        out.fill(produced);
        match status {
            Status::StreamEnd => return Ok(rest),
            // Neither read nor written: the stream was cut off.
            _ if consumed == 0 && produced == 0 => return Err(MALFORMED),
            _ => {}
        }
    }
}

/// What the trailer of a single member says, unless that is so much that it might be a lie, or something else; and one
/// byte more, for a decoder whose memory is full looks no further, and keeps a window.
fn size(data: &[u8]) -> usize {
    let said = data.last_chunk::<4>().map_or(0, |trailer| u32::from_le_bytes(*trailer) as usize);
    if said < data.len().saturating_mul(64) { said + 1 } else { data.len().saturating_mul(4) }
}

#[cfg(test)]
mod tests {
    use super::super::super::Limits;
    use super::super::unpack;
    use super::*;

    fn decompress(data: &[u8], limit: usize) -> Result<bytes::Bytes, RecordsError> {
        unpack(&Limits::of(limit), |room| super::decompress(data, room))
    }

    #[test]
    fn members_are_read_one_after_another_and_a_heap_of_empty_ones_is_refused() {
        let (empty, some) = (compress(b"", 6).unwrap(), compress(b"some", 6).unwrap());
        let few = [&some[..], &empty.repeat(MOST_EMPTY), &some[..]].concat();
        assert_eq!(decompress(&few, 100).unwrap(), &b"somesome"[..]);
        assert_eq!(decompress(&empty.repeat(50_000), 100), Err(MALFORMED));
    }
}
