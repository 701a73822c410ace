//! A rebalance storm: twelve members over eighty partitions under load, one of which comes, stops or is dropped every 0.5
//! to 1.5 s. Nothing is lost, no two members have a partition at once, and what a clean stop handled does not come again.
//! franz-go's members go through the same on the same broker at the same time, and how long a group takes to settle after
//! the last change is measured side by side.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod clients;
mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clients::franz::Franz;
use common::ours::{self, Load, Member, Reading};
use common::{KAFKA_4, check, scaled, spans, tools, unique, within};
use dispatcher::{Assignor, Dispatcher};
use dispatcher_testcontainers::{Kafka, SharedKafka};
use serde_json::json;

const MEMBERS: usize = 12;
const PARTITIONS: usize = 80;
/// No fewer: a group of none is at rest.
const FEWEST: usize = 3;

/// When which member comes or, if it is there, goes.
struct Change {
    at: Duration,
    member: usize,
    /// If it goes: without a clean stop.
    dropped: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_come_and_go_all_the_time_lose_nothing_and_settle_as_soon_as_franz_gos() {
    let Some(kafka) = Kafka::builder().version(KAFKA_4).shared_or_skip() else { return };
    let Some(franz) = Franz::or_skip() else { return };
    // 12 s of storm in a debug build, two minutes in an optimised one.
    let whole = Duration::from_secs(scaled(12).min(120) as u64);
    let length = Duration::from_secs(20).min(whole / 2);
    let storms = whole.div_duration_f64(length * 2).round() as usize;
    let (mut ours, mut theirs) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..storms {
        for assignor in [Assignor::Range, Assignor::CooperativeSticky] {
            let (own, other) = storm(&kafka, &franz, assignor, length).await;
            println!("{assignor:?}: stable {own:.2?} after the last change, franz-go {other:.2?}");
            (ours, theirs) = (ours + own, theirs + other);
        }
    }
    let mean = |sum: Duration| sum / (2 * storms as u32);
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("in the mean {:.2?}, franz-go {:.2?}: {ratio:.2} times", mean(ours), mean(theirs));
    assert!(mean(ours) <= mean(theirs) * 2 + Duration::from_secs(1));
}

/// How long our group and franz-go's took to settle.
async fn storm(kafka: &SharedKafka, franz: &Franz, assignor: Assignor, length: Duration) -> (Duration, Duration) {
    let topic = unique("storm");
    tools::create_topic(kafka.tools(), kafka.bootstrap(), &topic, PARTITIONS as u32, 1, &[]);
    let changes = schedule(length);
    let input: Vec<_> =
        changes.iter().map(|change| json!({"at_ms": change.at.as_millis(), "member": change.member})).collect();
    let balancer = if assignor == Assignor::Range { "range" } else { "cooperative-sticky" };
    let (partitions, members) = (PARTITIONS.to_string(), MEMBERS.to_string());
    let group = unique("storm-franz");
    let args = ["storm", kafka.bootstrap(), &topic, &group, balancer, &partitions, &members];
    let args: Vec<_> = args.map(str::to_owned).to_vec();
    let franz = franz.clone();
    let theirs = tokio::task::spawn_blocking(move || {
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        franz.run_with(&args, &serde_json::to_string(&input).unwrap())
    });
    let own = our_storm(kafka, &topic, assignor, &changes).await;
    let theirs = within(Duration::from_secs(120), "franz-go", theirs).await.unwrap();
    (own, Duration::from_millis(theirs["stable_ms"].as_u64().unwrap()))
}

fn schedule(length: Duration) -> Vec<Change> {
    let mut running = [true; MEMBERS];
    let (mut at, mut changes) = (Duration::ZERO, Vec::new());
    loop {
        at += Duration::from_millis(fastrand::u64(500..1_500));
        if at > length {
            return changes;
        }
        let member = fastrand::usize(..MEMBERS);
        let few = running.iter().filter(|running| **running).count() <= FEWEST;
        if !(running[member] && few) {
            running[member] = !running[member];
            changes.push(Change { at, member, dropped: fastrand::u8(..5) < 2 });
        }
    }
}

async fn our_storm(kafka: &SharedKafka, topic: &str, assignor: Assignor, changes: &[Change]) -> Duration {
    let group = unique("storm");
    let reading = Reading {
        assignors: vec![assignor],
        work: Duration::from_millis(2),
        session_timeout: Duration::from_secs(10),
        heartbeat_interval: Duration::from_millis(300),
        ..Reading::default()
    };
    let start = async || Member::start(kafka.bootstrap(), topic, &group, &reading).await;
    let dispatcher = ours::connect(kafka.bootstrap()).await;
    let (mut running, mut logs) = (Vec::new(), Vec::new());
    for n in 0..MEMBERS {
        let member = start().await;
        logs.push(member.log.clone());
        running.push(Some((n, member)));
    }
    settle(&dispatcher, &group, MEMBERS).await;
    let load = Load::start(dispatcher.clone(), topic, 1_000, Duration::from_millis(50));
    let (mut dropped, mut stops) = (BTreeSet::new(), tokio::task::JoinSet::new());
    let begun = Instant::now();
    for change in changes {
        tokio::time::sleep((begun + change.at).saturating_duration_since(Instant::now())).await;
        match running[change.member].take() {
            Some((n, member)) if change.dropped => {
                dropped.insert(n);
                drop(member);
            }
            Some((_, member)) => drop(stops.spawn(member.stop())),
            None => {
                let member = start().await;
                running[change.member] = Some((logs.len(), member));
                logs.push(logs_of(&running[change.member]));
            }
        }
    }
    let left = running.iter().flatten().count();
    let took = settle(&dispatcher, &group, left).await;
    let committed = ours::committed(&dispatcher, topic, &group).await;
    let finished = check::finished(&logs);
    for (partition, next) in committed {
        let unfinished = (0..next).find(|offset| !finished.contains_key(&(partition, *offset)));
        assert_eq!(unfinished, None, "C: partition {partition} is committed up to {next}");
    }
    while let Some(stopped) = stops.join_next().await {
        stopped.unwrap();
    }
    let sent = load.finish().await;
    assert!(sent.failed.is_empty(), "{:?}", sent.failed.first());
    ours::until_lag_is_zero(&dispatcher, topic, &group, Duration::from_secs(60)).await;
    let committed = ours::committed(&dispatcher, topic, &group).await;
    check::handled_is_acked(&sent.places, &logs);
    check::commits_do_not_pass_unfinished(&committed, &sent.places, &logs);
    check::lanes_keep_order(check::Lane::Key, true, &logs);
    spans::one_owner_at_a_time(&logs, &dropped);
    let again = spans::doubles_only_after(&logs, &dropped);
    let clean: Vec<_> = logs.iter().enumerate().filter(|(n, _)| !dropped.contains(n)).map(|(_, l)| l.clone()).collect();
    spans::keys_keep_order(&clean);
    println!(
        "{assignor:?}: {} changes, {} members dropped, {again} of {} messages handled again",
        changes.len(),
        dropped.len(),
        sent.places.len()
    );
    for (_, member) in running.into_iter().flatten() {
        member.stop().await;
    }
    took
}

fn logs_of(member: &Option<(usize, Member)>) -> common::log::HandlerLog {
    member.as_ref().map(|(_, member)| member.log.clone()).unwrap_or_default()
}

/// How long it took until the group is stable, every partition has one owner, and it stays like this for a second.
async fn settle(dispatcher: &Dispatcher, group: &str, members: usize) -> Duration {
    let from = Instant::now();
    let mut since = None;
    loop {
        let now = Instant::now();
        let described = dispatcher.describe_group(group).await.unwrap();
        if !ours::is_settled(described.state(), described.members(), members, PARTITIONS) {
            since = None;
        } else if now - *since.get_or_insert(now) > Duration::from_secs(1) {
            return since.unwrap() - from;
        }
        assert!(from.elapsed() < Duration::from_secs(60), "the group does not settle: {described:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
