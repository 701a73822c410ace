//! LZ4 frames. Written with independent blocks (Java refuses dependent ones) and, as Java does, without a content
//! checksum: the batch has its own, and a second one would cost as much as a quarter of the compression. Read in every
//! form the format allows but dictionaries. The frame is parsed here, not by `lz4_flex`, so that blocks land in one
//! buffer that never outgrows the limit.

use std::cell::RefCell;

use super::super::RecordsError;
use super::input::Input;
use super::room::Room;
use super::xxh32;

const MAGIC: u32 = 0x184d_2204;
const SKIPPABLE: std::ops::RangeInclusive<u32> = 0x184d_2a50..=0x184d_2a5f;

const FLG_VERSION_MASK: u8 = 0b1100_0000;
const FLG_VERSION: u8 = 0b0100_0000;
const FLG_INDEPENDENT: u8 = 0b0010_0000;
const FLG_BLOCK_CHECKSUM: u8 = 0b0001_0000;
const FLG_CONTENT_SIZE: u8 = 0b0000_1000;
const FLG_CONTENT_CHECKSUM: u8 = 0b0000_0100;
const FLG_DICTIONARY: u8 = 0b0000_0001;

/// A block's length with this bit set says that the block is not compressed.
const STORED: u32 = 1 << 31;
/// How far back a match may reach.
const WINDOW: usize = 64 << 10;

const MALFORMED: RecordsError = RecordsError::Malformed { field: "lz4 frame" };
const CHECKSUM: RecordsError = RecordsError::Malformed { field: "lz4 checksum" };

/// Compresses into one frame.
pub(super) fn compress(data: &[u8]) -> Result<Vec<u8>, RecordsError> {
    thread_local! {
        /// Room for one compressed block: clearing it anew for each would cost more than the copy out of it.
        static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    // The smallest of the four block sizes that takes the data whole: readers allocate as much.
    let (size_id, block_size) = match data.len() {
        0..=0x1_0000 => (4u8, 64 << 10),
        0x1_0001..=0x4_0000 => (5, 256 << 10),
        0x4_0001..=0x10_0000 => (6, 1 << 20),
        _ => (7, 4 << 20),
    };
    let descriptor = [FLG_VERSION | FLG_INDEPENDENT, size_id << 4];
    let mut out = Vec::with_capacity(data.len() / 2 + 64);
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&descriptor);
    out.push(header_checksum(&descriptor));
    for block in data.chunks(block_size) {
        SCRATCH.with_borrow_mut(|scratch| {
            let worst = lz4_flex::block::get_maximum_output_size(block.len());
            if scratch.len() < worst {
                scratch.resize(worst, 0);
            }
            let packed = lz4_flex::block::compress_into(block, scratch).map_err(|_| MALFORMED)?;
            let (info, bytes) = match scratch.get(..packed) {
                Some(packed) if packed.len() < block.len() => (packed.len() as u32, packed),
                _ => (block.len() as u32 | STORED, block),
            };
            out.extend_from_slice(&info.to_le_bytes());
            out.extend_from_slice(bytes);
            Ok(())
        })?;
    }
    out.extend_from_slice(&0u32.to_le_bytes());
    Ok(out)
}

/// Decompresses all frames of `data`; more bytes than the limit are an error, found before there is memory for them.
pub(super) fn decompress(data: &[u8], out: &mut Room<'_>) -> Result<(), RecordsError> {
    let mut input = Input::new(data, MALFORMED);
    while !input.rest.is_empty() {
        match input.u32()? {
            MAGIC => frame(&mut input, out)?,
            magic if SKIPPABLE.contains(&magic) => {
                let length = input.u32()? as usize;
                input.take(length)?;
            }
            _ => return Err(MALFORMED),
        }
    }
    Ok(())
}

