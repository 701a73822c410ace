//! During load: a member dies, then every broker in turn dies and comes back. Nothing acknowledged is lost or stored
//! twice, and no commit passes what is unfinished.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::log::HandlerLog;
use common::ours::{self, Load, MemberProcess, Reading};
#[cfg(feature = "rskafka")]
use common::{KAFKA_3, check::Lane, commits::Looks, scaled};
use common::{KAFKA_4, check, tools, unique};
use dispatcher_testcontainers::Kafka;

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_a_member_and_of_each_broker_in_turn_loses_and_doubles_nothing() {
    // Dead brokers are noticed, and their partitions led by others, while they are still down.
    let kafka = Kafka::builder().brokers(3).version(KAFKA_4).property("broker.session.timeout.ms", 6_000);
    let Some(kafka) = kafka.start_or_skip() else { return };
    let (topic, group) = (unique("faults"), unique("faults"));
    let bootstrap = kafka.bootstrap();
    tools::create_topic(kafka.tools(), &bootstrap, &topic, 12, 3, &["min.insync.replicas=2"]);
    let dir = std::env::temp_dir().join(unique("dispatcher-faults"));
    std::fs::create_dir_all(&dir).unwrap();
    let reading = Reading { session_timeout: Duration::from_secs(6), ..Reading::default() };
    let start = |n: usize| MemberProcess::start(&bootstrap, &topic, &group, &reading, &dir.join(n.to_string()));
    let logs = || (0..4).map(|n| HandlerLog::read(&dir.join(n.to_string()))).collect::<Vec<_>>();
    // What a member has logged, without reading it all: a line is some 35 bytes.
    let logged = |n: usize| std::fs::metadata(dir.join(n.to_string())).map_or(0, |file| file.len() / 35);

    let dispatcher = ours::connect(&bootstrap).await;
    let mut members: Vec<_> = (0..3).map(start).collect();
    let load = Load::start(dispatcher.clone(), &topic, 1_000, Duration::from_millis(25));
    common::eventually("handlers run", Duration::from_secs(60), async || (0..3).all(|n| logged(n) > 100)).await;

    members[0].kill();
    members.push(start(3));
    common::eventually("the new member works", Duration::from_secs(60), async || logged(3) > 100).await;

    for broker in 0..3 {
        kafka.broker(broker).kill();
        tokio::time::sleep(Duration::from_secs(8)).await;
        kafka.broker(broker).restart();
        replicas_in_sync(&kafka, &topic, Duration::from_secs(60)).await;
        let before: u64 = (0..4).map(logged).sum();
        let moving = async || (0..4).map(logged).sum::<u64>() > before + 100;
        common::eventually("messages are handled again", Duration::from_secs(60), moving).await;
        let committed = ours::committed(&dispatcher, &topic, &group).await;
        let finished = check::finished(&logs());
        for (partition, next) in committed {
            let unfinished = (0..next).find(|offset| !finished.contains_key(&(partition, *offset)));
            assert_eq!(unfinished, None, "C: partition {partition} is committed up to {next}");
        }
    }

    let sent = load.finish().await;
    assert!(sent.failed.is_empty(), "{} of {}: {:?}", sent.failed.len(), sent.payloads.len(), sent.failed.first());
    ours::until_lag_is_zero(&dispatcher, &topic, &group, Duration::from_secs(120)).await;
    let logs = logs();
    let stored = tools::read_back(kafka.tools(), &bootstrap, &topic);
    check::stored_exactly_once(&sent.payloads, &stored);
    check::stored_in_order(&stored);
    // A retried batch's offset may be unknown: what the log holds is what must have been handled.
    check::no_loss(stored.iter().map(|record| (record.partition, record.offset)), &logs);
    let again = check::finished(&logs).values().filter(|times| **times > 1).count();
    println!("{} acknowledged, {again} handled again after crashes", sent.payloads.len());
    for member in members.drain(1..) {
        tokio::task::spawn_blocking(move || member.stop()).await.unwrap();
    }
    let _ = std::fs::remove_dir_all(dir);
}

/// Unless `DISPATCHER_SCALE` makes it 100,000 messages in each order on both releases, a short form of that.
#[cfg(feature = "rskafka")]
#[tokio::test(flavor = "multi_thread")]
async fn over_rskafka_a_killed_member_and_a_killed_broker_lose_nothing_and_keep_the_order() {
    use dispatcher::Order;
    let count = scaled(10_000);
    let all = count >= 100_000;
    for version in if all { &[KAFKA_4, KAFKA_3][..] } else { &[KAFKA_4] } {
        let kafka = Kafka::builder().brokers(3).version(version).property("broker.session.timeout.ms", 6_000);
        let Some(kafka) = kafka.start_or_skip() else { return };
        for order in if all { &[Order::Key, Order::Partition, Order::None][..] } else { &[Order::Key] } {
            over_rskafka(&kafka, *order, count).await;
        }
    }
}

