//! A large assignment at rest costs next to nothing: few connections, hardly any CPU. And whatever waits in the topic, a member
//! takes no more memory than it was given, nor does a sender whose brokers are silent. With `DISPATCHER_SCALE=50` ten million
//! messages wait.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dispatcher::Dispatcher;
use dispatcher::embedded::{Api, EmbeddedCluster, Fault};

use common::ours::{self, MemberProcess, Reading};
use common::{KAFKA_4, process, scaled, tools, unique};
use dispatcher_testcontainers::Kafka;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_partitions_take_at_most_two_connections_a_broker_and_hardly_any_cpu() {
    let Some(kafka) = Kafka::builder().brokers(3).version(KAFKA_4).shared_or_skip() else { return };
    let (topic, group) = (unique("footprint"), unique("footprint"));
    tools::create_topic(kafka.tools(), kafka.bootstrap(), &topic, 1_000, 1, &[]);
    let log = std::env::temp_dir().join(unique("dispatcher-footprint"));
    let member = MemberProcess::start(kafka.bootstrap(), &topic, &group, &Reading::default(), &log);
    // One message per partition, so that every partition is known to be read.
    let dispatcher = ours::connect(kafka.bootstrap()).await;
    let mut deliveries = Vec::new();
    for partition in 0..1_000 {
        deliveries.push(dispatcher.send(&topic, "x").partition(partition).enqueue().await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    common::eventually("all are handled", Duration::from_secs(120), async || member.log().done() == 1_000).await;
    tokio::time::sleep(Duration::from_secs(5)).await;

    let ports: Vec<u16> =
        kafka.bootstrap().split(',').filter_map(|broker| broker.rsplit_once(':')?.1.parse().ok()).collect();
    let idle = Duration::from_secs(20);
    let before = process::cpu(member.pid());
    tokio::time::sleep(idle).await;
    if let (Some(before), Some(after)) = (before, process::cpu(member.pid())) {
        let connections = process::connections(member.pid(), &ports).unwrap();
        let share = (after - before).as_secs_f64() / idle.as_secs_f64();
        println!("1,000 idle partitions: {connections} connections, {:.2} % of a core", share * 100.0);
        assert!((1..=6).contains(&connections), "{connections} connections");
        // A debug build takes several times what an optimised one does.
        let limit = if cfg!(debug_assertions) { 0.05 } else { 0.01 };
        assert!(share < limit, "{:.2} % of a core", share * 100.0);
    }
    tokio::task::spawn_blocking(move || member.stop()).await.unwrap();
    let _ = std::fs::remove_file(log);
}

const MIB: u64 = 1 << 20;

/// What a process may have beside its budget, and a member beside a batch of each broker, in bytes. An unoptimised program
/// is itself larger.
const BESIDE: u64 = if cfg!(debug_assertions) { 32_000_000 } else { 20_000_000 };

/// Sends message `i` of `size(i)` bytes, without keeping them.
async fn fill(bootstrap: &str, topic: &str, count: usize, size: impl Fn(usize) -> usize) {
    let dispatcher = ours::connect(bootstrap).await;
    let topic = dispatcher.topic(topic).await.unwrap();
    let value = vec![b'x'; (0..count.min(1_000)).map(&size).max().unwrap()];
    let partitions = topic.partitions() as usize;
    let mut window = VecDeque::new();
    for i in 0..count {
        let message = topic.send(&value[..size(i)]).partition((i % partitions) as i32);
        window.push_back(message.enqueue().await.unwrap());
        if window.len() > 10_000 {
            window.pop_front().unwrap().await.unwrap();
        }
    }
    for delivery in window {
        delivery.await.unwrap();
    }
    dispatcher.close(Duration::from_secs(30)).await.unwrap();
}

/// Starts a member; its log is removed with it.
fn reader(bootstrap: &str, topic: &str, reading: &Reading) -> (MemberProcess, PathBuf) {
    let log = std::env::temp_dir().join(unique("dispatcher-memory"));
    (MemberProcess::start(bootstrap, topic, &unique("memory"), reading, &log), log)
}

/// The most memory that the member has had, held against what it may have.
fn check_memory(what: &str, member: &MemberProcess, reading: &Reading, batches: u64) {
    let Some(peak) = process::peak_memory_of(member.pid()) else { return };
    let budget = reading.fetch_memory as u64;
    let beside = peak.saturating_sub(budget + batches);
    println!("{what}: peak {peak} B; budget {budget}, a batch of each broker {batches}, beside them {beside}");
    assert!(beside <= BESIDE, "{what}: {beside} bytes beside the budget and a batch of each broker");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_lag_behind_slow_handlers_takes_no_more_memory_than_the_budget() {
    let Some(kafka) = Kafka::builder().brokers(3).version(KAFKA_4).shared_or_skip() else { return };
    let (topic, count) = (unique("lag"), scaled(200_000));
    tools::create_topic(kafka.tools(), kafka.bootstrap(), &topic, 12, 1, &[]);
    fill(kafka.bootstrap(), &topic, count, |_| 100).await;
    // With few messages the budget is small enough to be used up by them.
    let fetch_memory = if count * 100 > 200_000_000 { 64 << 20 } else { 4 << 20 };
    let work = Duration::from_millis(100);
    let reading = Reading { work, fetch_memory, exact_memory: true, ..Reading::default() };
    let (member, log) = reader(kafka.bootstrap(), &topic, &reading);
    common::eventually("some are handled", Duration::from_secs(60), async || member.log().done() >= 1_000).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let done = member.log().done();
    assert!(done * 10 < count, "{done} of {count} were handled: that is no lag");
    // Batches of ours have a million bytes at most.
    check_memory(&format!("{count} messages of lag"), &member, &reading, 3 * MIB);
    tokio::task::spawn_blocking(move || member.stop()).await.unwrap();
    let _ = std::fs::remove_file(log);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_among_small_ones_take_no_more_memory_than_the_budget() {
    let Some(kafka) = Kafka::builder().brokers(3).version(KAFKA_4).shared_or_skip() else { return };
    let (topic, count) = (unique("large"), scaled(10_000).min(100_000));
    tools::create_topic(kafka.tools(), kafka.bootstrap(), &topic, 12, 1, &["max.message.bytes=2097152"]);
    // One in a hundred has a mebibyte, in each partition.
    fill(kafka.bootstrap(), &topic, count, |i| if i % 97 == 0 { MIB as usize } else { 100 }).await;
    let fetch_memory = if count >= 100_000 { 64 << 20 } else { 16 << 20 };
    let work = Duration::from_millis(10);
    let reading = Reading { work, fetch_memory, exact_memory: true, ..Reading::default() };
    let (member, log) = reader(kafka.bootstrap(), &topic, &reading);
    // All of them, or as many as are handled in a while.
    let begun = Instant::now();
    while member.log().done() < count && begun.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let done = member.log().done();
    assert!(done >= 5_000, "{done} of {count} were handled");
    check_memory("messages of 1 MiB among small ones", &member, &reading, 3 * (MIB + MIB / 8));
    tokio::task::spawn_blocking(move || member.stop()).await.unwrap();
    let _ = std::fs::remove_file(log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_whose_brokers_are_silent_takes_no_more_memory_than_its_buffer() {
    let cluster = EmbeddedCluster::builder().topic("t", 4).start().await.unwrap();
    cluster.inject(Fault::on(Api::Produce).always().silence());
    for size in [0, 100, 1024, 100_000] {
        let mut sender = std::process::Command::new(std::env::current_exe().unwrap());
        sender.args(["--exact", "sender_process", "--nocapture"]).env("SENDER_TO", cluster.brokers().join(","));
        sender.env("SENDER_SIZE", size.to_string());
        process::exact_memory(&mut sender);
        let output = tokio::task::spawn_blocking(move || sender.output()).await.unwrap().unwrap();
        let output = String::from_utf8_lossy(&output.stdout);
        let word = |name: &str| output.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse::<u64>().ok());
        let (count, peak) = (word("count=").expect(&output), word("peak=").expect(&output));
        let beside = peak.saturating_sub(SENDER_BUFFER as u64);
        println!("{count} messages of {size} B wait: peak {peak} B, beside the buffer {beside}");
        // With the envelope's header.
        let filled = count * (size + 110);
        assert!(filled > SENDER_BUFFER as u64 * 9 / 10, "{count} messages of {size} B are {filled} B");
        assert!(beside <= BESIDE, "messages of {size} B: {beside} bytes beside the buffer");
    }
}

const SENDER_BUFFER: usize = 64 << 20;

/// Not a test: a sender that fills its buffer, in a process of its own, when the test above asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn sender_process() {
    let Ok(brokers) = std::env::var("SENDER_TO") else { return };
    let value = vec![b'x'; std::env::var("SENDER_SIZE").unwrap().parse().unwrap()];
    let builder =
        Dispatcher::builder(brokers.split(',')).buffer_memory(SENDER_BUFFER).max_block(Duration::from_secs(1));
    let dispatcher = builder.connect().await.unwrap();
    let topic = dispatcher.topic("t").await.unwrap();
    let mut count = 0_u64;
    // Nobody waits for them: what a `Delivery` takes is its owner's.
    while topic.send(&value).enqueue().await.is_ok() {
        count += 1;
    }
    println!("count={count} peak={}", process::peak_memory().unwrap_or_default());
}

/// Not a test: a member of the group in a process of its own, when [`MemberProcess`] asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn member_process() {
    ours::run_member_process().await;
}