fn frame(input: &mut Input<'_>, out: &mut Room<'_>) -> Result<(), RecordsError> {
    let frame_start = out.len();
    let descriptor_start = input.rest;
    let (flags, sizes) = (input.byte()?, input.byte()?);
    if flags & FLG_VERSION_MASK != FLG_VERSION || flags & FLG_DICTIONARY != 0 {
        return Err(MALFORMED);
    }
    let block_size = match (sizes >> 4) & 7 {
        id @ 4..=7 => 1usize << (8 + 2 * id),
        _ => return Err(MALFORMED),
    };
    if flags & FLG_CONTENT_SIZE != 0 {
        input.take(8)?; // what the blocks hold decides, not what the sender says
    }
    let descriptor = &descriptor_start[..descriptor_start.len() - input.rest.len()];
    if input.byte()? != header_checksum(descriptor) {
        return Err(CHECKSUM);
    }
    let checked = flags & FLG_BLOCK_CHECKSUM != 0;
    out.reserve(expected(input.rest, block_size, checked).min(out.left()));
    loop {
        let info = input.u32()?;
        if info == 0 {
            break;
        }
        let block = input.take((info & !STORED) as usize)?;
        if checked && input.u32()? != xxh32::hash(block) {
            return Err(CHECKSUM);
        }
        if info & STORED != 0 {
            if block.len() > block_size {
                return Err(MALFORMED);
            }
            if block.len() > out.left() {
                return Err(RecordsError::TooLarge { limit: out.limit() });
            }
            out.reserve(block.len());
            out.parts().1[..block.len()].copy_from_slice(block);
            out.fill(block.len());
            continue;
        }
        let (start, left, limit) = (out.len(), out.left(), out.limit());
        let dictionary_from = if flags & FLG_INDEPENDENT != 0 { start } else { start.saturating_sub(WINDOW) };
        let room = most_of(block.len(), block_size).min(left);
        out.reserve(room);
        let (before, free) = out.parts();
        let target = &mut free[..room];
        let dictionary = &before[dictionary_from.max(frame_start).min(start)..];
        // Asking for each match whether it reaches into a dictionary costs a tenth.
        let opened = match dictionary {
            [] => lz4_flex::block::decompress_into(block, target),
            _ => lz4_flex::block::decompress_into_with_dict(block, target, dictionary),
        };
        match opened {
            Ok(length) => out.fill(length),
            Err(_) if room == left => return Err(RecordsError::TooLarge { limit }),
            Err(_) => return Err(MALFORMED),
        }
    }
    if flags & FLG_CONTENT_CHECKSUM != 0 && input.u32()? != xxh32::hash(&out.parts().0[frame_start..]) {
        return Err(CHECKSUM);
    }
    Ok(())
}

/// LZ4 cannot expand more than 255 times, so a short block need not get a whole block's room.
fn most_of(block: usize, block_size: usize) -> usize {
    block_size.min(block.saturating_mul(255))
}

/// Bytes that the blocks of a frame come to at most, so that memory need not grow with each; not more than a block or
/// eight times what there is to read, for it might be a lie. What is wrong here is found when it is decompressed.
fn expected(mut blocks: &[u8], block_size: usize, checked: bool) -> usize {
    let enough = blocks.len().saturating_mul(8).max(block_size);
    let mut sum = 0usize;
    while let Some((info, behind)) = blocks.split_first_chunk::<4>()
        && sum < enough
    {
        let info = u32::from_le_bytes(*info);
        let length = (info & !STORED) as usize;
        if info == 0 {
            break;
        }
        let most = if info & STORED == 0 { most_of(length, block_size) } else { length.min(block_size) };
        sum = sum.saturating_add(most);
        blocks = behind.get(length + if checked { 4 } else { 0 }..).unwrap_or_default();
    }
    sum.min(enough)
}

/// See [`super::mend_header`].
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn mend_header(data: &mut [u8]) {
    let Some(&flags) = data.get(4) else { return };
    let end = if flags & FLG_CONTENT_SIZE != 0 { 14 } else { 6 };
    if let Some((descriptor, [checksum, ..])) = data.split_at_mut_checked(end) {
        *checksum = header_checksum(&descriptor[4..]);
    }
}

