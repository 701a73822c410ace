//! The pure parts of the two data paths, each ready to be done so many times, for whoever counts what that costs:
//! `benches/counting/`. Inputs are made outside of what is counted and are the same in every run.

use std::hint::black_box;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::payloads;
use crate::client::producer::sequencer::{Answer, Identity, Next, Sequencer};
use crate::env::Env;
use crate::group::bench as group;
use crate::partitioner::{Murmur2, Partitioner};
use crate::wire::header::{decode_response, encode_request, encode_response};
use crate::wire::messages::fetch::{FetchRequest, FetchResponse, PartitionData, TopicResponse};
use crate::wire::messages::produce::{self, ProduceRequest};
use crate::wire::records::{self, BatchBuilder, Compression, Cursor, Limits, NO_PRODUCER};
use crate::wire::{Records, StrBytes};
use crate::worker::bench as worker;

/// What is counted: called once.
pub type Work = Box<dyn FnOnce()>;

/// One pure part.
pub struct Part {
    pub name: String,
    /// What `count` is a number of.
    pub per: &'static str,
    pub count: u32,
    /// Makes everything ready for one [`Work`].
    pub prepare: Box<dyn FnMut() -> Work>,
}

impl Part {
    fn new(
        name: impl Into<String>,
        per: &'static str,
        count: u32,
        mut prepare: impl FnMut() -> Work + 'static,
    ) -> Self {
        Self { name: name.into(), per, count, prepare: Box::new(move || prepare()) }
    }
}

const SIZES: [(&str, usize); 2] = [("100 B", 100), ("1 KiB", 1024)];
/// Records per batch in what is sealed and parsed, and batches.
const RECORDS: u32 = 200;
const BATCHES: u32 = 5;
/// Versions of Kafka 4.
const PRODUCE: i16 = 13;
const FETCH: i16 = 17;
const NOW_MS: i64 = 1_700_000_000_000;

/// All parts, in the order of the data paths.
pub fn parts(codecs: &[(&str, Compression)]) -> Vec<Part> {
    let mut parts = vec![choose_partition()];
    for (name, size) in SIZES {
        parts.push(append(format!("append {name}"), size, false));
    }
    parts.push(append("append 100 B, key and two headers".into(), 100, true));
    for (name, size) in SIZES {
        parts.extend(codecs.iter().map(|(codec, packing)| seal(format!("seal {name}, {codec}"), size, *packing)));
    }
    parts.extend([number_batches(), encode_produce(), decode_fetch()]);
    for (name, size) in SIZES {
        parts.extend(codecs.iter().map(|(codec, packing)| parse(format!("parse {name}, {codec}"), size, *packing)));
    }
    parts.extend(worker::parts().into_iter().map(|(name, per, count, prepare)| Part { name, per, count, prepare }));
    let commit = group::commits(COMMITTED);
    parts.push(Part { name: "commit: request and answer".into(), per: "partition", count: COMMITTED, prepare: commit });
    parts
}

/// Partitions in one OffsetCommit.
const COMMITTED: u32 = 100;

fn choose_partition() -> Part {
    let keys: Vec<String> = (0..1_000).map(|i| format!("customer-{i}")).collect();
    let keys = Arc::new(keys);
    Part::new("choose a partition by key", "message", 1_000, move || {
        let keys = keys.clone();
        Box::new(move || {
            for key in keys.iter() {
                black_box(Murmur2.partition(black_box(key.as_bytes()), 12));
            }
        })
    })
}

/// Into one batch whose buffer is large enough, as a used one is.
fn append(name: String, size: usize, furnished: bool) -> Part {
    const COUNT: usize = 500;
    let values = Arc::new(payloads(size, COUNT));
    Part::new(name, "message", COUNT as u32, move || {
        let values = values.clone();
        let mut builder = BatchBuilder::new(1_000_000, BytesMut::with_capacity(1_000_000));
        let headers: &[(&str, Option<&[u8]>)] = &[("content-type", Some(b"text/plain")), ("attempt", Some(b"1"))];
        let (key, headers) = if furnished { (Some(&b"customer-12"[..]), headers) } else { (None, &[][..]) };
        Box::new(move || {
            for value in values.iter() {
                let _fits = builder.try_append(NOW_MS, black_box(key), Some(black_box(value)), black_box(headers));
            }
            assert_eq!(builder.count() as usize, COUNT);
        })
    })
}

