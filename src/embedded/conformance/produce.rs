//! Produce: who may write what, and what the answer says.

use super::Transcript;
use super::client::World;
use super::help::{Topic, batch, batch_of, by, edit, plain, produce_request, produced};
use crate::wire::messages::*;
use crate::wire::records::NO_PRODUCER;
use crate::wire::{ErrorCode, StrBytes, Uuid};

super::scenarios! { "produce": idempotent epochs refused times acks wrong_broker unknown stamped many compacted }

/// A producer id of this run's own.
pub(super) async fn producer(world: &World) -> (i64, i16) {
    let request =
        InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: 60_000, ..Default::default() };
    let given = world.until("producer id", async || {
        let given = world.ask(world.any(), &request, 4).await;
        (given.error_code == ErrorCode::NONE).then_some(given)
    });
    let given = given.await;
    (given.producer_id, given.producer_epoch)
}

async fn idempotent(world: &World, t: &mut Transcript) {
    let topic = world.topic("idempotent", 2, 1, &[]).await;
    let (id, epoch) = producer(world).await;
    t.say("epoch", epoch);
    let steps = [
        ("in order", 0, 2),
        ("next", 2, 1),
        ("again", 2, 1),
        ("the first again", 0, 2),
        ("half of the first again", 0, 1),
        ("a gap", 4, 1),
        ("next", 3, 1),
        ("next", 4, 1),
        ("next", 5, 1),
        ("the oldest of five", 2, 1),
        ("next", 6, 1),
        ("next", 7, 1),
        ("older than five", 0, 2),
        ("older than five", 2, 1),
        ("overlapping", 7, 2),
        ("negative", -1, 1),
        ("negative", -7, 1),
        ("next", 8, 3),
    ];
    for (step, sequence, n) in steps {
        let answer = world.produce(&topic, 0, &batch(by(id, epoch, sequence), world.t0, n)).await;
        t.say(format!("{step}: {n} from {sequence}"), produced(world, &answer));
    }
    for sequence in [5, 6, 6, 0, 7] {
        let answer = world.produce(&topic, 1, &batch(by(id, epoch, sequence), world.t0, 1)).await;
        t.say(format!("another partition, 1 from {sequence}"), produced(world, &answer));
    }
    for (step, sequence, n) in [("up to the largest", i32::MAX - 1, 2), ("around", i32::MAX, 2), ("past it", 1, 1)] {
        let (id, epoch) = producer(world).await;
        let answer = world.produce(&topic, 1, &batch(by(id, epoch, sequence), world.t0, n)).await;
        t.say(format!("{step}: {n} from {sequence}"), produced(world, &answer));
        let next = i64::from(sequence) + n as i64;
        let next = (next % (1 << 31)) as i32;
        let answer = world.produce(&topic, 1, &batch(by(id, epoch, next), world.t0, 1)).await;
        t.say(format!("{step}: 1 from {next}"), produced(world, &answer));
    }
}

async fn epochs(world: &World, t: &mut Transcript) {
    let topic = world.topic("epochs", 1, 1, &[]).await;
    let (id, _) = producer(world).await;
    let steps = [
        ("begin", 3, 0),
        ("older", 2, 1),
        ("older at 0", 2, 0),
        ("newer in the middle", 4, 1),
        ("newer", 4, 0),
        ("again", 4, 0),
        ("the old one", 3, 0),
        ("much newer", 9, 0),
        ("next", 9, 1),
        ("negative epoch", -1, 2),
    ];
    for (step, epoch, sequence) in steps {
        let answer = world.produce(&topic, 0, &batch(by(id, epoch, sequence), world.t0, 1)).await;
        t.say(format!("{step}: epoch {epoch} from {sequence}"), produced(world, &answer));
    }
}

