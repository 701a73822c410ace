//! Transactions: who owns an id, and what a transaction may touch.

use super::Transcript;
use super::client::World;
use super::help::{Topic, batch, by, produce_request, produced, transactional};
use super::producer::{Producer, given};
use crate::wire::messages::*;
use crate::wire::{ErrorCode, StrBytes};

super::scenarios! { "transactions": init add end write }

async fn init(world: &World, t: &mut Transcript) {
    let (min, max) = world.versions::<InitProducerIdRequest>();
    for (case, id, timeout) in
        [("idempotent", None, 60_000), ("idempotent without time-out", None, 0), ("empty id", Some(""), 60_000)]
    {
        for version in [min, 3, max] {
            let request = InitProducerIdRequest {
                transactional_id: id.map(StrBytes::from),
                transaction_timeout_ms: timeout,
                ..Default::default()
            };
            let r = world.ask(world.any(), &request, version).await;
            t.say(format!("v{version}, {case}"), given(&r, -2));
        }
    }
    let r = InitProducerIdRequest { transactional_id: None, producer_id: 3, producer_epoch: 4, ..Default::default() };
    t.say("idempotent with an epoch", given(&world.ask(world.any(), &r, 3).await, -2));
    let producer = Producer::new(world, "init").await;
    let (id, epoch) = producer.producer;
    t.say("fresh", epoch);
    for (case, known, timeout, version) in [
        ("again", (-1, -1), 60_000, 2),
        ("with its epoch", (id, 1), 60_000, 3),
        ("with its epoch again", (id, 1), 60_000, 3),
        ("with its epoch again", (id, 1), 60_000, 4),
        ("with an older one", (id, 0), 60_000, 4),
        ("with a newer one", (id, 9), 60_000, 4),
        ("with another id", (id + 100_000, 2), 60_000, 4),
        ("id without epoch", (id, -1), 60_000, 4),
        ("no time", (-1, -1), 0, 4),
        ("negative time", (-1, -1), -1, 4),
        ("too much time", (-1, -1), 900_001, 4),
        ("all the time", (-1, -1), 900_000, 4),
        ("newest version", (-1, -1), 60_000, max),
    ] {
        t.say(format!("v{version}, {case}"), given(&producer.init(known, timeout, version).await, id));
    }
    let other = Producer::new(world, "init-other").await;
    t.say("another id differs", other.producer.0 != id);
}

async fn add(world: &World, t: &mut Transcript) {
    let topic = world.topic("added", 2, 1, &[]).await;
    let absent = Topic { name: StrBytes::from(world.name("absent").as_str()), ..topic.clone() };
    let p = Producer::new(world, "add").await;
    let (id, epoch) = p.producer;
    for version in [0, 1, 2, 3] {
        for (case, by, partitions) in [
            ("fine", (id, epoch), vec![(&topic, 0)]),
            ("again", (id, epoch), vec![(&topic, 0)]),
            ("unknown topic", (id, epoch), vec![(&absent, 0)]),
            ("unknown partition", (id, epoch), vec![(&topic, 7)]),
            ("one is unknown", (id, epoch), vec![(&topic, 1), (&absent, 0)]),
            ("newer epoch", (id, epoch + 1), vec![(&topic, 0)]),
            ("older epoch", (id, epoch - 1), vec![(&topic, 0)]),
            ("another id", (id + 100_000, epoch), vec![(&topic, 0)]),
        ] {
            let mut codes: Vec<_> = p.add(by, &partitions, version).await.iter().map(ToString::to_string).collect();
            codes.sort();
            t.say(format!("v{version}, {case}"), codes.join(" "));
        }
        let none = p.end((id, epoch), false, 3).await;
        t.say(format!("v{version}, abort"), none.error_code);
    }
    let stranger = Producer { world, id: world.name("stranger").as_str().into(), node: 0, producer: (1, 0) };
    let stranger = Producer { node: world.coordinator(&stranger.id, 1).await, ..stranger };
    let codes = stranger.add((1, 0), &[(&topic, 0)], 3).await;
    t.say("unknown transactional id", codes[0]);
    t.say("unknown transactional id ends", stranger.end((1, 0), true, 3).await.error_code);
    for (case, by, group) in
        [("fine", (id, epoch), "g"), ("fenced", (id, epoch - 1), "g"), ("empty group", (id, epoch), "")]
    {
        for version in world.each::<AddOffsetsToTxnRequest>(&[0, 2]) {
            let request = AddOffsetsToTxnRequest {
                transactional_id: p.id.clone(),
                producer_id: by.0,
                producer_epoch: by.1,
                group_id: if group.is_empty() { group.into() } else { world.name(group).as_str().into() },
            };
            let code = world.until("answer", async || {
                let code = world.ask(p.node, &request, version).await.error_code;
                (code != ErrorCode::CONCURRENT_TRANSACTIONS).then_some(code)
            });
            t.say(format!("offsets v{version}, {case}"), code.await);
        }
    }
    p.end((id, epoch), false, 3).await;
}

