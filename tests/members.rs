//! Members in unusual positions: with handlers slower than every time-out, and several in one process. Whether a group
//! rebalanced, Kafka's own record of its generations tells.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::check::{self, Place};
use common::log::{HandlerLog, What};
use common::ours::{self, Load};
use common::watch::{moves, owners};
use common::{KAFKA_4, eventually, process, spans, tools, unique};
use dispatcher::{Assignor, Dispatcher, Message, Order, Subscription};
use dispatcher_testcontainers::{Kafka, SharedKafka};
use tokio::sync::Semaphore;

const LIMIT: Duration = Duration::from_secs(30);

/// What handlers wait for; once open, it stays so.
#[derive(Clone)]
struct Gate(Arc<Semaphore>);

impl Gate {
    fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    fn opened() -> Self {
        Self(Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)))
    }

    fn open(&self) {
        self.0.add_permits(Semaphore::MAX_PERMITS / 2);
    }
}

/// A subscription of one topic in a group.
struct Gated<'a> {
    topic: &'a str,
    group: &'a str,
    assignor: Assignor,
    drain: Duration,
    gate: &'a Gate,
    log: &'a HandlerLog,
}

impl Gated<'_> {
    /// Under a session of 6 s and a rebalance time-out of twice the drain's.
    async fn start(&self, dispatcher: &Dispatcher) -> Subscription {
        let (gate, log) = (self.gate.clone(), self.log.clone());
        let handler = move |message: Message| {
            let (gate, log) = (gate.clone(), log.clone());
            async move {
                let place = (message.partition(), message.offset());
                log.record(What::Start, place.0, place.1, message.key(), message.value().unwrap_or_default());
                drop(gate.0.acquire().await);
                log.record(What::Done, place.0, place.1, message.key(), message.value().unwrap_or_default());
                Ok::<(), std::io::Error>(())
            }
        };
        let subscribe = dispatcher.subscribe(self.topic, handler).group_exact(self.group).assignors([self.assignor]);
        let subscribe = subscribe.session_timeout(Duration::from_secs(6)).rebalance_timeout(self.drain * 2);
        let subscribe = subscribe.drain_timeout(self.drain).commit_interval(Duration::from_millis(200));
        subscribe.concurrency(16).order(Order::Partition).start().await.unwrap()
    }
}