async fn refused(world: &World, t: &mut Transcript) {
    let topic = world.topic("refused", 1, 1, &[("max.message.bytes", "2000")]).await;
    let good = plain(world.t0, 3);
    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let mut magic = good.to_vec();
    magic[16] = 3;
    let long = "x".repeat(3000);
    let cases = [
        ("a good one", good.clone()),
        ("two batches", [&good[..], &good[..]].concat().into()),
        ("a bad checksum", flipped.into()),
        ("an unknown magic", magic.into()),
        ("too large", batch_of(NO_PRODUCER, world.t0, &[(None, &long)])),
        ("cut", good.slice(..good.len() - 1)),
        ("cut in the header", good.slice(..40)),
        ("nothing", good.slice(..0)),
        ("fewer records than said", edit(&good, |h| h.records_count = 4)),
        ("more records than said", edit(&good, |h| h.records_count = 2)),
        ("one record fewer than said", edit(&good, |h| (h.records_count, h.last_offset_delta) = (4, 3))),
        ("one record more than said", edit(&good, |h| (h.records_count, h.last_offset_delta) = (2, 1))),
        ("not lz4", edit(&good, |h| h.attributes |= 3)),
        ("no records said", edit(&good, |h| h.records_count = 0)),
        ("delta too large", edit(&good, |h| h.last_offset_delta = 7)),
        ("delta too small", edit(&good, |h| h.last_offset_delta = 1)),
        ("base offset not 0", edit(&good, |h| h.base_offset = 100)),
        ("control", edit(&good, |h| h.attributes |= 1 << 5)),
        ("unknown codec", edit(&good, |h| h.attributes |= 7)),
        ("transactional by nobody", edit(&good, |h| h.attributes |= 1 << 4)),
        ("log append time by the client", edit(&good, |h| h.attributes |= 1 << 3)),
        ("from 1970", plain(1, 1)),
        ("without time", plain(-1, 1)),
        ("a good one again", good.clone()),
        ("not gzip", edit(&good, |h| h.attributes |= 1)),
        ("not snappy", edit(&good, |h| h.attributes |= 2)),
        ("not zstd", edit(&good, |h| h.attributes |= 4)),
    ];
    for (case, bytes) in cases {
        let request = produce_request(&topic, 0, &bytes, None, -1);
        let answer = world.try_ask(topic.leaders[0], &request, world.newest::<ProduceRequest>(11)).await;
        t.say(case, answer.map_or_else(Into::into, |a| produced(world, &a.responses[0].partition_responses[0])));
    }
}

/// Times that a topic allows.
async fn times(world: &World, t: &mut Transcript) {
    let narrow = [("message.timestamp.after.max.ms", "1000"), ("message.timestamp.before.max.ms", "200000")];
    for (case, configs) in [("default", &[][..]), ("narrow", &narrow)] {
        let topic = world.topic(case, 1, 1, configs).await;
        for (when, ms) in [("soon", 190_000), ("long ago", -110_000), ("before", 0), ("in 2 hours", 7_200_000)] {
            t.say(
                format!("{case}, {when}"),
                produced(world, &world.produce(&topic, 0, &plain(world.t0 + ms, 2)).await),
            );
        }
    }
}

async fn acks(world: &World, t: &mut Transcript) {
    let topic = world.topic("acks", 1, 3, &[]).await;
    let bytes = plain(world.t0, 1);
    for version in world.each::<ProduceRequest>(&[3, 8, 9, 12, 13]) {
        for acks in [1, -1, 5, -2] {
            let request = produce_request(&topic, 0, &bytes, None, acks);
            let answer = world.ask(topic.leaders[0], &request, version).await;
            let answer = produced(world, &answer.responses[0].partition_responses[0]);
            t.say(format!("v{version}, acks={acks}"), answer);
        }
    }
    let request = produce_request(&topic, 0, &bytes, None, 0);
    t.say("acks=0, the connection lives", world.tell(topic.leaders[0], &request, 9).await);
    world.until("record", async || (world.offset(&topic, 0, -1, false).await.offset % 2 == 1).then_some(())).await;
    let request = produce_request(&topic, 7, &bytes, None, 0);
    t.say("acks=0 to nowhere, the connection lives", world.tell(topic.leaders[0], &request, 9).await);
    let request = ProduceRequest { acks: 1, timeout_ms: 1000, ..Default::default() };
    t.say("about nothing", world.ask(topic.leaders[0], &request, 9).await.responses.len());
    // More than there are replicas counts as all of them.
    let strict = world.topic("strict", 1, 1, &[("min.insync.replicas", "2")]).await;
    t.say("min.insync.replicas above the replicas", produced(world, &world.produce(&strict, 0, &bytes).await));
}