async fn end(world: &World, t: &mut Transcript) {
    let topic = world.topic("ended", 1, 1, &[]).await;
    let p = Producer::new(world, "end").await;
    let (id, epoch) = p.producer;
    for version in [0, 1, 2, 4] {
        t.say(format!("v{version}, nothing open, commit"), p.end((id, epoch), true, version).await.error_code);
        t.say(format!("v{version}, nothing open, abort"), p.end((id, epoch), false, version).await.error_code);
        for commit in [true, false] {
            p.add((id, epoch), &[(&topic, 0)], 3).await;
            for (case, by) in
                [("older", (id, epoch - 1)), ("newer", (id, epoch + 1)), ("another", (id + 100_000, epoch))]
            {
                let answer = p.end(by, commit, version).await;
                t.say(format!("v{version}, {case}"), answer.error_code);
            }
            let answer = p.end((id, epoch), commit, version).await;
            t.say(format!("v{version}, commit {commit}"), (answer.error_code).to_string());
            t.say(format!("v{version}, again"), p.end((id, epoch), commit, version).await.error_code);
            t.say(format!("v{version}, the other way"), p.end((id, epoch), !commit, version).await.error_code);
        }
    }
    let end = world.until("last marker", async || {
        let end = world.offset(&topic, 0, -1, false).await.offset;
        (end == 8).then_some(end)
    });
    t.say("markers", end.await);
    // An InitProducerId aborts what is open, under another epoch.
    p.add((id, epoch), &[(&topic, 0)], 3).await;
    p.write((id, epoch), 0, &topic, 0, 1).await;
    let next = p.init((-1, -1), 60_000, 4).await;
    t.say("init while open", given(&next, id));
    world.ends_at(&topic, 0, 10, true).await;
    t.say("the old one", p.end((id, epoch), true, 4).await.error_code);
    t.say("the old one writes", p.write((id, epoch), 1, &topic, 0, 1).await);
    t.say("the old one adds", p.add((id, epoch), &[(&topic, 0)], 3).await[0]);
}

async fn write(world: &World, t: &mut Transcript) {
    let topic = world.topic("written", 2, 1, &[]).await;
    let p = Producer::new(world, "write").await;
    let (id, epoch) = p.producer;
    for version in [3, 10, 11] {
        t.say(format!("v{version}, nothing open"), p.write_at((id, epoch), 0, &topic, 0, 1, version).await);
    }
    p.add((id, epoch), &[(&topic, 0)], 3).await;
    t.say("added", p.write((id, epoch), 0, &topic, 0, 2).await);
    t.say("again", p.write((id, epoch), 0, &topic, 0, 2).await);
    t.say("not added", p.write((id, epoch), 0, &topic, 1, 1).await);
    t.say("a gap", p.write((id, epoch), 5, &topic, 0, 1).await);
    let bytes = batch(by(id, epoch, 2), world.t0, 1);
    t.say("not of the transaction", produced(world, &world.produce(&topic, 0, &bytes).await));
    let bytes = transactional(&batch(by(id, epoch, 2), world.t0, 1));
    let stranger = produce_request(&topic, 0, &bytes, Some(&world.name("no-such-id")), -1);
    let answer = world.ask(topic.leaders[0], &stranger, 11).await;
    t.say("under an unknown id", produced(world, &answer.responses[0].partition_responses[0]));
    let nobody = produce_request(&topic, 0, &bytes, None, -1);
    let answer = world.ask(topic.leaders[0], &nobody, 11).await;
    t.say("under no id", produced(world, &answer.responses[0].partition_responses[0]));
    if world.checks_epochs() {
        t.say("newer epoch", p.write((id, epoch + 1), 0, &topic, 0, 1).await);
    }
    t.say("commit", p.end((id, epoch), true, 3).await.error_code);
    world
        .until("end of the transaction", async || {
            let (seen, stable) = (world.offset(&topic, 0, -1, false).await, world.offset(&topic, 0, -1, true).await);
            (seen.offset == stable.offset).then_some(())
        })
        .await;
    t.say("after the end", p.write((id, epoch), 3, &topic, 0, 1).await);
    t.say("end", world.offset(&topic, 0, -1, true).await.offset);
}