fn header_checksum(descriptor: &[u8]) -> u8 {
    (xxh32::hash(descriptor) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
    use proptest::prelude::*;

    use super::super::super::Limits;
    use super::super::unpack;
    use super::*;

    fn decompress(data: &[u8], limit: usize) -> Result<bytes::Bytes, RecordsError> {
        unpack(&Limits::of(limit), |room| super::decompress(data, room))
    }

    fn text(n: usize) -> Vec<u8> {
        (0..n).map(|i| b"{\"id\":12345,\"name\":\"x\"}"[(i * i / 7) % 23]).collect()
    }

    #[test]
    fn what_is_written_is_read_by_another_reader_and_by_ours() {
        for n in [0, 1, 100, 64 << 10, (64 << 10) + 1, 300_000, 1_500_000, 9_000_000] {
            let data = text(n);
            let packed = compress(&data).unwrap();
            assert_eq!(packed[4], 0x60, "independent blocks and no checksums, as Java writes");
            let mut theirs = Vec::new();
            FrameDecoder::new(&packed[..]).read_to_end(&mut theirs).unwrap();
            assert_eq!(theirs, data);
            assert_eq!(decompress(&packed, 10 << 20).unwrap(), data);
        }
    }

    #[test]
    fn dependent_blocks_checksums_and_content_sizes_are_read() {
        let data = text(700_000);
        for mode in [BlockMode::Linked, BlockMode::Independent] {
            let info = FrameInfo::new()
                .block_mode(mode)
                .block_size(BlockSize::Max64KB)
                .block_checksums(true)
                .content_checksum(true)
                .content_size(Some(data.len() as u64));
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(&data).unwrap();
            let mut packed = encoder.finish().unwrap();
            assert_eq!(decompress(&packed, 1 << 20).unwrap(), data);
            let middle = packed.len() / 2;
            packed[middle] ^= 1;
            assert!(decompress(&packed, 1 << 20).is_err());
        }
    }

    #[test]
    fn a_bomb_ends_in_an_error_at_the_limit() {
        let bomb = compress(&vec![0; 64 << 20]).unwrap();
        assert!(bomb.len() < 1 << 20);
        for limit in [0, 1, 1000, 1 << 20, (64 << 20) - 1] {
            assert_eq!(decompress(&bomb, limit), Err(RecordsError::TooLarge { limit }));
        }
        assert_eq!(decompress(&bomb, 64 << 20).unwrap().len(), 64 << 20);
        let many: Vec<u8> = bomb.iter().copied().cycle().take(bomb.len() * 10).collect();
        assert_eq!(decompress(&many, 128 << 20), Err(RecordsError::TooLarge { limit: 128 << 20 }));
    }

    #[test]
    fn a_block_may_not_reach_into_an_earlier_frame() {
        let mut packed = compress(&text(1000)).unwrap();
        // A second frame whose only block copies 4 bytes from 8 bytes back, where there is nothing of its own.
        let descriptor = [FLG_VERSION, 4 << 4];
        packed.extend_from_slice(&MAGIC.to_le_bytes());
        packed.extend_from_slice(&descriptor);
        packed.push(header_checksum(&descriptor));
        let block = [0x00, 8, 0, 0x50, 1, 2, 3, 4, 5];
        packed.extend_from_slice(&(block.len() as u32).to_le_bytes());
        packed.extend_from_slice(&block);
        packed.extend_from_slice(&[0; 4]);
        assert!(decompress(&packed, 1 << 20).is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_end_in_an_error_or_within_the_limit(
            mut data in proptest::collection::vec(any::<u8>(), 0..400),
            flags: u8,
            size_id in 4u8..8,
        ) {
            let descriptor = [(flags & 0b0011_0000) | FLG_VERSION, size_id << 4];
            let mut frame = MAGIC.to_le_bytes().to_vec();
            frame.extend_from_slice(&descriptor);
            frame.push(header_checksum(&descriptor));
            frame.append(&mut data);
            if let Ok(out) = decompress(&frame, 5000) {
                prop_assert!(out.len() <= 5000);
            }
        }
    }
}
