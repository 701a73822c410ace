//! kill -9 at chosen moments: a member, leader of its group or not, dies while its JoinGroup, SyncGroup, Heartbeat or
//! OffsetCommit stands still on its way to the broker or back; and the coordinator dies, comes back and is moved. The
//! others take over within the session time-out and a rebalance, and what is handled again is the dead member's own.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::log::HandlerLog;
use common::ours::{self, Load, Member, MemberProcess, Reading};
use common::proxy::{Proxy, Side};
use common::watch::owners;
use common::{KAFKA_4, check, spans, tools, unique};
use dispatcher::{Assignor, Dispatcher};
use dispatcher_testcontainers::Kafka;

const PARTITIONS: usize = 12;
const SESSION: Duration = Duration::from_secs(6);
/// What finding out, joining and syncing may take on a busy machine, on top of the session time-out.
const REBALANCE: Duration = Duration::from_secs(6);

const COMMIT: i16 = 8;
const JOIN: i16 = 11;
const HEARTBEAT: i16 = 12;
const SYNC: i16 = 14;

/// When the victim dies.
#[derive(Debug, Clone, Copy)]
struct Moment {
    name: &'static str,
    api: i16,
    side: Side,
    /// Whether the victim leads the group: the first member does.
    leads: bool,
    assignor: Assignor,
}

const fn moment(name: &'static str, api: i16, side: Side, leads: bool, assignor: Assignor) -> Moment {
    Moment { name, api, side, leads, assignor }
}

const MOMENTS: [Moment; 8] = [
    moment("joining, leader", JOIN, Side::Request, true, Assignor::CooperativeSticky),
    moment("joined, leader", JOIN, Side::Answer, true, Assignor::Range),
    moment("syncing, leader", SYNC, Side::Request, true, Assignor::CooperativeSticky),
    moment("synced, follower", SYNC, Side::Answer, false, Assignor::Range),
    moment("in heartbeat, leader", HEARTBEAT, Side::Request, true, Assignor::Range),
    moment("in heartbeat, follower", HEARTBEAT, Side::Answer, false, Assignor::CooperativeSticky),
    moment("committing, follower", COMMIT, Side::Request, false, Assignor::Range),
    moment("committed, leader", COMMIT, Side::Answer, true, Assignor::CooperativeSticky),
];

