//! Fetch without a session: from where, how much, how long, under which isolation.

use std::time::{Duration, Instant};

use super::Transcript;
use super::client::World;
use super::help::{Topic, plain};
use crate::wire::messages::fetch::{FetchPartition, FetchTopic, PartitionData};
use crate::wire::messages::*;
use crate::wire::records::batches;
use crate::wire::{ErrorCode, StrBytes, Uuid};

super::scenarios! { "fetch": offsets waiting sizes wrong_broker unknown diverging }

/// One partition, as a consumer asks for it.
pub(super) fn asked(partition: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition { partition, fetch_offset, partition_max_bytes: 1 << 20, ..Default::default() }
}

/// A request for some partitions of a topic: whatever there is, at once.
pub(super) fn request(topic: &Topic, partitions: Vec<FetchPartition>) -> FetchRequest {
    let topics = vec![FetchTopic { topic: topic.name.clone(), topic_id: topic.id, partitions }];
    FetchRequest { max_bytes: 1 << 20, topics, ..Default::default() }
}

/// A partition's answer in words; records as base offset, count and whether it is a marker.
pub(super) fn fetched(p: &PartitionData) -> String {
    let all = batches(p.records.clone().unwrap_or_default().into_bytes()).filter_map(Result::ok);
    let words = all.map(|b| {
        let h = b.header();
        format!("{}+{}{}", h.base_offset, h.records_count, if h.is_control() { "!" } else { "" })
    });
    let records = words.collect::<Vec<_>>().join(" ");
    let ends = (p.high_watermark, p.last_stable_offset, p.log_start_offset);
    let aborted = p.aborted_transactions.as_ref().map(|all| all.iter().map(|a| a.first_offset).collect::<Vec<_>>());
    let diverging = (p.diverging_epoch.epoch, p.diverging_epoch.end_offset);
    let diverging = if diverging == (-1, -1) { String::new() } else { format!(" diverging {diverging:?}") };
    format!("{} {ends:?} records [{records}] aborted {aborted:?}{diverging}", p.error_code)
}

/// What a fetch from there gives, at the newest version that names topics.
pub(super) async fn one(world: &World, topic: &Topic, offset: i64) -> String {
    let answer = world.ask(topic.leaders[0], &request(topic, vec![asked(0, offset)]), 12).await;
    fetched(&answer.responses[0].partitions[0])
}

async fn offsets(world: &World, t: &mut Transcript) {
    let topic = world.topic("read", 1, 1, &[]).await;
    let empty = world.topic("empty", 1, 1, &[]).await;
    for n in [3, 2, 1] {
        world.produce(&topic, 0, &plain(world.t0, n)).await;
    }
    for version in world.each::<FetchRequest>(&[4, 7, 11, 12, 13]) {
        for isolation_level in [0, 1] {
            for offset in [0, 1, 3, 4, 5, 6, 7, 100, -1, -2] {
                let request = FetchRequest { isolation_level, ..request(&topic, vec![asked(0, offset)]) };
                let answer = world.ask(topic.leaders[0], &request, version).await;
                let p = &answer.responses[0].partitions[0];
                let top = (answer.error_code.to_string(), answer.session_id, p.preferred_read_replica);
                t.say(
                    format!("v{version}, isolation {isolation_level}, from {offset}"),
                    format!("{top:?} {}", fetched(p)),
                );
            }
        }
    }
    t.say("empty, from 0", one(world, &empty, 0).await);
    t.say("empty, from 1", one(world, &empty, 1).await);
    for isolation_level in [2, -1] {
        let request = FetchRequest { isolation_level, ..request(&topic, vec![asked(0, 0)]) };
        let said = world.try_ask(topic.leaders[0], &request, 11).await;
        t.say(
            format!("isolation {isolation_level}"),
            said.map_or_else(Into::into, |a| fetched(&a.responses[0].partitions[0])),
        );
    }
    let nothing = FetchRequest { max_bytes: 1000, ..Default::default() };
    t.say("nothing", world.ask(1, &nothing, 11).await.responses.len());
    let twice = request(&topic, vec![asked(0, 0), asked(0, 3)]);
    let answer = world.ask(topic.leaders[0], &twice, 11).await;
    let all: Vec<_> = answer.responses.iter().flat_map(|r| &r.partitions).map(fetched).collect();
    t.say("the same partition twice", all.join("; "));
}

async fn waiting(world: &World, t: &mut Transcript) {
    let topic = world.topic("awaited", 2, 1, &[]).await;
    world.produce(&topic, 0, &plain(world.t0, 2)).await;
    let leader = topic.leaders[0];
    let timed = async |request: FetchRequest| {
        let begun = Instant::now();
        let answer = world.ask(leader, &request, 11).await;
        let waited = begun.elapsed() >= Duration::from_millis(290);
        let at: Vec<_> = answer.responses.iter().flat_map(|r| &r.partitions).map(fetched).collect();
        format!("waited {waited}, {}", at.join("; "))
    };
    let wait =
        |min_bytes, offset| FetchRequest { max_wait_ms: 300, min_bytes, ..request(&topic, vec![asked(0, offset)]) };
    t.say("at the end", timed(wait(1, 2)).await);
    t.say("at the end, no bytes wanted", timed(wait(0, 2)).await);
    t.say("enough", timed(wait(1, 0)).await);
    t.say("too little", timed(wait(10_000, 0)).await);
    t.say("out of range", timed(wait(1, 9)).await);
    t.say(
        "nothing",
        timed(FetchRequest { max_wait_ms: 300, min_bytes: 1, max_bytes: 1000, ..Default::default() }).await,
    );
    let mixed = FetchRequest { max_wait_ms: 300, min_bytes: 1, ..request(&topic, vec![asked(0, 2), asked(9, 0)]) };
    t.say("an error among them", timed(mixed).await);
    let long = FetchRequest { max_wait_ms: 7000, min_bytes: 1, ..request(&topic, vec![asked(0, 2)]) };
    let produce = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        world.produce(&topic, 0, &plain(world.t0, 1)).await.base_offset
    };
    let begun = Instant::now();
    let (answer, at) = tokio::join!(world.ask(leader, &long, 11), produce);
    let early = begun.elapsed() < Duration::from_secs(5);
    t.say(
        format!("woken by a record at {at}"),
        format!("early {early}, {}", fetched(&answer.responses[0].partitions[0])),
    );
}