async fn wrong_broker(world: &World, t: &mut Transcript) {
    let topic = world.topic("elsewhere", 1, 1, &[]).await;
    for version in world.each::<ProduceRequest>(&[3, 9, 10, 12, 13]) {
        for acks in [1, -1] {
            let request = produce_request(&topic, 0, &plain(world.t0, 1), None, acks);
            let answer = world.ask(topic.other(0), &request, version).await;
            let r = &answer.responses[0].partition_responses[0];
            let hint = &r.current_leader;
            let right = (hint.leader_id == topic.leaders[0], hint.leader_epoch == topic.epochs[0]);
            let nodes: Vec<_> = answer.node_endpoints.iter().map(|n| n.node_id == topic.leaders[0]).collect();
            let at = format!("{} hint {right:?} nodes {nodes:?}", produced(world, r));
            t.say(format!("v{version}, acks={acks}"), at);
        }
    }
}

async fn unknown(world: &World, t: &mut Transcript) {
    let known = world.topic("known", 1, 1, &[]).await;
    let broker = known.leaders[0];
    let topic = |name: &str, id| Topic { name: StrBytes::from(name), id, ..known.clone() };
    let absent = topic(&world.name("absent"), Uuid([9; 16]));
    for version in world.each::<ProduceRequest>(&[3, 12, 13]) {
        for (case, topic, partition) in [
            ("no such topic", &absent, 0),
            ("no such partition", &known, 1),
            ("partition -1", &known, -1),
            ("illegal name", &topic("a b", Uuid::ZERO), 0),
        ] {
            let request = produce_request(topic, partition, &plain(world.t0, 1), None, -1);
            let answer = world.ask(broker, &request, version).await;
            t.say(format!("v{version}, {case}"), produced(world, &answer.responses[0].partition_responses[0]));
        }
    }
}

async fn stamped(world: &World, t: &mut Transcript) {
    let topic = world.topic("stamped", 1, 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let (id, epoch) = producer(world).await;
    for (case, bytes) in [
        ("records", plain(world.t0, 2)),
        ("from the future", plain(world.t0 + 86_400_000, 2)),
        ("of a producer", batch(by(id, epoch, 0), world.t0, 2)),
        ("again", batch(by(id, epoch, 0), world.t0, 2)),
    ] {
        t.say(case, produced(world, &world.produce(&topic, 0, &bytes).await));
    }
}

/// Several partitions in one request, good and bad.
async fn many(world: &World, t: &mut Transcript) {
    let topic = world.topic("many", 6, 1, &[]).await;
    let leader = topic.leaders[0];
    let own: Vec<i32> = (0..6).filter(|p| topic.leaders[*p as usize] == leader).collect();
    let mut flipped = plain(world.t0, 1).to_vec();
    flipped[70] ^= 1;
    let records = [plain(world.t0, 1), flipped.into(), plain(world.t0, 2)];
    let places = [own[0], own[0], own[1 % own.len()]];
    let data = records.iter().zip(places).skip(1);
    let data = data.map(|(r, index)| produce::PartitionData { index, records: Some(r.clone().into()) });
    let topic_data =
        produce::TopicData { name: topic.name.clone(), partition_data: data.collect(), ..Default::default() };
    let request = ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic_data], ..Default::default() };
    let answer = world.ask(leader, &request, 9).await;
    for (i, partition) in places.iter().enumerate().skip(1) {
        let r = answer.responses[0].partition_responses.iter().find(|r| r.index == *partition).unwrap();
        t.say(format!("partition {i}"), produced(world, r));
    }
}

async fn compacted(world: &World, t: &mut Transcript) {
    let topic = world.topic("compacted", 1, 1, &[("cleanup.policy", "compact")]).await;
    for (case, records) in [
        ("with keys", &[(Some("a"), "1"), (Some("b"), "2")][..]),
        ("one without", &[(Some("a"), "1"), (None, "2"), (Some("a"), "3")]),
        ("none with", &[(None, "1"), (None, "2")]),
        ("an empty one", &[(Some(""), "1")]),
    ] {
        let answer = world.produce(&topic, 0, &batch_of(NO_PRODUCER, world.t0, records)).await;
        t.say(case, produced(world, &answer));
    }
}
