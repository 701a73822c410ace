//! What all codecs promise alike.

use super::*;
use crate::wire::records::Limits;

fn text(n: usize) -> Bytes {
    let mut rng = fastrand::Rng::with_seed(n as u64);
    let mut out = Vec::new();
    while out.len() < n {
        out.extend_from_slice(format!("{{\"id\":{},\"name\":\"{:x}\"}}", rng.u16(..500), rng.u8(..)).as_bytes());
    }
    out.truncate(n);
    out.into()
}

fn codecs() -> Vec<Compression> {
    Compression::all().filter(|&codec| codec != Compression::None).collect()
}

fn packed(codec: Compression, data: &Bytes) -> Bytes {
    compress(codec.into(), data).unwrap()
}

fn decompress(codec: u8, data: &Bytes, limit: usize) -> Result<Bytes, RecordsError> {
    super::decompress(codec, data, &Limits::of(limit))
}

#[test]
fn every_codec_gives_back_what_it_was_given() {
    for codec in codecs() {
        for n in [0, 1, 10, 1000, 1 << 16, (1 << 16) + 1, 300_000, 3_000_000] {
            let data = text(n);
            let packed = packed(codec, &data);
            assert!(n < 1000 || packed.len() < n / 2, "{codec:?}: {n} became {}", packed.len());
            let again = decompress(codec.codec(), &packed, n);
            assert_eq!(again, Ok(data), "{codec:?}, {n}");
        }
        let noise: Bytes = std::iter::repeat_with(|| fastrand::u8(..)).take(400_000).collect();
        assert_eq!(decompress(codec.codec(), &packed(codec, &noise), 400_000), Ok(noise), "{codec:?}");
    }
}

#[test]
fn every_level_is_read_back_and_higher_ones_are_smaller() {
    let data = text(200_000);
    #[cfg(feature = "gzip")]
    let gzip: &[i32] = &[1, 6, 9];
    #[cfg(feature = "zstd")]
    let zstd: &[i32] = &[-50, 0, 1, 3, 9, 19, 22];
    for (codec, levels) in [
        #[cfg(feature = "gzip")]
        (Compression::Gzip, gzip),
        #[cfg(feature = "zstd")]
        (Compression::Zstd, zstd),
    ] {
        let mut sizes = Vec::new();
        for &level in levels {
            let packed = compress(Packing { compression: codec, level }, &data).unwrap();
            assert_eq!(decompress(codec.codec(), &packed, data.len()).as_ref(), Ok(&data), "{codec:?} {level}");
            sizes.push(packed.len());
        }
        assert!(sizes.last() < sizes.first(), "{codec:?}: {sizes:?}");
    }
}

#[test]
fn a_bomb_of_any_codec_ends_in_an_error_at_the_limit() {
    for codec in codecs() {
        let bomb = packed(codec, &vec![0; 16 << 20].into());
        for limit in [0, 1, 1000, 1 << 20, (16 << 20) - 1] {
            let error = decompress(codec.codec(), &bomb, limit);
            assert_eq!(error, Err(RecordsError::TooLarge { limit }), "{codec:?}");
        }
        assert_eq!(decompress(codec.codec(), &bomb, 16 << 20).unwrap().len(), 16 << 20, "{codec:?}");
        // Many of them behind each other; raw snappy has no such thing.
        let many: Bytes = bomb.repeat(10).into();
        let limit = Limits::default().max_decompressed;
        match decompress(codec.codec(), &many, limit) {
            Err(RecordsError::TooLarge { limit: at }) => assert_eq!(at, limit, "{codec:?}"),
            other => assert!(other.is_err() && codec.codec() == 2, "{codec:?}"),
        }
    }
}

#[test]
fn a_stream_that_was_cut_or_continued_with_garbage_is_an_error() {
    for codec in codecs() {
        let data = text(5_000);
        let packed = packed(codec, &data);
        for length in 1..packed.len() {
            let cut = decompress(codec.codec(), &packed.slice(..length), 10_000);
            assert!(cut.is_err(), "{codec:?}: {length} of {}", packed.len());
        }
        let longer: Bytes = [&packed[..], b"garbage"].concat().into();
        assert!(decompress(codec.codec(), &longer, 10_000).is_err(), "{codec:?}");
        assert_eq!(decompress(codec.codec(), &Bytes::new(), 10_000), Ok(Bytes::new()), "{codec:?}: nothing");
    }
}

#[test]
fn output_never_takes_more_memory_than_the_limit_nor_stays_in_twice_its_size() {
    for codec in codecs() {
        for n in [270_000, 1_000_000, 1_300_000] {
            let packed = packed(codec, &text(n));
            for limit in [n, n + 1, n + n / 2, 10 * n] {
                let limits = Limits::busy(limit);
                let out = super::decompress(codec.codec(), &packed, &limits).unwrap();
                let meanwhile = limits.buffers.largest();
                limits.buffers.clear();
                limits.buffers.take(0);
                drop(out);
                let at_last = limits.buffers.largest();
                assert!(meanwhile <= limit, "{codec:?}: {meanwhile} for {n}, limit {limit}");
                assert!(at_last >= n && at_last <= limit.min(2 * n), "{codec:?}: {at_last} for {n}, limit {limit}");
            }
        }
        let tiny = super::decompress(codec.codec(), &packed(codec, &text(100)), &Limits::default()).unwrap();
        let memory = Vec::from(tiny).capacity();
        assert!(memory <= 200, "{codec:?}: {memory} for 100");
    }
}

