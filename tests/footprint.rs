//! A large assignment at rest costs next to nothing: few connections, no CPU.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::ours::{self, MemberProcess, Reading};
use common::{KAFKA_4, process, tools, unique};
use dispatcher_testcontainers::Kafka;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_partitions_need_nine_connections_and_no_cpu() {
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
        assert!((1..=9).contains(&connections), "{connections} connections");
        // A debug build takes several times what an optimised one does.
        let limit = if cfg!(debug_assertions) { 0.05 } else { 0.01 };
        assert!(share < limit, "{:.2} % of a core", share * 100.0);
    }
    tokio::task::spawn_blocking(move || member.stop()).await.unwrap();
    let _ = std::fs::remove_file(log);
}

/// Not a test: a member of the group in a process of its own, when [`MemberProcess`] asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn member_process() {
    ours::run_member_process().await;
}
