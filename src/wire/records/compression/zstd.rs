//! Zstandard (RFC 8878). Written by `rusty_zstd`, which is about as fast as the C library; read by `oxiarc-zstd`, which
//! contains no `unsafe`: what is read comes from outside. Frames are walked here first, so that what a header asks for
//! is refused before the decoder sees it and nothing that is no frame stands between or behind them.

use oxiarc_zstd::{ZstdStatus, ZstdStream};
use rusty_zstd::{CompressOptions, DEFAULT_CLEVEL, MAX_CLEVEL, MIN_CLEVEL, compress_with};

use super::super::RecordsError;
use super::grow;
use super::input::Input;
use super::room::Room;

const MAGIC: u32 = 0xfd2f_b528;
const SKIPPABLE: std::ops::RangeInclusive<u32> = 0x184d_2a50..=0x184d_2a5f;
/// A window that every decoder has to take, whatever little it is to decode.
const SMALL_WINDOW: u64 = 8 << 20;
/// The most a block can hold.
const BLOCK: u64 = 128 << 10;

const MALFORMED: RecordsError = RecordsError::Malformed { field: "zstd frame" };

/// Compresses into one frame, without a content checksum, as Java does: the batch has one. Levels below the fastest are
/// the fastest.
pub(super) fn compress(data: &[u8], level: i32) -> Result<Vec<u8>, RecordsError> {
    let level = match level {
        0 => DEFAULT_CLEVEL,
        level => level.clamp(MIN_CLEVEL, MAX_CLEVEL),
    };
    compress_with(data, CompressOptions { level, checksum: false }).map_err(|_| MALFORMED)
}

/// Decompresses all frames of `data`; more bytes than the limit are an error, found before there is memory for them. The
/// decoder takes as much again for its window at most.
pub(super) fn decompress(data: &[u8], out: &mut Room<'_>) -> Result<(), RecordsError> {
    let limit = out.limit();
    let most = check(data, limit)?;
    let mut decoder = ZstdStream::new().with_max_window(SMALL_WINDOW.max(limit as u64) as usize);
    // All at once, unless that is so much more than there is to read that it might be a lie.
    let hint = most.min(data.len().saturating_mul(64));
    let mut rest = data;
    loop {
        grow(out, hint, most);
        // The default flush says that more may come; `finish` says that nothing does.
        let step = decoder.decode(rest, out.parts().1, Default::default()).map_err(|_| MALFORMED)?;
        out.fill(step.produced);
        rest = rest.get(step.consumed..).ok_or(MALFORMED)?;
        match step.status {
            ZstdStatus::NeedOutput if out.left() == 0 => return Err(RecordsError::TooLarge { limit }),
            ZstdStatus::NeedOutput => {}
            ZstdStatus::NeedInput if !rest.is_empty() && step.consumed + step.produced > 0 => {}
            _ => break,
        }
    }
    match decoder.finish() {
        Ok(()) if rest.is_empty() => Ok(()),
        _ => Err(MALFORMED),
    }
}

/// Walks the frames without decoding anything. Returns how many bytes they can have at most.
fn check(data: &[u8], limit: usize) -> Result<usize, RecordsError> {
    let mut input = Input::new(data, MALFORMED);
    let (mut least, mut most) = (0u64, 0u64);
    while !input.rest.is_empty() {
        match input.u32()? {
            MAGIC => {
                let frame = frame(&mut input, limit)?;
                least = least.saturating_add(frame.least);
                most = most.saturating_add(frame.most);
            }
            magic if SKIPPABLE.contains(&magic) => {
                let length = input.u32()? as usize;
                input.take(length)?;
            }
            _ => return Err(MALFORMED),
        }
        if least > limit as u64 {
            return Err(RecordsError::TooLarge { limit });
        }
    }
    Ok(most.min(limit as u64) as usize)
}

/// What a frame says that it contains.
struct Frame {
    least: u64,
    most: u64,
}