async fn sizes(world: &World, t: &mut Transcript) {
    let topic = world.topic("sized", 4, 1, &[]).await;
    let own = topic.pair();
    for partition in own {
        for _ in 0..3 {
            world.produce(&topic, partition, &plain(world.t0, 4)).await;
        }
    }
    let size = plain(world.t0, 4).len() as i32;
    let cases = [
        ("all", 1 << 20, 1 << 20),
        ("one byte each", 1 << 20, 1),
        ("one byte", 1, 1 << 20),
        ("none each", 1 << 20, 0),
        ("none", 0, 1 << 20),
        ("negative each", 1 << 20, -1),
        ("one batch each", 1 << 20, size),
        ("one batch", size, 1 << 20),
        ("a batch and a half each", 1 << 20, size * 3 / 2),
        ("a batch and a half", size * 3 / 2, 1 << 20),
        ("four batches", 4 * size, 1 << 20),
    ];
    for version in world.each::<FetchRequest>(&[4, 12]) {
        for (case, max_bytes, partition_max_bytes) in cases {
            let partitions = own.iter().map(|&p| FetchPartition { partition_max_bytes, ..asked(p, 0) });
            let request = FetchRequest { max_bytes, ..request(&topic, partitions.collect()) };
            let answer = world.ask(topic.leaders[own[0] as usize], &request, version).await;
            let all = answer.responses.iter().flat_map(|r| &r.partitions).map(|p| {
                let records = p.records.clone().unwrap_or_default().into_bytes();
                let whole = batches(records.clone()).filter_map(Result::ok).count();
                let cut = if records.len() as i32 % size == 0 { "" } else { " and a cut one" };
                format!("{} {whole}{cut}", p.error_code)
            });
            t.say(format!("v{version}, {case}"), all.collect::<Vec<_>>().join("; "));
        }
    }
}

async fn wrong_broker(world: &World, t: &mut Transcript) {
    let topic = world.topic("elsewhere", 1, 1, &[]).await;
    let epoch = topic.epochs[0];
    for version in world.each::<FetchRequest>(&[4, 9, 11, 12, 13, 16]) {
        for (case, broker, current_leader_epoch) in [
            ("another broker", topic.other(0), -1),
            ("another broker, the epoch", topic.other(0), epoch),
            ("another broker, an older epoch", topic.other(0), epoch - 1),
            ("another broker, a newer epoch", topic.other(0), epoch + 1),
            ("the epoch", topic.leaders[0], epoch),
            ("a newer epoch", topic.leaders[0], epoch + 1),
        ] {
            let request = request(&topic, vec![FetchPartition { current_leader_epoch, ..asked(0, 0) }]);
            let answer = world.ask(broker, &request, version).await;
            let p = &answer.responses[0].partitions[0];
            let hint = &p.current_leader;
            let hint = (hint.leader_id == topic.leaders[0], hint.leader_epoch == epoch);
            let nodes: Vec<_> = answer.node_endpoints.iter().map(|n| n.node_id == topic.leaders[0]).collect();
            t.say(format!("v{version}, {case}"), format!("{} hint {hint:?} nodes {nodes:?}", fetched(p)));
        }
    }
}

async fn unknown(world: &World, t: &mut Transcript) {
    let known = world.topic("known", 1, 1, &[]).await;
    let named = |name: &str, id| Topic { name: StrBytes::from(name), id, ..known.clone() };
    let absent = named(&world.name("absent"), Uuid([9; 16]));
    for version in world.each::<FetchRequest>(&[4, 12, 13]) {
        for (case, topic, partition) in [
            ("no such topic", &absent, 0),
            ("no such partition", &known, 1),
            ("partition -1", &known, -1),
            ("illegal name", &named("a b", Uuid::ZERO), 0),
        ] {
            let answer = world.ask(known.leaders[0], &request(topic, vec![asked(partition, 0)]), version).await;
            let all: Vec<_> = answer.responses.iter().flat_map(|r| &r.partitions).map(fetched).collect();
            t.say(format!("v{version}, {case}"), format!("{} {}", answer.error_code, all.join("; ")));
        }
    }
}

async fn diverging(world: &World, t: &mut Transcript) {
    let topic = world.topic("diverging", 1, 1, &[]).await;
    world.produce(&topic, 0, &plain(world.t0, 3)).await;
    let epoch = topic.epochs[0];
    for (case, last, offset) in [
        ("right", epoch, 2),
        ("right at the end", epoch, 3),
        ("past the end", epoch, 4),
        ("a later epoch", epoch + 1, 2),
        ("an unknown older one", epoch - 1, 2),
    ] {
        let asked = FetchPartition { last_fetched_epoch: last, ..asked(0, offset) };
        let answer = world.ask(topic.leaders[0], &request(&topic, vec![asked]), 12).await;
        t.say(case, fetched(&answer.responses[0].partitions[0]));
    }
    assert_eq!(epoch, 0, "a fresh topic: {:?}", ErrorCode::NONE);
}
