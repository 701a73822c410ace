//! Runs against a real broker, named by the environment variable `DISPATCHER_LIVE_BROKERS`; the topic by
//! `DISPATCHER_LIVE_TOPIC`. Ignored otherwise.

use std::collections::VecDeque;
use std::time::Instant;

use super::super::*;
use crate::client::config::ClientConfig;
use crate::client::fetch::FetchConfig;
use crate::client::native::Native;
use crate::env::Env;

fn var(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn number(name: &str, default: usize) -> usize {
    var(name, &default.to_string()).parse().unwrap()
}

async fn producer(config: ProducerConfig) -> Producer {
    let brokers = var("DISPATCHER_LIVE_BROKERS", "127.0.0.1:29092").split(',').map(str::to_owned).collect();
    let config_of_client = ClientConfig { brokers, ..ClientConfig::default() };
    let cluster = Cluster::connect(config_of_client, Env::system()).await.unwrap();
    let backend = Arc::new(Native::new(cluster.clone(), FetchConfig::default()));
    Producer::new(cluster, backend, config).unwrap()
}

/// CPU seconds of this process, user and system.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a broker"]
async fn a_million_records_are_acknowledged() {
    let count = number("COUNT", 1_000_000);
    let size = number("SIZE", 100);
    let compression = match var("CODEC", "none").as_str() {
        #[cfg(feature = "lz4")]
        "lz4" => crate::wire::records::Compression::Lz4,
        _ => crate::wire::records::Compression::None,
    };
    let linger = Duration::from_millis(number("LINGER", 5) as u64);
    let producer = producer(ProducerConfig { linger, compression, ..ProducerConfig::default() }).await;
    let topic = producer.topic(&var("DISPATCHER_LIVE_TOPIC", "r-live")).await.unwrap();
    let mut rng = fastrand::Rng::with_seed(1);
    let payloads: Vec<Vec<u8>> = (0..4096)
        .map(|_| {
            let mut text = String::from("{\"id\":");
            while text.len() < size {
                text.push_str(&format!("{},\"amount\":", rng.u32(..)));
            }
            text.truncate(size);
            text.into_bytes()
        })
        .collect();
    let partitions = topic.partitions() as usize;
    for round in 0..number("ROUNDS", 1) {
        let (begun, cpu_before) = (Instant::now(), cpu());
        let mut window = VecDeque::new();
        for i in 0..count {
            let value = &payloads[i % payloads.len()];
            let parts = RecordParts { value: Some(value), ..RecordParts::default() };
            let delivery = topic.append(Choice::Partition((i % partitions) as i32), &parts).await.unwrap();
            window.push_back(delivery);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a broker"]
async fn latency_of_single_sends() {
    let producer = producer(ProducerConfig::default()).await;
    let topic = producer.topic(&var("DISPATCHER_LIVE_TOPIC", "r-live")).await.unwrap();
    let mut took = Vec::new();
    for _ in 0..number("COUNT", 2000) {
        let begun = Instant::now();
        let parts = RecordParts { value: Some(&[b'x'; 100]), ..RecordParts::default() };
        topic.append(Choice::Partition(0), &parts).await.unwrap().await.unwrap();
        took.push(begun.elapsed().as_micros());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    took.sort_unstable();
    println!("p50 {} us, p99 {} us", took[took.len() / 2], took[took.len() * 99 / 100]);
}

/// Sends numbered records one by one per partition for a while, whatever happens to the brokers meanwhile, and
/// prints what was acknowledged: one line `partition number offset` each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs brokers that are restarted meanwhile"]
async fn acknowledged_through_faults() {
    use std::io::Write;
    let producer = producer(ProducerConfig { linger: Duration::from_millis(2), ..ProducerConfig::default() }).await;
    let topic = producer.topic(&var("DISPATCHER_LIVE_TOPIC", "r-faults")).await.unwrap();
    let until = Instant::now() + Duration::from_secs(number("SECS", 60) as u64);
    let mut out = std::io::BufWriter::new(std::fs::File::create(var("OUT", "/tmp/r-acked.txt")).unwrap());
    let (mut sent, mut failed) = (0u64, 0);
    let mut window: VecDeque<(u64, i32, Delivery)> = VecDeque::new();
    let partitions = topic.partitions() as u64;
    while Instant::now() < until || !window.is_empty() {
        if Instant::now() < until {
            for _ in 0..20 {
                let value = format!("{sent:012}-{}", "x".repeat(100));
                let partition = (sent % partitions) as i32;
                let parts = RecordParts { value: Some(value.as_bytes()), ..RecordParts::default() };
                let delivery = topic.append(Choice::Partition(partition), &parts).await.unwrap();
                window.push_back((sent, partition, delivery));
                sent += 1;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        while window.front().is_some_and(|(_, _, d)| d.is_settled() || window.len() > 50_000 || Instant::now() >= until)
        {
            let (number, partition, delivery) = window.pop_front().unwrap();
            match delivery.await {
                Ok(ack) => writeln!(out, "{partition} {number} {}", ack.offset.unwrap_or(-1)).unwrap(),
                Err(error) => {
                    failed += 1;
                    if failed < 10 {
                        println!("{number}: {error}");
                    }
                }
            }
        }
    }
    out.flush().unwrap();
    println!("sent {sent}, failed {failed}");
}
