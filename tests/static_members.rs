//! A static member that is killed, or stops cleanly, and comes back within its session: it gets the same partitions, and
//! neither the others' events nor Kafka's own record of the group's generations know of a rebalance.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::check::{self, Lane};
use common::log::HandlerLog;
use common::ours::{self, Load, Member, MemberProcess, Reading};
use common::watch::{by_instance, moves, owners};
use common::{KAFKA_4, eventually, tools, unique};
use dispatcher::Assignor;
use dispatcher_testcontainers::{Kafka, SharedKafka};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_comes_back_after_kill_and_stop_and_nobody_else_notices() {
    let Some(kafka) = Kafka::builder().version(KAFKA_4).shared_or_skip() else { return };
    let leading = static_restart(&kafka, Assignor::CooperativeSticky, true);
    tokio::join!(leading, static_restart(&kafka, Assignor::Range, false));
}

/// The member that comes back `leads` its group or not.
async fn static_restart(kafka: &SharedKafka, assignor: Assignor, leads: bool) {
    const PARTITIONS: usize = 12;
    let (topic, group) = (unique("static"), unique("static"));
    let dispatcher = ours::connect(kafka.bootstrap()).await;
    dispatcher.create_topics([topic.as_str()]).partitions(PARTITIONS as i32).replicas(1).await.unwrap();
    let dir = std::env::temp_dir().join(unique("dispatcher-static"));
    std::fs::create_dir_all(&dir).unwrap();
    let reading = |instance: &str| Reading {
        assignors: vec![assignor],
        instance_id: Some(instance.to_owned()),
        heartbeat_interval: Duration::from_millis(500),
        work: Duration::from_millis(2),
        ..Reading::default()
    };
    let path = |life: usize| dir.join(life.to_string());
    let start = |life| MemberProcess::start(kafka.bootstrap(), &topic, &group, &reading("own"), &path(life));
    let other = async |instance: &str| Member::start(kafka.bootstrap(), &topic, &group, &reading(instance)).await;
    let settled = async |members| ours::until_settled(&dispatcher, &topic, &group, members, PARTITIONS).await;
    let (mut own, mut others) = (None, Vec::new());
    if leads {
        own = Some(start(0));
        settled(1).await;
    }
    for instance in ["a", "b"] {
        others.push(other(instance).await);
    }
    let mut own = own.unwrap_or_else(|| start(0));
    settled(3).await;
    let load = Load::start(dispatcher.clone(), &topic, 1_000, Duration::from_millis(100));
    let works = async |life: usize| {
        let busy = async || HandlerLog::read(&path(life)).done() > 50;
        eventually("the member works", LIMIT, busy).await;
    };
    works(0).await;
    let mut events: Vec<_> = others.iter().map(|member| member.subscription.events()).collect();
    events.iter_mut().for_each(|events| drop(moves(events)));
    let (before, members) = (by_instance(&dispatcher, &group).await, owners(&dispatcher, &topic, &group).await);
    let generation = tools::last_generation(kafka.tools(), kafka.bootstrap(), &group);

    own.kill();
    let own = start(1);
    works(1).await;
    assert_eq!(by_instance(&dispatcher, &group).await, before, "the same partitions after a kill");
    let stop = |member: MemberProcess| tokio::task::spawn_blocking(move || member.stop());
    stop(own).await.unwrap();
    let own = start(2);
    works(2).await;
    assert_eq!(by_instance(&dispatcher, &group).await, before, "the same partitions after a stop");

    let after = owners(&dispatcher, &topic, &group).await;
    let same = members.keys().filter(|id| after.contains_key(*id)).count();
    assert_eq!(same, 2, "the others are the members they were");
    for events in &mut events {
        assert_eq!(moves(events), [""; 0], "the others see nothing");
    }
    if let (Some(before), Some(now)) = (generation, tools::last_generation(kafka.tools(), kafka.bootstrap(), &group)) {
        assert_eq!(now, before, "no rebalance");
    }
    let sent = load.finish().await;
    assert!(sent.failed.is_empty(), "{:?}", sent.failed.first());
    ours::until_lag_is_zero(&dispatcher, &topic, &group, LIMIT).await;
    let mut logs: Vec<_> = (0..3).map(|life| HandlerLog::read(&path(life))).collect();
    logs.extend(others.iter().map(|member| member.log.clone()));
    check::handled_is_acked(&sent.places, &logs);
    check::no_doubles(&logs[1..]);
    check::lanes_keep_order(Lane::Key, false, &logs);
    stop(own).await.unwrap();
    for member in others {
        member.stop().await;
    }
    let _ = std::fs::remove_dir_all(dir);
}

/// Not a test: a member of the group in a process of its own, when [`MemberProcess`] asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn member_process() {
    ours::run_member_process().await;
}