fn filled(size: usize) -> BatchBuilder {
    let mut builder = BatchBuilder::new(1_000_000, BytesMut::with_capacity(RECORDS as usize * (size + 20)));
    for value in payloads(size, RECORDS as usize) {
        builder.try_append(NOW_MS, None, Some(&value), &[]).unwrap();
    }
    builder
}

/// The batch as it lies in a log.
fn batch_bytes(size: usize, packing: Compression) -> Vec<u8> {
    let body = filled(size).finish(packing).unwrap();
    [&body.stamp(NO_PRODUCER)[..], body.body()].concat()
}

/// Compression, checksum, header.
fn seal(name: String, size: usize, packing: Compression) -> Part {
    Part::new(name, "message", RECORDS * BATCHES, move || {
        let builders: Vec<_> = (0..BATCHES).map(|_| filled(size)).collect();
        Box::new(move || {
            for builder in builders {
                let body = builder.finish(packing).unwrap();
                black_box(body.stamp(NO_PRODUCER));
            }
        })
    })
}

/// The sequencer's part of a batch's life.
fn number_batches() -> Part {
    let now = Env::system().now();
    Part::new("drain: a batch's number and its end", "batch", 1_000, move || {
        let mut sequencer = Sequencer::new(true, 5);
        let identity = Some(Identity { producer_id: 7, epoch: 0 });
        let mut lost = Vec::new();
        Box::new(move || {
            for _ in 0..1_000 {
                assert!(matches!(sequencer.next(now, identity, &mut lost), Next::Fresh));
                let (ticket, stamp) = sequencer.send(10);
                black_box(stamp);
                black_box(sequencer.settle(ticket, 0_u32, Answer::Written, None));
            }
        })
    })
}

/// One request with a batch for each of many partitions.
fn encode_produce() -> Part {
    const PARTITIONS: u32 = 100;
    Part::new("drain: a Produce request", "batch", PARTITIONS, move || {
        let batch: Bytes = batch_bytes(100, Compression::None).into();
        let records = || Some(Records(vec![batch.slice(..61), batch.slice(61..)]));
        let data = |index| produce::PartitionData { index, records: records() };
        let partition_data = (0..PARTITIONS as i32).map(data).collect();
        let topic = produce::TopicData { partition_data, ..produce::TopicData::default() };
        let request = ProduceRequest { acks: -1, topic_data: vec![topic], ..ProduceRequest::default() };
        let client: StrBytes = "dispatcher".into();
        Box::new(move || {
            black_box(encode_request(&request, PRODUCE, 1, &client).unwrap());
        })
    })
}

/// A response with a batch of each of many partitions, without looking into the batches.
fn decode_fetch() -> Part {
    const PARTITIONS: u32 = 100;
    Part::new("parse: a Fetch response", "batch", PARTITIONS, move || {
        let frame = fetched(PARTITIONS, &batch_bytes(100, Compression::None).into());
        Box::new(move || {
            let response = decode_response::<FetchRequest>(frame, FETCH).unwrap();
            for partition in &response.responses[0].partitions {
                black_box(partition.records.as_ref().map(Records::len));
            }
        })
    })
}

/// The frame of an answer, without its length.
fn fetched(partitions: u32, batch: &Bytes) -> Bytes {
    let data = |partition_index| {
        let records = Some(Records(vec![batch.clone()]));
        PartitionData { partition_index, high_watermark: i64::from(RECORDS), records, ..PartitionData::default() }
    };
    let partitions = (0..partitions as i32).map(data).collect();
    let responses = vec![TopicResponse { partitions, ..TopicResponse::default() }];
    let response = FetchResponse { responses, ..FetchResponse::default() };
    let frame = encode_response::<FetchRequest>(&response, FETCH, 1).unwrap();
    frame.into_bytes().slice(4..)
}

/// Checksum, decompression, and every record's fields.
fn parse(name: String, size: usize, packing: Compression) -> Part {
    let frame: Bytes = batch_bytes(size, packing).repeat(BATCHES as usize).into();
    let limits = Limits::busy(128 << 20);
    Part::new(name, "message", RECORDS * BATCHES, move || {
        let (frame, limits) = (frame.clone(), limits.clone());
        Box::new(move || {
            for raw in records::batches(frame) {
                let batch = raw.unwrap().open(&limits).unwrap();
                let mut at = Cursor::default();
                while let Some(view) = batch.next(&mut at).unwrap() {
                    black_box(view);
                }
            }
        })
    })
}
