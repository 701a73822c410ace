//! Requests that no decent client sends: of every API, with values at the edges of their types, and with bytes changed on
//! the way. The broker may refuse them or hang up; it must not panic, and serves the next client as before.
#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{EmbeddedCluster, dispatch};
use crate::wire::header::encode_request;
use crate::wire::messages::every::{APIS, for_each_api};
use crate::wire::messages::produce::{PartitionData, TopicData};
use crate::wire::messages::*;
use crate::wire::records::{BatchBuilder, BatchHeader, CRC_FROM, Compression, ProducerStamp};
use crate::wire::{Records, Request, sample};

/// Requests in an ordinary `cargo test`; `DISPATCHER_FUZZ_INPUTS` asks for more.
const INPUTS: usize = 10_000;

/// Bytes that make names `a`, `aa`, … likely, as the topics are called, and small numbers.
fn entropy(rng: &mut fastrand::Rng) -> Vec<u8> {
    let share = [0.3, 0.6, 0.9, 1.0][rng.usize(..4)];
    let byte = |rng: &mut fastrand::Rng| match rng.f64() < share {
        true => b'a',
        false if rng.bool() => rng.u8(..8),
        false => rng.u8(..),
    };
    (0..400).map(|_| byte(rng)).collect()
}

fn number(rng: &mut fastrand::Rng) -> i64 {
    let edges = [0, 1, -1, 2, i64::MAX, i64::MIN, i64::MAX - 1, i32::MAX.into(), i32::MIN.into(), i16::MAX.into()];
    if rng.bool() { edges[rng.usize(..edges.len())] } else { rng.i64(-3..10) }
}

/// A batch whose checksum is right, whatever else is not.
fn batch(rng: &mut fastrand::Rng) -> Bytes {
    let mut builder = BatchBuilder::new(usize::MAX, BytesMut::new());
    for n in 0..rng.i64(1..4) {
        builder.try_append(n, Some(b"key"), rng.bool().then_some(&b"value"[..]), &[]).unwrap();
    }
    let compression = if cfg!(feature = "lz4") && rng.bool() { Compression::Lz4 } else { Compression::None };
    let body = builder.finish(compression).unwrap();
    let stamp = ProducerStamp {
        producer_id: number(rng),
        producer_epoch: number(rng) as i16,
        base_sequence: number(rng).clamp(-1, i32::MAX.into()) as i32,
    };
    let mut header: BatchHeader = body.header(stamp);
    for _ in 0..rng.usize(..3) {
        match rng.u8(..8) {
            0 => header.base_offset = number(rng),
            1 => header.last_offset_delta = number(rng) as i32,
            2 => header.records_count = number(rng) as i32,
            3 => header.base_timestamp = number(rng),
            4 => header.max_timestamp = number(rng),
            5 => header.attributes ^= 1 << rng.u8(..7),
            6 => header.batch_length = number(rng) as i32,
            // Codecs that nobody here opens: count and delta are believed.
            _ => {
                header.attributes = (header.attributes & !7) | 4;
                header.records_count = i32::MAX;
                header.last_offset_delta = i32::MAX - 1;
            }
        }
    }
    let mut bytes = [&header.write()[..], body.body()].concat();
    let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

fn produce(rng: &mut fastrand::Rng) -> ProduceRequest {
    let data =
        |rng: &mut fastrand::Rng| PartitionData { index: rng.i32(-1..3), records: Some(Records(vec![batch(rng)])) };
    let topic = |rng: &mut fastrand::Rng| TopicData {
        name: "a".repeat(rng.usize(1..4)).into(),
        partition_data: (0..rng.usize(1..4)).map(|_| data(rng)).collect(),
        ..Default::default()
    };
    ProduceRequest {
        transactional_id: rng.bool().then(|| "aaa".into()),
        acks: rng.i16(-1..2),
        timeout_ms: number(rng) as i32,
        topic_data: (0..rng.usize(1..3)).map(|_| topic(rng)).collect(),
    }
}

fn encoded<R: Request>(request: &R, version: i16, rng: &mut fastrand::Rng) -> Option<Bytes> {
    let frame = encode_request(request, version, 7, &"client".into()).ok()?.into_bytes().slice(4..);
    if rng.u8(..3) > 0 {
        return Some(frame);
    }
    let mut bytes = frame.to_vec();
    for _ in 0..rng.usize(1..4) {
        // The header's API and version stay, so that the body is read.
        let at = rng.usize(4..bytes.len());
        bytes[at] = [0, 0xff, 0x7f, 0x80, rng.u8(..)][rng.usize(..5)];
    }
    if rng.u8(..8) == 0 {
        bytes.truncate(rng.usize(4..=bytes.len()));
    }
    Some(bytes.into())
}

/// What opens groups and transactions, so that the requests about them find some.
fn opening(rng: &mut fastrand::Rng) -> Option<Bytes> {
    let name = "a".repeat(rng.usize(1..4));
    let producer = (rng.i64(0..6), rng.i16(0..3));
    match rng.u8(..4) {
        0 => {
            let protocol = join_group::Protocol { name: "aaa".into(), metadata: entropy(rng).into() };
            let join = JoinGroupRequest {
                group_id: name.into(),
                session_timeout_ms: rng.i32(1_000..30_000),
                rebalance_timeout_ms: number(rng) as i32,
                group_instance_id: rng.bool().then(|| "aaa".into()),
                protocol_type: "consumer".into(),
                protocols: vec![protocol],
                ..Default::default()
            };
            encoded(&join, if rng.bool() { 5 } else { 3 }, rng)
        }
        1 => {
            let init = InitProducerIdRequest {
                transactional_id: Some("aaa".into()),
                transaction_timeout_ms: rng.i32(1..20_000),
                producer_id: -1,
                producer_epoch: -1,
            };
            encoded(&init, 4, rng)
        }
        2 => {
            let topic = add_partitions_to_txn::Topic { name: name.into(), partitions: vec![rng.i32(-1..3)] };
            let add = AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: "aaa".into(),
                v3_and_below_producer_id: producer.0,
                v3_and_below_producer_epoch: producer.1,
                v3_and_below_topics: vec![topic],
                ..Default::default()
            };
            encoded(&add, 3, rng)
        }
        _ => {
            let (producer_id, producer_epoch) = producer;
            let transactional_id = "aaa".into();
            let end = EndTxnRequest { transactional_id, producer_id, producer_epoch, committed: rng.bool() };
            encoded(&end, 4, rng)
        }
    }
}