struct Death {
    group: String,
    client: String,
    report: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_killed_at_any_step_is_replaced_and_only_its_unfinished_work_comes_again() {
    let proxy = Proxy::start().await;
    let kafka = Kafka::builder().version(KAFKA_4).listener_behind("PROXIED", "PLAINTEXT", &[proxy.port]);
    let Some(kafka) = kafka.start_or_skip() else { return };
    proxy.lead_to(kafka.broker(0).listener("PROXIED"));
    let dir = std::env::temp_dir().join(unique("dispatcher-kills"));
    std::fs::create_dir_all(&dir).unwrap();
    let dispatcher = ours::connect(&kafka.bootstrap()).await;
    let all = MOMENTS.map(|moment| die(&kafka, &proxy, &dispatcher, moment, dir.join(unique("victim"))));
    let deaths = futures_util::future::join_all(all).await;
    let records = tools::group_records(kafka.tools(), &kafka.bootstrap());
    for (moment, death) in MOMENTS.iter().zip(deaths) {
        println!("killed {:22} {:17} {}", moment.name, format!("{:?}", moment.assignor), death.report);
        let mut leaders = records.iter().filter(|r| r.group == death.group).filter_map(|r| r.leader.as_deref());
        assert_eq!(leaders.any(|leader| leader.starts_with(&death.client)), moment.leads, "{}", moment.name);
    }
    let _ = std::fs::remove_dir_all(dir);
}

async fn die(kafka: &Kafka, proxy: &Proxy, dispatcher: &Dispatcher, moment: Moment, log: std::path::PathBuf) -> Death {
    let (topic, group, client) = (unique("kills"), unique("kills"), unique("victim"));
    let bootstrap = kafka.bootstrap();
    let create = dispatcher.create_topics([topic.as_str()]).partitions(PARTITIONS as i32).replicas(1);
    create.await.unwrap();
    let reading = Reading {
        assignors: vec![moment.assignor],
        session_timeout: SESSION,
        heartbeat_interval: Duration::from_millis(500),
        work: Duration::from_millis(20),
        client_id: "survivor".into(),
        ..Reading::default()
    };
    let doomed = Reading { client_id: client.clone(), ..reading.clone() };
    let settled = async |members| ours::until_settled(dispatcher, &topic, &group, members, PARTITIONS).await;
    let start = async || Member::start(&bootstrap, &topic, &group, &reading).await;
    let spawn = || MemberProcess::start(&proxy.bootstrap(), &topic, &group, &doomed, &log);
    let (mut victim, first);
    if moment.leads {
        victim = spawn();
        settled(1).await;
        first = start().await;
    } else {
        first = start().await;
        settled(1).await;
        victim = spawn();
    }
    settled(2).await;
    let load = Load::start(dispatcher.clone(), &topic, 1_000, Duration::from_millis(100));
    let busy = async || victim.log().done() > 50;
    common::eventually("the victim works", Duration::from_secs(30), busy).await;

    // Joining and syncing are what another member's coming makes it do.
    let hold = proxy.hold(&client, moment.api, 1, moment.side);
    let second = start().await;
    hold.held().await;
    victim.kill();
    let killed = Instant::now();
    let at_death = ours::committed(dispatcher, &topic, &group).await;
    // What was on its way arrives from one who is dead.
    hold.release();
    settled(2).await;
    let took = killed.elapsed();
    let passed = ours::committed(dispatcher, &topic, &group).await;

    let sent = load.finish().await;
    assert!(sent.failed.is_empty(), "{:?}", sent.failed.first());
    ours::until_lag_is_zero(dispatcher, &topic, &group, Duration::from_secs(60)).await;
    let logs = [HandlerLog::read(&log), first.log.clone(), second.log.clone()];
    check::handled_is_acked(&sent.places, &logs);
    check::commits_do_not_pass_unfinished(&passed, &sent.places, &logs);
    check::doubles_only_from(&at_death, &logs);
    check::no_doubles(&logs[1..]);
    check::lanes_keep_order(check::Lane::Key, true, &logs);
    spans::keys_keep_order(&logs[1..]);
    spans::one_owner_at_a_time(&logs[1..], &BTreeSet::new());
    assert!(took < SESSION + REBALANCE, "{}: the others took over after {took:?}", moment.name);
    let again = check::finished(&logs).values().filter(|times| **times > 1).count();
    first.stop().await;
    second.stop().await;
    let report = format!("replaced after {:4.1} s, {again} of {} handled again", took.as_secs_f64(), sent.places.len());
    Death { group, client, report }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_coordinator_dies_comes_back_and_is_moved_and_no_member_loses_anything() {
    let kafka = Kafka::builder().brokers(3).version(KAFKA_4).property("broker.session.timeout.ms", 6_000);
    let Some(kafka) = kafka.start_or_skip() else { return };
    let bootstrap = kafka.bootstrap();
    let dispatcher = ours::connect(&bootstrap).await;
    let topic = unique("coordinator");
    tools::create_topic(kafka.tools(), &bootstrap, &topic, PARTITIONS as u32, 3, &["min.insync.replicas=2"]);
    let mut groups = Vec::new();
    for assignor in [Assignor::Range, Assignor::CooperativeSticky] {
        let group = unique("coordinator");
        let reading = Reading {
            assignors: vec![assignor],
            heartbeat_interval: Duration::from_millis(500),
            work: Duration::from_millis(2),
            ..Reading::default()
        };
        let mut members = Vec::new();
        for _ in 0..3 {
            members.push(Member::start(&bootstrap, &topic, &group, &reading).await);
        }
        ours::until_settled(&dispatcher, &topic, &group, 3, PARTITIONS).await;
        let before = owners(&dispatcher, &topic, &group).await;
        groups.push((group, members, before));
    }
    let load = Load::start(dispatcher.clone(), &topic, 1_000, Duration::from_millis(50));
    let committed = async || {
        let mut least = i64::MAX;
        for (group, ..) in &groups {
            least = least.min(ours::committed(&dispatcher, &topic, group).await.values().sum());
        }
        least
    };
    let progress = async |what: &str| {
        let goal = committed().await + 1_000;
        common::eventually(what, Duration::from_secs(60), async || committed().await > goal).await;
    };
    progress("commits are made").await;
    let group = &groups[0].0;
    let first = tools::coordinator(kafka.tools(), &bootstrap, group);
    let broker = kafka.node(first).unwrap();
    broker.kill();
    let killed = Instant::now();
    progress("commits are made without the coordinator").await;
    let next = tools::coordinator(kafka.tools(), &bootstrap, group);
    println!("coordinator {first} killed: commits went on at {next} after at most {:.1?}", killed.elapsed());
    assert_ne!(next, first);
    broker.restart();
    // The former leaders of all partitions lead again, which moves coordinators between living brokers.
    let moved = async || {
        tools::elect_preferred_leaders(kafka.tools(), &bootstrap);
        tools::coordinator(kafka.tools(), &bootstrap, group) == first
    };
    common::eventually("the coordinator is where it was", Duration::from_secs(60), moved).await;
    progress("commits are made after the move").await;
    let sent = load.finish().await;
    assert!(sent.failed.is_empty(), "{:?}", sent.failed.first());
    for (group, members, before) in groups {
        ours::until_lag_is_zero(&dispatcher, &topic, &group, Duration::from_secs(60)).await;
        assert_eq!(owners(&dispatcher, &topic, &group).await, before, "nobody joined anew or moved");
        let logs: Vec<_> = members.iter().map(|member| member.log.clone()).collect();
        let committed = ours::committed(&dispatcher, &topic, &group).await;
        check::no_loss(sent.places.iter().copied(), &logs);
        check::no_doubles(&logs);
        check::commits_do_not_pass_unfinished(&committed, &sent.places, &logs);
        spans::keys_keep_order(&logs);
        spans::one_owner_at_a_time(&logs, &BTreeSet::new());
        for member in members {
            member.stop().await;
        }
    }
}

/// Not a test: a member of the group in a process of its own, when [`MemberProcess`] asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn member_process() {
    ours::run_member_process().await;
}
