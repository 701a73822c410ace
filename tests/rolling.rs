//! A rolling restart under load: every member in turn stops cleanly and comes back, round after round, in a group that
//! rebalances eagerly and in one that does so cooperatively. Nothing is lost or handled twice, keys keep their order over
//! every change of owners, and under cooperative-sticky what does not move does not stand still.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::ours::{self, Load, Member, Reading};
use common::spans::{self, Gaps};
use common::{KAFKA_4, check, scaled, tools, unique};
use dispatcher::Assignor;
use dispatcher_testcontainers::{Kafka, SharedKafka};

const MEMBERS: usize = 4;
const PARTITIONS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_nothing_doubles_nothing_and_stops_only_what_moves() {
    let Some(kafka) = Kafka::builder().version(KAFKA_4).shared_or_skip() else { return };
    let rounds = scaled(2).min(20);
    let begun = Instant::now();
    let (eager, cooperative) =
        tokio::join!(roll(&kafka, Assignor::Range, rounds), roll(&kafka, Assignor::CooperativeSticky, rounds));
    println!(
        "{rounds} rounds of {MEMBERS} restarts in {:.0?}; longest gap between two handler starts:",
        begun.elapsed()
    );
    println!("partition   eager: stayed    moved   cooperative: stayed    moved");
    for (partition, gaps) in &eager {
        let other = cooperative[partition];
        let ms = |gap: Duration| gap.as_millis();
        let (stayed, moved) = (ms(other.stayed), ms(other.moved));
        println!("{partition:9} {:12} ms {:5} ms {stayed:18} ms {moved:5} ms", ms(gaps.stayed), ms(gaps.moved));
    }
    let longest = |gaps: &BTreeMap<i32, Gaps>| gaps.values().map(|g| g.stayed).max().unwrap();
    println!("longest where the owner stayed: eager {:?}, cooperative {:?}", longest(&eager), longest(&cooperative));
    assert!(longest(&cooperative) < Duration::from_secs(1), "what does not move goes on: {cooperative:?}");
}

async fn roll(kafka: &SharedKafka, assignor: Assignor, rounds: usize) -> BTreeMap<i32, Gaps> {
    let (topic, group) = (unique("rolling"), unique("rolling"));
    tools::create_topic(kafka.tools(), kafka.bootstrap(), &topic, PARTITIONS as u32, 1, &[]);
    let reading = Reading {
        assignors: vec![assignor],
        work: Duration::from_millis(2),
        heartbeat_interval: Duration::from_millis(200),
        ..Reading::default()
    };
    let start = async || Member::start(kafka.bootstrap(), &topic, &group, &reading).await;
    let dispatcher = ours::connect(kafka.bootstrap()).await;
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        members.push(start().await);
    }
    ours::until_settled(&dispatcher, &topic, &group, MEMBERS, PARTITIONS).await;
    let mut logs: Vec<_> = members.iter().map(|m| m.log.clone()).collect();
    let load = Load::start(dispatcher.clone(), &topic, 1_000, Duration::from_millis(50));
    for _ in 0..rounds {
        for _ in 0..MEMBERS {
            members.remove(0).stop().await;
            ours::until_settled(&dispatcher, &topic, &group, MEMBERS - 1, PARTITIONS).await;
            let next = start().await;
            logs.push(next.log.clone());
            members.push(next);
            ours::until_settled(&dispatcher, &topic, &group, MEMBERS, PARTITIONS).await;
        }
    }
    let sent = load.finish().await;
    assert!(sent.failed.is_empty(), "{:?}", sent.failed.first());
    ours::until_lag_is_zero(&dispatcher, &topic, &group, Duration::from_secs(60)).await;
    let committed = ours::committed(&dispatcher, &topic, &group).await;
    check::handled_is_acked(&sent.places, &logs);
    check::no_doubles(&logs);
    check::commits_do_not_pass_unfinished(&committed, &sent.places, &logs);
    check::lanes_keep_order(check::Lane::Key, false, &logs);
    spans::keys_keep_order(&logs);
    spans::one_owner_at_a_time(&logs, &Default::default());
    println!("{assignor:?}: {} messages, {} members in all", sent.places.len(), logs.len());
    for member in members {
        member.stop().await;
    }
    spans::longest_gaps(&logs)
}