fn frame(input: &mut Input<'_>, limit: usize) -> Result<Frame, RecordsError> {
    let descriptor = input.byte()?;
    let single_segment = descriptor & 0b0010_0000 != 0;
    if descriptor & 0b0000_1000 != 0 {
        return Err(MALFORMED); // reserved
    }
    let window = if single_segment {
        None
    } else {
        let byte = input.byte()?;
        let base = 1u64 << (10 + (byte >> 3));
        Some(base + base / 8 * u64::from(byte & 7))
    };
    if input.little_endian([0, 1, 2, 4][usize::from(descriptor & 3)])? != 0 {
        return Err(MALFORMED); // it wants a dictionary, and Kafka has none
    }
    let content = match descriptor >> 6 {
        0 if !single_segment => None,
        0 => Some(input.little_endian(1)?),
        1 => Some(input.little_endian(2)? + 256),
        2 => Some(input.little_endian(4)?),
        _ => Some(input.little_endian(8)?),
    };
    if content.is_some_and(|size| size > limit as u64) || window > Some(SMALL_WINDOW.max(limit as u64)) {
        return Err(RecordsError::TooLarge { limit });
    }
    let (mut least, mut most) = (0, 0);
    loop {
        let header = input.little_endian(3)?;
        let size = header >> 3;
        if size > BLOCK {
            return Err(MALFORMED);
        }
        let stored = match header >> 1 & 3 {
            0 | 2 => size as usize,
            1 => 1,
            _ => return Err(MALFORMED),
        };
        input.take(stored)?;
        if header >> 1 & 3 == 2 {
            most += BLOCK;
        } else {
            (least, most) = (least + size, most + size);
        }
        if header & 1 == 1 {
            break;
        }
    }
    if descriptor & 0b0000_0100 != 0 {
        input.take(4)?; // the checksum, which the decoder compares
    }
    match content {
        Some(size) if size < least || size > most => Err(MALFORMED),
        Some(size) => Ok(Frame { least: size, most: size }),
        None => Ok(Frame { least, most }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Limits;
    use super::super::unpack;
    use super::*;

    fn decompress(data: &[u8], limit: usize) -> Result<bytes::Bytes, RecordsError> {
        unpack(&Limits::of(limit), |room| super::decompress(data, room))
    }

    /// A frame with this descriptor, and blocks of (type, size, bytes), the last one marked.
    fn frame(header: &[u8], blocks: &[(u32, u32, &[u8])]) -> Vec<u8> {
        let mut out = [&MAGIC.to_le_bytes(), header].concat();
        for (at, (kind, size, bytes)) in blocks.iter().enumerate() {
            let last = u32::from(at + 1 == blocks.len());
            out.extend_from_slice(&(size << 3 | kind << 1 | last).to_le_bytes()[..3]);
            out.extend_from_slice(bytes);
        }
        out
    }

    const RAW: u32 = 0;
    const RLE: u32 = 1;

    #[test]
    fn stored_and_repeated_blocks_are_read() {
        let packed = frame(&[0, 0], &[(RAW, 3, b"abc"), (RLE, 5, b"x")]);
        assert_eq!(decompress(&packed, 8).unwrap(), &b"abcxxxxx"[..]);
        assert_eq!(decompress(&packed, 7), Err(RecordsError::TooLarge { limit: 7 }));
    }

    #[test]
    fn what_a_header_asks_for_beyond_the_limit_is_refused_before_anything_is_decoded() {
        let limit = 1 << 20;
        let too_large = Err(RecordsError::TooLarge { limit });
        // Windows: 8 MiB, which everybody must take, the next larger one, and the largest there is, 3.75 TiB.
        for (window, expected) in [
            (13 << 3, Ok(bytes::Bytes::from_static(b"abc"))),
            (13 << 3 | 1, too_large.clone()),
            (255, too_large.clone()),
        ] {
            assert_eq!(decompress(&frame(&[0, window], &[(RAW, 3, b"abc")]), limit), expected, "{window}");
        }
        assert_eq!(
            decompress(&frame(&[0, 17 << 3], &[(RAW, 3, b"abc")]), 128 << 20),
            Ok(bytes::Bytes::from_static(b"abc"))
        );
        // Sizes of one segment, which are windows too.
        let of_size = |size: u64| [&[0b1110_0000][..], &size.to_le_bytes()].concat();
        assert_eq!(decompress(&frame(&of_size(limit as u64 + 1), &[(RAW, 3, b"abc")]), limit), too_large);
        assert_eq!(decompress(&frame(&of_size(u64::MAX), &[(RAW, 3, b"abc")]), limit), too_large);
        assert_eq!(decompress(&frame(&of_size(3), &[(RAW, 3, b"abc")]), limit), Ok(bytes::Bytes::from_static(b"abc")));
        // Nine blocks of 128 KiB, four bytes each.
        let bomb: Vec<_> = (0..9).map(|_| (RLE, 128 << 10, &b"x"[..])).collect();
        assert_eq!(decompress(&frame(&[0, 80], &bomb), limit), too_large);
    }

    #[test]
    fn what_breaks_the_format_is_refused() {
        let blocks = [(RAW, 3, &b"abc"[..])];
        for (why, packed) in [
            ("a size that is not that of the blocks", frame(&[0b0010_0000, 4], &blocks)),
            ("a dictionary", frame(&[1, 0, 7], &blocks)),
            ("a reserved bit", frame(&[0b0000_1000, 0], &blocks)),
            ("a reserved type of block", frame(&[0, 0], &[(3, 3, b"abc")])),
            ("a block above 128 KiB", frame(&[0, 80], &[(RLE, (128 << 10) + 1, b"x")])),
            ("a block that is no compressed one", frame(&[0, 0], &[(2, 3, b"abc")])),
            ("a checksum that is not there", frame(&[4, 0], &blocks)),
            ("a wrong checksum", [frame(&[4, 0], &blocks), vec![1, 2, 3, 4]].concat()),
            ("another magic", b"\x28\xb5\x2f\xfc\0\0\x01\0\0".to_vec()),
            ("a frame to be skipped that is cut", b"\x50\x2a\x4d\x18\x09\0\0\0abc".to_vec()),
        ] {
            assert_eq!(decompress(&packed, 1 << 20), Err(MALFORMED), "{why}");
        }
    }

    #[test]
    fn many_small_frames_take_no_window_each() {
        // Each asks for one of 8 MiB.
        let small = frame(&[0, 13 << 3], &[(RAW, 1, b"x")]);
        let many = small.repeat(100_000);
        assert_eq!(decompress(&many, 1 << 20).unwrap().len(), 100_000);
    }
}
