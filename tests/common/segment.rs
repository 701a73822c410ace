//! A log segment's bytes on a broker's disk: where its batches lie, and batches that no producer would be let write.

use std::ops::Range;

/// Where each record batch lies.
pub fn batches(segment: &[u8]) -> Vec<Range<usize>> {
    let (mut at, mut all) = (0, Vec::new());
    while let Some(length) = segment.get(at + 8..at + 12) {
        let end = at + 12 + u32::from_be_bytes(length.try_into().unwrap()) as usize;
        if end == at + 12 || end > segment.len() {
            break;
        }
        all.push(at..end);
        at = end;
    }
    all
}

/// A record batch at `offset`, compressed by the codec of this number, whose one record holds `size` zero bytes: it is 20
/// (snappy) to many thousand times (zstd) smaller.
pub fn bomb(codec: i16, offset: i64, size: usize) -> Vec<u8> {
    let mut body = vec![0, 0, 0];
    varint(&mut body, -1);
    varint(&mut body, size as i64);
    let mut head = Vec::new();
    varint(&mut head, (body.len() + size + 1) as i64);
    head.extend(body);
    let zeros = vec![0; 1 << 20];
    let fill = |encoder: &mut dyn std::io::Write| {
        encoder.write_all(&head).unwrap();
        for _ in 0..size >> 20 {
            encoder.write_all(&zeros).unwrap();
        }
    };
    let records = match codec {
        1 => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            fill(&mut encoder);
            encoder.finish().unwrap()
        }
        2 => {
            let block = |data: &[u8]| {
                let packed = snap::raw::Encoder::new().compress_vec(data).unwrap();
                [&(packed.len() as u32).to_be_bytes()[..], &packed].concat()
            };
            let framing = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
            [&framing[..], &block(&head), &block(&zeros).repeat(size >> 20)].concat()
        }
        3 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            fill(&mut encoder);
            encoder.finish().unwrap()
        }
        _ => {
            // A window of 128 KiB, the head as it is, and then blocks of as much that are one repeated byte.
            let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3];
            frame.extend(&((head.len() as u32) << 3).to_le_bytes()[..3]);
            frame.extend(&head);
            let block = [&((128u32 << 10) << 3 | 1 << 1).to_le_bytes()[..3], &[0]].concat();
            frame.extend(block.repeat(size >> 17));
            frame.extend([1, 0, 0]);
            frame
        }
    };

    // From attributes on, which is what the CRC covers.
    let mut tail = codec.to_be_bytes().to_vec();
    tail.extend(0i32.to_be_bytes());
    tail.extend(1_700_000_000_000i64.to_be_bytes());
    tail.extend(1_700_000_000_000i64.to_be_bytes());
    tail.extend((-1i64).to_be_bytes());
    tail.extend((-1i16).to_be_bytes());
    tail.extend((-1i32).to_be_bytes());
    tail.extend(1i32.to_be_bytes());
    tail.extend(records);

    let mut batch = offset.to_be_bytes().to_vec();
    batch.extend((tail.len() as i32 + 9).to_be_bytes());
    batch.extend(0i32.to_be_bytes());
    batch.push(2);
    batch.extend(crc32c::crc32c(&tail).to_be_bytes());
    batch.extend(tail);
    batch
}

/// Zigzag, as records have it.
fn varint(into: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        into.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    into.push(rest as u8);
}
