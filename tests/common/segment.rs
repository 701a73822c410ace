//! A log segment's bytes on a broker's disk: where its batches lie, and batches that no producer would be let write.

use std::io::Write as _;
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

/// A record batch at `offset` whose one record holds `size` zero bytes: a few hundred times smaller in LZ4.
pub fn lz4_bomb(offset: i64, size: usize) -> Vec<u8> {
    let mut body = vec![0, 0, 0];
    varint(&mut body, -1);
    varint(&mut body, size as i64);
    let mut head = Vec::new();
    varint(&mut head, (body.len() + size + 1) as i64);
    head.extend(body);
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(&head).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..size >> 20 {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.write_all(&[0]).unwrap();
    let records = encoder.finish().unwrap();

    // From attributes on, which is what the CRC covers. Attributes: LZ4.
    let mut tail = 3i16.to_be_bytes().to_vec();
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