#[test]
fn memory_is_used_again_whatever_was_in_it() {
    for codec in codecs() {
        let (limits, data) = (Limits::busy(1 << 20), [text(300_000), text(290_000), text(299_999)]);
        for (round, data) in data.iter().cycle().take(9).enumerate() {
            let before = limits.buffers.idle();
            let out = super::decompress(codec.codec(), &packed(codec, data), &limits).unwrap();
            assert_eq!(out, data, "{codec:?}");
            let taken = before.saturating_sub(limits.buffers.idle());
            assert!(taken >= data.len() || round < 3, "{codec:?}: {taken} bytes used again, round {round}");
        }
    }
}

/// More than it says, less, and nothing: in gzip's trailer, which is not checked before it is decompressed.
#[test]
#[cfg(feature = "gzip")]
fn what_a_trailer_says_decides_about_memory_only() {
    let data = text(100_000);
    let packed = packed(Compression::Gzip, &data);
    let twice: Bytes = [&packed[..], &packed].concat().into();
    assert_eq!(decompress(1, &twice, 200_000), Ok([&data[..], &data].concat().into()));
    assert_eq!(decompress(1, &twice, 199_999), Err(RecordsError::TooLarge { limit: 199_999 }));
    for said in [0u32, 1, 99_999, 100_001, u32::MAX] {
        let mut lie = packed.to_vec();
        let at = lie.len() - 4;
        lie[at..].copy_from_slice(&said.to_le_bytes());
        assert!(decompress(1, &lie.into(), 1 << 20).is_err(), "{said}");
    }
}

#[test]
fn small_batches_in_turn_with_large_ones_and_other_levels_share_no_state() {
    let (small, large) = (text(300), text(500_000));
    for codec in codecs() {
        let first = packed(codec, &small);
        for level in [1, 6] {
            let other = compress(Packing { compression: codec, level }, &large).unwrap();
            assert_eq!(decompress(codec.codec(), &other, large.len()).as_ref(), Ok(&large), "{codec:?}");
            assert_eq!(packed(codec, &small), first, "{codec:?}: the same bytes give the same batch");
        }
    }
}

#[test]
fn a_codec_that_is_not_there_is_named_with_its_feature() {
    assert_eq!(decompress(7, &Bytes::new(), 1), Err(RecordsError::UnknownCodec(7)));
    for (codec, feature) in [(1, "gzip"), (2, "snappy"), (3, "lz4"), (4, "zstd")] {
        let text = RecordsError::UnknownCodec(codec).to_string();
        assert!(text.contains(&format!("feature `{feature}`")), "{text}");
    }
}

/// See `CodecFixture.java` beside the files.
#[test]
fn what_java_and_the_reference_implementations_write_is_read() {
    let text: String = (0..2000).map(|n| format!("{{\"id\":{n},\"square\":{}}}\n", n * n)).collect();
    let twice = text.repeat(2);
    for (codec, file, expected) in [
        (1, "java.gz", &text),
        (1, "two.gz", &twice),
        (2, "java.snappy", &text),
        (2, "raw.snappy", &text),
        (3, "java.lz4", &text),
        (4, "java.zst", &text),
        (4, "checked.zst", &text),
    ] {
        if Compression::from_codec(codec).is_err() {
            continue;
        }
        let path = format!("{}/tests/fixtures/codecs/{file}", env!("CARGO_MANIFEST_DIR"));
        let mut packed = std::fs::read(path).unwrap();
        let read = decompress(codec, &packed.clone().into(), 100_000 + expected.len());
        assert!(read.as_deref() == Ok(expected.as_bytes()), "{file}: {:?}", read.map(|out| out.len()));
        // Their checksums are compared.
        if file != "java.snappy" && file != "raw.snappy" && file != "java.lz4" && file != "java.zst" {
            let end = packed.len() - if codec == 1 { 6 } else { 1 };
            packed[end] ^= 1;
            assert!(decompress(codec, &packed.into(), 1 << 20).is_err(), "{file}");
        }
    }
}

/// The same file twice behind each other, and for Zstandard with a frame to be skipped between.
#[test]
fn streams_behind_each_other_are_read_as_one() {
    for codec in codecs() {
        let data = text(2_000);
        let one = packed(codec, &data);
        let (between, framed): (&[u8], Vec<u8>) = match codec.codec() {
            // Raw snappy has no end; in xerial's framing a second stream may follow.
            2 => {
                let head = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
                (b"", [&head[..], &(one.len() as u32).to_be_bytes(), &one].concat())
            }
            1 => (b"", one.to_vec()),
            _ => (b"\x53\x2a\x4d\x18\x03\0\0\0abc", one.to_vec()),
        };
        let both: Bytes = [&framed[..], between, &framed].concat().into();
        assert_eq!(decompress(codec.codec(), &both, 4_000), Ok([&data[..], &data].concat().into()), "{codec:?}");
        assert_eq!(decompress(codec.codec(), &both, 3_999), Err(RecordsError::TooLarge { limit: 3_999 }), "{codec:?}");
    }
}
