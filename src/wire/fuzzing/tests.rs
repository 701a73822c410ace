//! The fuzz targets on stable: a seeded mutator over the corpora in `fuzz/corpus`. `DISPATCHER_FUZZ_INPUTS` is the
//! number of inputs per decoder; with `DISPATCHER_WRITE_CORPUS` set the corpora are written anew from encodings.

use std::panic::catch_unwind;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};

use super::*;
use crate::wire::field::At;
use crate::wire::records::{BatchBuilder, Compression, ProducerStamp};
use crate::wire::sample::{Gen, Sample};

type Seeds = Vec<(String, Vec<u8>)>;

fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// The target's corpus, in the order of the names.
fn seeds(target: &str, fresh: fn() -> Seeds) -> Seeds {
    let dir = corpus(target);
    if std::env::var_os("DISPATCHER_WRITE_CORPUS").is_some() {
        std::fs::create_dir_all(&dir).unwrap();
        for (name, bytes) in fresh() {
            std::fs::write(dir.join(name), bytes).unwrap();
        }
    }
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut seeds: Seeds = entries
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{}: empty", dir.display());
    seeds
}

fn entropy(rng: &mut fastrand::Rng) -> Gen {
    Gen::new((0..400).map(|_| rng.u8(..)).collect())
}

/// Each message at its oldest and its newest version.
macro_rules! message_seeds {
    ($($request:ident)*) => {
        fn request_seeds() -> Seeds {
            let mut out = Vec::new();
            $(message_seeds!(@ out, messages::$request, messages::$request);)*
            out
        }

        fn response_seeds() -> Seeds {
            let mut out = Vec::new();
            $(message_seeds!(@ out, messages::$request, <messages::$request as Request>::Response);)*
            out
        }
    };
    (@ $out:ident, $request:ty, $message:ty) => {
        for version in [<$request>::MIN, <$request>::MAX] {
            let at = At { version, flexible: version >= <$request>::FLEXIBLE };
            let rng = &mut fastrand::Rng::with_seed(u64::from(<$request>::KEY.unsigned_abs()));
            // A value that says something, but no long one.
            let bytes = std::iter::repeat_with(|| {
                let mut w = Writer::new();
                <$message>::sample(&mut entropy(rng), at, false).encode(&mut w, version).unwrap();
                w.finish().unwrap().into_bytes()
            })
            .take(50)
            .filter(|bytes| bytes.len() < 1_000)
            .max_by_key(Bytes::len)
            .unwrap();
            let mut seed = vec![<$request>::KEY as u8, version as u8];
            seed.extend_from_slice(&bytes);
            $out.push((format!("{}-v{version}", <$request>::NAME), seed));
        }
    };
}
for_each_declared_api!(message_seeds);

fn header_seeds() -> Seeds {
    let request = |version| {
        let frame = super::super::header::encode_request(&HeartbeatRequest::default(), version, 1, &"client".into());
        frame.unwrap().into_bytes().slice(4..).to_vec()
    };
    vec![
        ("request-v1".into(), request(3)),
        ("request-v2".into(), request(4)),
        ("request-tags".into(), [&request(4)[..18], &[2, 0, 1, 7, 5, 2, 8, 9]].concat()),
        ("response-v0".into(), vec![0; 10]),
        ("response-v1".into(), vec![0; 12]),
    ]
}

fn consumer_protocol_seeds() -> Seeds {
    let rng = &mut fastrand::Rng::with_seed(1);
    let mut out = Vec::new();
    for version in 0..=3 {
        let at = At { version, flexible: false };
        let subscription = ConsumerProtocolSubscription::sample(&mut entropy(rng), at, false);
        out.push((format!("subscription-v{version}"), subscription.to_blob(version).unwrap().to_vec()));
        let assignment = ConsumerProtocolAssignment::sample(&mut entropy(rng), at, false);
        out.push((format!("assignment-v{version}"), assignment.to_blob(version).unwrap().to_vec()));
    }
    out
}

