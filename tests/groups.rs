//! A group of several members handles everything once: L, C, K, D, judged from the handlers' log and from the log's own
//! content, and our status agrees with Kafka's own tool.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::check::{self, Lane};
use common::ours::{self, Member, MemberProcess, Reading};
use common::tools;
use common::{KAFKA_3, KAFKA_4, scaled, unique};
use dispatcher::Order;
use dispatcher_testcontainers::{Kafka, SharedKafka};

const PARTITIONS: u32 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn three_members_on_three_brokers_handle_everything_once_whatever_the_order() {
    let Some(kafka) = Kafka::builder().brokers(3).version(KAFKA_4).shared_or_skip() else { return };
    for order in [Order::Key, Order::None, Order::Partition] {
        three_members(&kafka, scaled(100_000), 3, order).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_on_one_broker_handle_everything_once() {
    let Some(kafka) = Kafka::builder().version(KAFKA_4).shared_or_skip() else { return };
    three_members(&kafka, scaled(100_000).min(100_000), 1, Order::Key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_on_kafka_3_handle_everything_once() {
    let Some(kafka) = Kafka::builder().version(KAFKA_3).shared_or_skip() else { return };
    three_members(&kafka, scaled(100_000).min(100_000), 1, Order::Key).await;
}

async fn three_members(kafka: &SharedKafka, count: usize, replicas: u32, order: Order) {
    let (topic, group) = (unique("groups"), unique("groups"));
    tools::create_topic(kafka.tools(), kafka.bootstrap(), &topic, PARTITIONS, replicas, &[]);
    let reading = Reading { order, ..Reading::default() };
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(Member::start(kafka.bootstrap(), &topic, &group, &reading).await);
    }
    let dispatcher = ours::connect(kafka.bootstrap()).await;
    ours::until_shared(&dispatcher, &topic, &group, 3).await;
    let sent = ours::send_all(&dispatcher, &topic, count, 1_000, 100).await;
    assert!(sent.failed.is_empty(), "{:?}", sent.failed.first());
    assert_eq!(sent.places.len(), count);

    ours::until_lag_is_zero(&dispatcher, &topic, &group, Duration::from_secs(180)).await;
    let logs: Vec<_> = members.iter().map(|m| m.log.clone()).collect();
    let stored = tools::read_back(kafka.tools(), kafka.bootstrap(), &topic);
    check::stored_exactly_once(&sent.payloads, &stored);
    check::stored_in_order(&stored);
    check::no_loss(sent.places.iter().copied(), &logs);
    check::no_doubles(&logs);
    match order {
        Order::Key => check::lanes_keep_order(Lane::Key, false, &logs),
        Order::Partition => check::lanes_keep_order(Lane::Partition, false, &logs),
        _ => {}
    }
    let committed = ours::committed(&dispatcher, &topic, &group).await;
    check::commits_do_not_pass_unfinished(&committed, &sent.places, &logs);
    let busy = logs.iter().filter(|log| log.done() > 0).count();
    assert_eq!(busy, 3, "every member has its share");

    let theirs = tools::describe_group(kafka.tools(), kafka.bootstrap(), &group);
    assert_eq!(theirs.len(), PARTITIONS as usize);
    let status = dispatcher.consume_status_exact(&topic, &group).await.unwrap();
    for line in &theirs {
        let ours = status.partitions().iter().find(|p| p.partition() == line.partition).unwrap();
        assert_eq!((ours.committed(), ours.log_end(), ours.lag()), (line.committed, line.log_end, line.lag));
        assert_eq!(ours.member_id(), line.consumer.as_deref());
    }
    for member in members {
        member.stop().await;
    }
    // A clean stop leaves nothing for the next owner.
    let next = Member::start(kafka.bootstrap(), &topic, &group, &reading).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(next.log.len(), 0, "D: {:?}", next.log.events().first());
    next.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_in_processes_of_their_own_come_and_go_without_doubles() {
    let Some(kafka) = Kafka::builder().version(KAFKA_4).shared_or_skip() else { return };
    let (topic, group) = (unique("processes"), unique("processes"));
    tools::create_topic(kafka.tools(), kafka.bootstrap(), &topic, PARTITIONS, 1, &[]);
    let dir = std::env::temp_dir().join(unique("dispatcher-processes"));
    std::fs::create_dir_all(&dir).unwrap();
    let start = |n: usize| {
        MemberProcess::start(kafka.bootstrap(), &topic, &group, &Reading::default(), &dir.join(n.to_string()))
    };
    let dispatcher = ours::connect(kafka.bootstrap()).await;
    let load = ours::Load::start(dispatcher.clone(), &topic, 1_000, Duration::from_millis(5));
    let mut members = Vec::new();
    for n in 0..3 {
        members.push(start(n));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let early = members.remove(0);
    let mut logs = vec![early.log()];
    tokio::task::spawn_blocking(move || early.stop()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let sent = load.finish().await;
    assert!(sent.failed.is_empty(), "{:?}", sent.failed.first());
    ours::until_lag_is_zero(&dispatcher, &topic, &group, Duration::from_secs(120)).await;
    logs[0] = common::log::HandlerLog::read(&dir.join("0"));
    logs.extend(members.iter().map(MemberProcess::log));
    check::no_loss(sent.places.iter().copied(), &logs);
    check::no_doubles(&logs);
    check::lanes_keep_order(Lane::Key, true, &logs);
    for member in members {
        tokio::task::spawn_blocking(move || member.stop()).await.unwrap();
    }
    let _ = std::fs::remove_dir_all(dir);
}

/// Not a test: a member of the group in a process of its own, when [`MemberProcess`] asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn member_process() {
    ours::run_member_process().await;
}
