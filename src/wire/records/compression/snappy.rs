//! Snappy, which has two forms in Kafka: one raw block, as librdkafka, sarama and franz-go write it, and xerial's framing
//! of small blocks, as Java's client does. All of them read both; written here is the raw form, which compresses better.

use std::cell::RefCell;

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::super::RecordsError;
use super::room::Room;

/// What xerial's framing starts with; then come two versions of four bytes each, and blocks behind their lengths.
const XERIAL: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const VERSIONS: usize = 8;
/// Raw blocks cannot expand more: a copy of 64 bytes takes three.
const MOST_EXPANSION: usize = 22;

const MALFORMED: RecordsError = RecordsError::Malformed { field: "snappy block" };

/// Compresses into one raw block.
pub(super) fn compress(data: &[u8]) -> Result<Vec<u8>, RecordsError> {
    thread_local! {
        /// The table of the compressor, and room for the worst case that is not cleared for every batch.
        static ENCODER: RefCell<(Encoder, Vec<u8>)> = RefCell::new((Encoder::new(), Vec::new()));
    }
    ENCODER.with_borrow_mut(|(encoder, scratch)| {
        // 0 says that it is more than the format can hold.
        let worst = match max_compress_len(data.len()) {
            0 => return Err(RecordsError::TooLarge { limit: u32::MAX as usize }),
            worst => worst,
        };
        if scratch.len() < worst {
            scratch.resize(worst, 0);
        }
        let packed = encoder.compress(data, scratch).map_err(|_| MALFORMED)?;
        let out = scratch.get(..packed).ok_or(MALFORMED)?.to_vec();
        if scratch.len() > KEPT {
            *scratch = Vec::new();
        }
        Ok(out)
    })
}

/// A larger scratch buffer, of an unusually large batch, is not kept.
const KEPT: usize = 4 << 20;

/// Decompresses either form; more bytes than the limit are an error, found before there is memory for them.
pub(super) fn decompress(data: &[u8], out: &mut Room<'_>) -> Result<(), RecordsError> {
    let Some(blocks) = data.strip_prefix(&XERIAL) else {
        return if data.is_empty() { Ok(()) } else { block(data, out) };
    };
    let mut rest = blocks.get(VERSIONS..).ok_or(MALFORMED)?;
    while !rest.is_empty() {
        // Java's streams, when put behind each other, leave their header in the middle.
        if let Some(after) = rest.strip_prefix(&XERIAL) {
            rest = after.get(VERSIONS..).ok_or(MALFORMED)?;
            continue;
        }
        let (length, behind) = rest.split_first_chunk::<4>().ok_or(MALFORMED)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| MALFORMED)?;
        let (packed, behind) = behind.split_at_checked(length).ok_or(MALFORMED)?;
        block(packed, out)?;
        rest = behind;
    }
    Ok(())
}

fn block(packed: &[u8], out: &mut Room<'_>) -> Result<(), RecordsError> {
    let length = decompress_len(packed).map_err(|_| MALFORMED)?;
    if length > out.left() {
        return Err(RecordsError::TooLarge { limit: out.limit() });
    }
    if length > packed.len().saturating_mul(MOST_EXPANSION) {
        return Err(MALFORMED);
    }
    out.reserve(length);
    let target = &mut out.parts().1[..length];
    let written = Decoder::new().decompress(packed, target).map_err(|_| MALFORMED)?;
    out.fill(written);
    if written == length { Ok(()) } else { Err(MALFORMED) }
}