fn batch(records: usize, compression: Compression, headers: &[(&str, Option<&[u8]>)]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(1 << 16, BytesMut::new());
    for i in 0..records {
        let (key, value) = ([b'k', i as u8], [b'v'; 20]);
        let (key, value) = ((i % 3 != 0).then_some(&key[..]), (i % 4 != 1).then_some(&value[..]));
        builder.try_append(1_700_000_000_000 + i as i64, key, value, headers).unwrap();
    }
    let body = builder.finish(compression).unwrap();
    let stamp = ProducerStamp { producer_id: 4000, producer_epoch: 1, base_sequence: 7 };
    [&body.stamp(stamp)[..], &body.body()[..]].concat()
}

fn record_batch_seeds() -> Seeds {
    let headers: &[(&str, Option<&[u8]>)] = &[("a", Some(b"1")), ("", None), ("a", Some(b""))];
    let plain = batch(3, Compression::None, &[]);
    let with_headers = batch(2, Compression::None, headers);
    let mut control = batch(1, Compression::None, &[]);
    control[22] |= 0x30; // transactional, control
    let mut out = vec![
        ("plain".to_string(), plain.clone()),
        ("headers".into(), with_headers.clone()),
        ("control".into(), control.clone()),
        ("several-and-a-cut-one".into(), [&plain[..], &with_headers, &control, &plain[..80]].concat()),
    ];
    for codec in Compression::all().filter(|&codec| codec != Compression::None) {
        out.push((format!("{codec:?}").to_lowercase(), batch(30, codec, headers)));
    }
    out.sort();
    out
}