async fn connect(bootstrap: &str) -> Dispatcher {
    let builder = Dispatcher::builder(bootstrap.split(','));
    builder.heartbeat_interval(Duration::from_millis(500)).connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_slower_than_every_time_out_costs_nothing_and_ends_without_effect_where_it_was_revoked() {
    let Some(kafka) = Kafka::builder().version(KAFKA_4).shared_or_skip() else { return };
    tokio::join!(slow_handlers(&kafka, Assignor::Range), slow_handlers(&kafka, Assignor::CooperativeSticky));
}

async fn slow_handlers(kafka: &SharedKafka, assignor: Assignor) {
    const PARTITIONS: i32 = 4;
    const EACH: i64 = 3;
    let (topic, group) = (unique("slow"), unique("slow"));
    let (first, second) = (connect(kafka.bootstrap()).await, connect(kafka.bootstrap()).await);
    first.create_topics([topic.as_str()]).partitions(PARTITIONS).replicas(1).await.unwrap();
    for partition in (0..PARTITIONS).flat_map(|partition| [partition; EACH as usize]) {
        first.send(&topic, "x").partition(partition).await.unwrap();
    }
    let gates = [Gate::closed(), Gate::closed()];
    let logs = [HandlerLog::new(), HandlerLog::new()];
    let drain = Duration::from_secs(2);
    let member = |n: usize| Gated { topic: &topic, group: &group, assignor, drain, gate: &gates[n], log: &logs[n] };
    let early = member(0).start(&first).await;
    let mut events = early.events();
    let has_started = |log: &HandlerLog, count| log.events().iter().filter(|e| e.what == What::Start).count() == count;
    eventually("handlers run", LIMIT, async || has_started(&logs[0], PARTITIONS as usize)).await;
    let owners = async || owners(&first, &topic, &group).await;
    let alone = owners().await;
    // Longer than the session time-out and, after that, the rebalance time-out.
    let until = Instant::now() + Duration::from_secs(6) + drain * 2 + Duration::from_secs(2);
    while Instant::now() < until {
        assert_eq!(owners().await, alone, "a slow member is not expelled");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(moves(&mut events), ["assigned"]);
    if let Some(last) = tools::last_generation(kafka.tools(), kafka.bootstrap(), &group) {
        assert_eq!(last, 1, "there was no second rebalance");
    }

    let late = member(1).start(&second).await;
    ours::until_settled(&first, &topic, &group, 2, PARTITIONS as usize).await;
    let shared = owners().await;
    let moved: BTreeSet<i32> = shared.iter().find(|(id, _)| !alone.contains_key(*id)).unwrap().1.clone();
    let stayed: BTreeSet<i32> = (0..PARTITIONS).filter(|partition| !moved.contains(partition)).collect();
    assert_eq!((moved.len(), stayed.len()), (2, 2));
    let at_second =
        |log: &HandlerLog| log.events().iter().map(|e| (e.partition, e.offset)).collect::<BTreeSet<Place>>();
    let firsts: BTreeSet<Place> = moved.iter().map(|partition| (*partition, 0)).collect();
    eventually("the new owner is handed the same records", LIMIT, async || at_second(&logs[1]) == firsts).await;

    // All of the first member's handlers end now, those of revoked partitions too late. That it commits what it still
    // owns shows that it would have committed those by now.
    gates[0].open();
    let committed = async || ours::committed(&first, &topic, &group).await;
    eventually("what stayed is committed", LIMIT, async || {
        let committed = committed().await;
        stayed.iter().all(|partition| committed.get(partition) == Some(&EACH))
    })
    .await;
    let finished = check::finished(&logs[..1]);
    assert!(firsts.iter().all(|place| finished.get(place) == Some(&1)), "the late ones did end: {finished:?}");
    let passed: Vec<_> = committed().await.into_iter().filter(|(p, next)| moved.contains(p) && *next > 0).collect();
    assert!(passed.is_empty(), "O: late completions were counted: {passed:?}");

    gates[1].open();
    ours::until_lag_is_zero(&first, &topic, &group, LIMIT).await;
    let all = |partitions: &BTreeSet<i32>| -> BTreeSet<Place> {
        partitions.iter().flat_map(|partition| (0..EACH).map(|offset| (*partition, offset))).collect()
    };
    assert_eq!(at_second(&logs[1]), all(&moved), "O: the new owner handles all that was not finished");
    assert!(check::finished(&logs[1..]).values().all(|times| *times == 1));
    let beyond = |place: &Place| moved.contains(&place.0) && place.1 > 0;
    assert!(!at_second(&logs[0]).iter().any(beyond), "O: the former owner begins nothing more");
    // What the eager member got back it was handed again; a cooperative one went on with it.
    let again = check::finished(&logs[..1]).values().filter(|times| **times > 1).count();
    assert_eq!(again, if assignor == Assignor::CooperativeSticky { 0 } else { stayed.len() });
    early.stop().await.unwrap();
    late.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_of_one_process_share_connections_and_not_their_rebalances() {
    // A port of its own, so that the connections of this test can be counted.
    let Some(kafka) = Kafka::builder().version(KAFKA_4).start_or_skip() else { return };
    let bootstrap = kafka.bootstrap();
    let port = bootstrap.rsplit_once(':').unwrap().1.parse().unwrap();
    let connections = || process::connections(std::process::id(), &[port]);
    let dispatcher = connect(&bootstrap).await;
    let topics = [unique("one"), unique("two")];
    dispatcher.create_topics(topics.each_ref().map(String::as_str)).partitions(4).replicas(1).await.unwrap();
    let groups = [unique("slow"), unique("quick"), unique("other")];
    let (slow, open) = (Gate::closed(), Gate::opened());
    let logs: [HandlerLog; 5] = std::array::from_fn(|_| HandlerLog::new());
    let drain = Duration::from_secs(10);
    let gated = |topic: usize, group: usize, log: usize| Gated {
        topic: &topics[topic],
        group: &groups[group],
        assignor: Assignor::Range,
        drain,
        gate: if group == 0 { &slow } else { &open },
        log: &logs[log],
    };
    let load = Load::start(dispatcher.clone(), &topics[1], 1_000, Duration::from_millis(100));
    let quick = gated(1, 1, 2).start(&dispatcher).await;
    eventually("one works", LIMIT, async || logs[2].done() > 100).await;
    let of_one = connections();
    // Two members of one group, and two groups more.
    let subscriptions = [
        gated(0, 0, 0).start(&dispatcher).await,
        gated(0, 0, 1).start(&dispatcher).await,
        gated(1, 2, 3).start(&dispatcher).await,
    ];
    ours::until_settled(&dispatcher, &topics[0], &groups[0], 2, 4).await;
    for partition in 0..4 {
        dispatcher.send(&topics[0], "x").partition(partition).await.unwrap();
    }
    let all_work = async || logs[0].len() == 2 && logs[1].len() == 2 && logs[3].done() > 100;
    eventually("all work", LIMIT, all_work).await;
    let of_four = connections();
    if let (Some(one), Some(four)) = (of_one, of_four) {
        println!("connections to one broker: {one} of one subscription, {four} of four in three groups");
        assert!(four <= one + 3, "{four} connections");
    }

    let mut events = quick.events();
    assert_eq!(moves(&mut events), ["assigned"]);
    let before = owners(&dispatcher, &topics[1], &groups[1]).await;
    let begun = Instant::now();
    let late = connect(&bootstrap).await;
    let late = gated(0, 0, 4).start(&late).await;
    ours::until_settled(&dispatcher, &topics[0], &groups[0], 3, 4).await;
    let drained = begun.elapsed();
    println!("one group's rebalance took {drained:.1?}");
    assert!(drained > Duration::from_secs(8), "the drain is as slow as this test needs it");
    assert_eq!(owners(&dispatcher, &topics[1], &groups[1]).await, before);
    assert_eq!(moves(&mut events), [""; 0], "the other group's member was not expelled");
    slow.open();
    let sent = load.finish().await;
    for (topic, group) in [(0, 0), (1, 1), (1, 2)] {
        ours::until_lag_is_zero(&dispatcher, &topics[topic], &groups[group], LIMIT).await;
    }
    for log in [&logs[2], &logs[3]] {
        let logs = std::slice::from_ref(log);
        check::handled_is_acked(&sent.places, logs);
        check::no_doubles(logs);
        let longest = spans::longest_gaps(logs).values().map(|gaps| gaps.stayed).max().unwrap();
        println!("longest gap in another group: {longest:?}");
        assert!(longest < Duration::from_secs(1), "the other groups go on");
    }
    for subscription in subscriptions.into_iter().chain([quick, late]) {
        subscription.stop().await.unwrap();
    }
}