fn any_request(rng: &mut fastrand::Rng) -> Option<Bytes> {
    match rng.u8(..8) {
        0 | 1 => {
            let version = rng.i16(3..=12);
            return encoded(&produce(rng), version, rng);
        }
        2 | 3 => return opening(rng),
        _ => {}
    }
    let api = APIS[rng.usize(..APIS.len())];
    let version = rng.i16(api.min..=api.max);
    macro_rules! request {
        ($($request:ident)*) => {
            match api.key {
                $($request::KEY => encoded(&sample::request::<$request>(entropy(rng), version), version, rng),)*
                _ => None,
            }
        };
    }
    for_each_api!(request)
}

fn inputs() -> usize {
    std::env::var("DISPATCHER_FUZZ_INPUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(INPUTS)
}

#[tokio::test(start_paused = true)]
async fn no_request_whatever_makes_a_broker_panic() {
    let mut rng = fastrand::Rng::with_seed(4);
    let mut builder = EmbeddedCluster::builder().brokers(3).auto_create_topics(true).max_memory(1 << 20).seed(4);
    for n in 1..=8 {
        builder = builder.topic("a".repeat(n), 2);
    }
    let cluster = builder.start().await.unwrap();
    let mut answers = 0;
    for n in 0..inputs() {
        let Some(frame) = any_request(&mut rng) else { continue };
        let answer = dispatch::answer(cluster.shared(), rng.i32(1..4), rng.u64(..5), "/host", frame);
        let answer = tokio::time::timeout(Duration::from_millis(rng.u64(..20_000)), answer).await;
        answers += usize::from(matches!(answer, Ok(dispatch::Reply::Send(_))));
        if n % 100 == 0 {
            trouble(&cluster, &mut rng).await;
        }
    }
    assert!(answers > inputs() / 4, "only {answers} answers: the requests are too strange to find anything");
    // All is as it was for whoever comes next.
    cluster.create_topic("after", 1, &[]).unwrap();
    assert!(cluster.partition("after", 0).is_some_and(|p| p.leader.is_some() && p.log_end == 0));
}

async fn trouble(cluster: &EmbeddedCluster, rng: &mut fastrand::Rng) {
    let (topic, partition, broker) = ("a".repeat(rng.usize(1..4)), rng.i32(-1..3), rng.i32(0..5));
    match rng.u8(..12) {
        0 => cluster.compact(&topic),
        1 => cluster.apply_retention(),
        2 => drop(cluster.delete_records(&topic, partition, number(rng))),
        3 => drop(cluster.move_leader(&topic, partition, broker)),
        4 => drop(cluster.stop_broker(broker)),
        5 => drop(cluster.start_broker(broker).await),
        6 => drop(cluster.move_coordinator("aaa", broker)),
        7 => cluster.pause_replication(&topic, partition),
        8 => cluster.resume_replication(&topic, partition),
        9 => tokio::time::sleep(Duration::from_secs(rng.u64(..2_000))).await,
        10 => drop(cluster.add_partitions(&topic, rng.i32(..))),
        _ => drop(cluster.create_topic(&topic, rng.i32(..), &[])),
    }
}