/// What records are like: text that repeats itself, without end or beginning; noise; nothing but zeros.
fn codec_seeds(codec: u8) -> Seeds {
    let Ok(compression) = Compression::from_codec(codec) else { return Vec::new() };
    let mut rng = fastrand::Rng::with_seed(5);
    let mut text = Vec::new();
    while text.len() < 3_000 {
        text.extend_from_slice(format!("{{\"id\":{},\"at\":\"{:x}\"}}", rng.u16(..500), rng.u16(..)).as_bytes());
    }
    let noise: Vec<u8> = (0..200).map(|_| rng.u8(..)).collect();
    let packed = |data: &[u8], level| {
        let packing = Packing { compression, level };
        records::compress(packing, &Bytes::copy_from_slice(data)).unwrap().to_vec()
    };
    let small = packed(&text[..200], 1);
    let mut out = vec![
        ("empty".to_string(), packed(&[], 1)),
        ("level-1".into(), packed(&text, 1)),
        ("level-6".into(), packed(&text, 6)),
        ("level-9".into(), packed(&text[..1_000], 9)),
        ("noise".into(), packed(&noise, 1)),
        ("several".into(), [&small[..], &small, &packed(&noise, 1)].concat()),
        ("small".into(), small.clone()),
        ("zeros".into(), packed(&[0; 100_000], 1)),
    ];
    if codec == 2 {
        let framed = [b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0", &[small.len() as u8][..], &small].concat();
        out.push(("xerial".into(), framed));
    }
    out
}

/// A few changes to one seed, some of them with bytes of another.
fn mutate(seeds: &Seeds, seed: usize, rng: &mut fastrand::Rng) -> Vec<u8> {
    const TELLING: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff, 0x0f];
    let mut bytes = seeds[seed].1.clone();
    for _ in 0..rng.u32(1..6) {
        let len = bytes.len();
        let at = rng.usize(..=len);
        let run = rng.usize(1..=16).min(len - at);
        match rng.u8(..8) {
            0 if run > 0 => bytes[at] ^= 1 << rng.u8(..8),
            1 if run > 0 => bytes[at] = TELLING[rng.usize(..TELLING.len())],
            2 if run > 0 => bytes[at..at + run.min(4)].fill(TELLING[rng.usize(..TELLING.len())]),
            3 => drop(bytes.drain(at..at + run)),
            4 => drop(bytes.splice(at..at, (0..rng.usize(1..8)).map(|_| rng.u8(..)).collect::<Vec<_>>())),
            5 => drop(bytes.splice(at..at, bytes[at..at + run].to_vec())),
            6 => {
                let other = &seeds[rng.usize(..seeds.len())].1;
                let from = rng.usize(..=other.len());
                bytes.splice(at..at + run, other[from..].iter().copied().take(rng.usize(1..40)));
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// Runs every seed, then mutations of it; a family of decoders has one or more seeds per decoder.
fn fuzz(target: &str, decoders: usize, run: fn(&[u8]), fresh: fn() -> Seeds) {
    let inputs: usize = match std::env::var("DISPATCHER_FUZZ_INPUTS") {
        Ok(n) => n.parse().expect("DISPATCHER_FUZZ_INPUTS is a number"),
        Err(_) => 2_000,
    };
    let seeds = seeds(target, fresh);
    assert!(seeds.len() >= decoders, "{target}: a seed for each decoder");
    let per_seed = inputs.div_ceil(seeds.len() / decoders);
    for seed in 0..seeds.len() {
        let rng = &mut fastrand::Rng::with_seed(seed as u64);
        for i in 0..=per_seed {
            let input = if i == 0 { seeds[seed].1.clone() } else { mutate(&seeds, seed, rng) };
            let ran = catch_unwind(|| run(&input));
            assert!(ran.is_ok(), "{target}: mutation {i} of {}: {:02x?}", seeds[seed].0, input);
        }
    }
}

const APIS: usize = every::APIS.len() + every::SASL_APIS.len();

#[test]
fn no_bytes_break_the_request_decoders() {
    fuzz("requests", APIS, requests, request_seeds);
}

#[test]
fn no_bytes_break_the_response_decoders() {
    fuzz("responses", APIS, responses, response_seeds);
}

#[test]
fn no_bytes_break_the_header_decoders() {
    fuzz("headers", 2, headers, header_seeds);
}

#[test]
fn no_bytes_break_the_consumer_protocol() {
    fuzz("consumer_protocol", 2, consumer_protocol, consumer_protocol_seeds);
}

#[test]
fn no_bytes_break_the_record_batch_reader() {
    fuzz("record_batches", 1, record_batches, record_batch_seeds);
}

#[test]
fn no_bytes_break_gzip() {
    fuzz("gzip", 1, gzip, || codec_seeds(1));
}

#[test]
fn no_bytes_break_snappy() {
    fuzz("snappy", 1, snappy, || codec_seeds(2));
}

#[test]
fn no_bytes_break_lz4() {
    fuzz("lz4", 1, lz4, || codec_seeds(3));
}

#[test]
fn no_bytes_break_zstd() {
    fuzz("zstd", 1, zstd, || codec_seeds(4));
}

/// A corpus that no longer decodes would test nothing.
#[test]
fn the_message_corpora_are_valid() {
    macro_rules! decodes {
        ($($request:ident)*) => {
            |key: i16, version, request: bool, body: Bytes| {
                let r = &mut Reader::new(body);
                match (key, request) {
                    $(
                        (messages::$request::KEY, true) => messages::$request::decode(r, version).is_ok(),
                        (messages::$request::KEY, false) => {
                            <messages::$request as Request>::Response::decode(r, version).is_ok()
                        }
                    )*
                    _ => false,
                }
            }
        };
    }
    let decodes = for_each_declared_api!(decodes);
    for (target, request) in [("requests", true), ("responses", false)] {
        for (name, bytes) in seeds(target, Vec::new) {
            let (key, version, body) = split(&bytes).unwrap();
            assert!(decodes(key.into(), version, request, body), "{target}/{name}");
        }
    }
}