#[cfg(feature = "rskafka")]
async fn over_rskafka(kafka: &Kafka, order: dispatcher::Order, count: usize) {
    use dispatcher::{Backend, Dispatcher, Order};
    let (topic, group) = (unique("rskafka"), unique("rskafka"));
    let bootstrap = kafka.bootstrap();
    tools::create_topic(kafka.tools(), &bootstrap, &topic, 12, 3, &["min.insync.replicas=2"]);
    let dir = std::env::temp_dir().join(unique("dispatcher-rskafka"));
    std::fs::create_dir_all(&dir).unwrap();
    let session_timeout = Duration::from_secs(6);
    let reading = Reading { session_timeout, order, backend: Backend::Rskafka, ..Reading::default() };
    let files: Vec<_> = (0..4).map(|n| dir.join(n.to_string())).collect();
    let start = |n: usize| MemberProcess::start(&bootstrap, &topic, &group, &reading, &files[n]);
    let logged = |n: usize| std::fs::metadata(&files[n]).map_or(0, |file| file.len() / 35);

    let dispatcher = Dispatcher::builder(bootstrap.split(',')).backend(Backend::Rskafka).connect().await.unwrap();
    let mut members: Vec<_> = (0..3).map(start).collect();
    let load = Load::start(dispatcher.clone(), &topic, 1_000, Duration::from_millis(15));
    common::eventually("handlers run", Duration::from_secs(60), async || (0..3).all(|n| logged(n) > 100)).await;
    let looks = Looks::start(dispatcher.clone(), &topic, &group, &files);
    members[0].kill();
    members.push(start(3));
    common::eventually("the new member works", Duration::from_secs(60), async || logged(3) > 100).await;
    // The group's coordinator, so that nothing can be committed for a while; it leads partitions as well. It is replaced
    // about when the members' sessions end: if one ends before, all that it has finished since its last commit comes again.
    let broker = kafka.node(tools::coordinator(kafka.tools(), &bootstrap, &group)).unwrap();
    broker.kill();
    tokio::time::sleep(Duration::from_secs(8)).await;
    let before: u64 = (0..4).map(logged).sum();
    let moving = async || (0..4).map(logged).sum::<u64>() > before + 100;
    common::eventually("messages are handled with a broker down", Duration::from_secs(60), moving).await;
    broker.restart();
    let enough = async || load.count.load(std::sync::atomic::Ordering::Relaxed) >= count;
    common::eventually("all is sent", Duration::from_secs(180), enough).await;
    let sent = load.finish().await;
    assert!(sent.failed.is_empty(), "{} of {}: {:?}", sent.failed.len(), sent.payloads.len(), sent.failed.first());
    ours::until_lag_is_zero(&dispatcher, &topic, &group, Duration::from_secs(120)).await;

    let again = looks.finish(&files).await;
    let logs: Vec<_> = files.iter().map(|file| HandlerLog::read(file)).collect();
    let stored = tools::read_back(kafka.tools(), &bootstrap, &topic);
    let values: std::collections::BTreeSet<_> = stored.iter().map(|record| &record.value).collect();
    let missing = sent.payloads.iter().filter(|payload| !values.contains(payload)).count();
    assert_eq!(missing, 0, "I: acknowledged and not in the log");
    check::no_loss(stored.iter().map(|record| (record.partition, record.offset)), &logs);
    match order {
        Order::Key => check::lanes_keep_order(Lane::Key, true, &logs),
        Order::Partition => check::lanes_keep_order(Lane::Partition, true, &logs),
        _ => {}
    }
    let committed = ours::committed(&dispatcher, &topic, &group).await;
    let places: Vec<_> = stored.iter().map(|record| (record.partition, record.offset)).collect();
    check::commits_do_not_pass_unfinished(&committed, &places, &logs);
    // Without idempotence a retry may write twice.
    let doubled = stored.len() - values.len();
    println!("{order:?}: {} acknowledged, {doubled} doubles in the log, {again:?}", sent.payloads.len());
    for member in members.drain(1..) {
        tokio::task::spawn_blocking(move || member.stop()).await.unwrap();
    }
    let _ = std::fs::remove_dir_all(dir);
}

async fn replicas_in_sync(kafka: &Kafka, topic: &str, limit: Duration) {
    let deadline = Instant::now() + limit;
    let bootstrap = kafka.bootstrap();
    let args = ["--bootstrap-server", &bootstrap, "--describe", "--topic", topic, "--under-replicated-partitions"];
    loop {
        let output = kafka.tool("org.apache.kafka.tools.TopicCommand", &args).unwrap();
        if output.status.success() && !String::from_utf8_lossy(&output.stdout).contains("Partition:") {
            return;
        }
        assert!(Instant::now() < deadline, "replicas are not in sync after {limit:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Not a test: a member of the group in a process of its own, when [`MemberProcess`] asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn member_process() {
    ours::run_member_process().await;
}
