//! Entrances to the insides for `benches/`, behind the feature `bench`. No part of the public interface.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

pub mod counts;

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::client::fetch::FetchConfig;
use crate::client::native::Native;
use crate::client::producer::{Choice, Producer, ProducerConfig, RecordParts};
use crate::client::{ClientConfig, Cluster};
use crate::env::Env;
use crate::wire::records::{self, BatchBuilder, Compression, Cursor, Limits, NO_PRODUCER};

/// Every codec and its name.
pub const CODECS: [(&str, Compression); 5] = [
    ("none", Compression::None),
    ("gzip", Compression::Gzip),
    ("snappy", Compression::Snappy),
    ("lz4", Compression::Lz4),
    ("zstd", Compression::Zstd),
];

/// Records of `size` bytes, in batches of `limit` bytes, until at least `count` are done: ns per record for appending,
/// for sealing (compression, checksum) and for reading again, and its bytes on the wire.
pub fn records(count: u32, size: usize, compression: Compression, limit: usize) -> [f64; 4] {
    let (values, limits) = (payloads(size, 4096), Limits::busy(128 << 20));
    let (mut took, mut done) = ([Duration::ZERO; 3], 0);
    let mut wire = 0;
    let mut buffer = BytesMut::new();
    while done < count {
        let begun = Instant::now();
        let mut builder = BatchBuilder::new(limit, buffer);
        let mut values = values.iter().cycle();
        while builder.try_append(1_700_000_000_000, None, values.next().map(|v| &black_box(v)[..]), &[]).is_ok() {}
        let appended = Instant::now();
        let batch = builder.finish(compression).unwrap();
        let header = batch.stamp(NO_PRODUCER);
        let sealed = Instant::now();
        let frame: Bytes = [&header[..], batch.body()].concat().into();
        let joined = Instant::now();
        for raw in records::batches(frame) {
            let batch = raw.unwrap().open(&limits).unwrap();
            let mut at = Cursor::default();
            while let Some(view) = batch.next(&mut at).unwrap() {
                black_box(view.value);
            }
        }
        let read = Instant::now();
        took[0] += appended - begun;
        took[1] += sealed - appended;
        took[2] += read - joined;
        done += batch.count();
        wire += batch.size();
        buffer = batch.into_body().try_into_mut().unwrap_or_default();
    }
    let [append, seal, parse] = took.map(|t| t.as_nanos() as f64 / f64::from(done));
    [append, seal, parse, wire as f64 / f64::from(done)]
}

/// Like JSON, with random digits, the same ones each time.
fn payloads(size: usize, count: usize) -> Vec<Vec<u8>> {
    let mut rng = fastrand::Rng::with_seed(1);
    let text = |_| {
        let mut text = String::from("{\"id\":");
        while text.len() < size {
            text.push_str(&format!("{},\"amount\":", rng.u32(..)));
        }
        text.truncate(size);
        text.into_bytes()
    };
    (0..count).map(text).collect()
}

async fn producer(brokers: &str, config: ProducerConfig) -> Producer {
    let brokers = brokers.split(',').map(str::to_owned).collect();
    let cluster = Cluster::connect(ClientConfig { brokers, ..ClientConfig::default() }, Env::system()).await.unwrap();
    let backend = Arc::new(Native::new(cluster.clone(), FetchConfig::default()));
    Producer::new(cluster, backend, config).unwrap()
}

/// Sends `count` records and waits for every acknowledgement; returns seconds.
pub async fn produce(
    brokers: &str,
    topic: &str,
    rounds: usize,
    count: usize,
    size: usize,
    codec: Compression,
    linger_ms: u64,
) {
    let (linger, packing) = (Duration::from_millis(linger_ms), codec.into());
    let config = ProducerConfig { linger, packing, ..ProducerConfig::default() };
    let producer = producer(brokers, config).await;
    let topic = producer.topic(topic).await.unwrap();
    let payloads = payloads(size, 4096);
    let partitions = topic.partitions() as usize;
    for round in 0..rounds {
        let (begun, cpu_before) = (Instant::now(), cpu());
        let mut window = VecDeque::with_capacity(100_001);
        for i in 0..count {
            let parts = RecordParts { value: Some(&payloads[i % 4096]), ..RecordParts::default() };
            let choice = Choice::Partition((i % partitions) as i32);
            window.push_back(topic.append(choice, &parts).await.unwrap());
            if window.len() >= 100_000 {
                window.pop_front().unwrap().await.unwrap();
            }
        }
        for delivery in window {
            delivery.await.unwrap();
        }
        let (wall, cpu) = (begun.elapsed().as_secs_f64(), cpu() - cpu_before);
        println!("round {round}: {:.0} msg/s, CPU s per 1M {:.3}", count as f64 / wall, cpu * 1e6 / count as f64);
    }
    producer.close(Duration::from_secs(10)).await;
    assert_eq!(producer.buffered(), 0);
}

/// One send after the other, 1 ms apart.
pub async fn latency(brokers: &str, topic: &str, count: usize) {
    let producer = producer(brokers, ProducerConfig::default()).await;
    let topic = producer.topic(topic).await.unwrap();
    let mut took = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        let parts = RecordParts { value: Some(&[b'x'; 100]), ..RecordParts::default() };
        topic.append(Choice::Partition(0), &parts).await.unwrap().await.unwrap();
        took.push(begun.elapsed().as_micros());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    took.sort_unstable();
    println!("send: p50 {} us, p99 {} us", took[took.len() / 2], took[took.len() * 99 / 100]);
}

/// CPU seconds of this process, user and system.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}
