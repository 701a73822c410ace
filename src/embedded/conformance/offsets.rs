//! ListOffsets and OffsetForLeaderEpoch, and what a new leader changes.

use super::Transcript;
use super::client::World;
use super::fetch::{asked, fetched, request};
use super::help::{Topic, batch_of, plain};
use crate::wire::messages::fetch::FetchPartition;
use crate::wire::messages::list_offsets::RequestPartition;
use crate::wire::messages::*;
use crate::wire::records::NO_PRODUCER;
use crate::wire::{ErrorCode, StrBytes, Uuid};

super::scenarios! { "offsets": by_time epochs_of_list unknown ends_of_epochs moved_leader }

fn listed(world: &World, r: &list_offsets::ResponsePartition) -> String {
    let time = if r.timestamp > 0 { r.timestamp - world.t0 } else { r.timestamp };
    format!("{} {} time {time} epoch {}", r.error_code, r.offset, r.leader_epoch)
}

async fn by_time(world: &World, t: &mut Transcript) {
    let topic = world.topic("timed", 1, 1, &[]).await;
    let empty = world.topic("empty", 1, 1, &[]).await;
    // Times 0, 1, 2; 100, 101; 50, 51, 52; 101.
    for (at, n) in [(0, 3), (100, 2), (50, 3), (101, 1)] {
        world.produce(&topic, 0, &plain(world.t0 + at, n)).await;
    }
    world.produce(&topic, 0, &batch_of(NO_PRODUCER, world.t0 - 10, &[(None, "old")])).await;
    for version in world.each::<ListOffsetsRequest>(&[1, 2, 4, 7, 8, 9, 11]) {
        let t0 = world.t0;
        let mut times =
            vec![-1, -2, 0, t0 - 1, t0, t0 + 1, t0 + 2, t0 + 3, t0 + 50, t0 + 51, t0 + 100, t0 + 101, t0 + 102];
        times.extend([-3, -4, -5, -6, -7, i64::MIN]);
        for timestamp in times {
            for (case, topic) in [("", &topic), (", empty", &empty)] {
                let asked = RequestPartition { timestamp, ..Default::default() };
                let r = world.list_offsets(topic.leaders[0], topic, asked, timestamp % 2 == 0, version).await;
                let time = if timestamp > 0 { timestamp - t0 } else { timestamp };
                let what = if timestamp > 0 { "time" } else { "special" };
                t.say(format!("v{version}{case}, {what} {time}"), listed(world, &r));
            }
        }
    }
}

async fn epochs_of_list(world: &World, t: &mut Transcript) {
    let topic = world.topic("list-epochs", 1, 1, &[]).await;
    world.produce(&topic, 0, &plain(world.t0, 2)).await;
    let epoch = topic.epochs[0];
    for version in world.each::<ListOffsetsRequest>(&[1, 4]) {
        for (case, broker, current_leader_epoch) in [
            ("another broker", topic.other(0), -1),
            ("another broker, a newer epoch", topic.other(0), epoch + 1),
            ("the epoch", topic.leaders[0], epoch),
            ("a newer epoch", topic.leaders[0], epoch + 1),
        ] {
            for timestamp in [-1, -2, world.t0] {
                let asked = RequestPartition { timestamp, current_leader_epoch, ..Default::default() };
                let r = world.list_offsets(broker, &topic, asked, false, version).await;
                let time = if timestamp > 0 { 0 } else { timestamp };
                t.say(format!("v{version}, {case}, {time}"), listed(world, &r));
            }
        }
    }
}

async fn unknown(world: &World, t: &mut Transcript) {
    let known = world.topic("known", 1, 1, &[]).await;
    let absent = Topic { name: StrBytes::from(world.name("absent").as_str()), id: Uuid::ZERO, ..known.clone() };
    for version in world.each::<ListOffsetsRequest>(&[1, 4]) {
        for (case, topic, partition_index) in
            [("topic", &absent, 0), ("partition", &known, 1), ("partition -1", &known, -1)]
        {
            for timestamp in [-1, 5] {
                let asked = RequestPartition { timestamp, partition_index, ..Default::default() };
                let r = world.list_offsets(known.leaders[0], topic, asked, false, version).await;
                t.say(format!("v{version}, unknown {case}, {timestamp}"), listed(world, &r));
            }
        }
    }
    let asked = RequestPartition { timestamp: -1, ..Default::default() };
    let topics = vec![list_offsets::RequestTopic { name: known.name.clone(), partitions: vec![asked.clone(), asked] }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    let answer = world.ask(known.leaders[0], &request, 5).await;
    let all: Vec<_> = answer.topics.iter().flat_map(|t| &t.partitions).map(|p| listed(world, p)).collect();
    t.say("twice", all.join("; "));
}

async fn end_of_epoch(world: &World, broker: i32, topic: &Topic, partition: i32, epoch: i32, current: i32) -> String {
    let asked =
        offset_for_leader_epoch::RequestPartition { partition, current_leader_epoch: current, leader_epoch: epoch };
    let topics = vec![offset_for_leader_epoch::RequestTopic { topic: topic.name.clone(), partitions: vec![asked] }];
    let request = OffsetForLeaderEpochRequest { replica_id: -1, topics };
    let answer = world.ask(broker, &request, world.newest::<OffsetForLeaderEpochRequest>(4)).await;
    let p = &answer.topics[0].partitions[0];
    format!("{} epoch {} end {}", p.error_code, p.leader_epoch, p.end_offset)
}

async fn ends_of_epochs(world: &World, t: &mut Transcript) {
    let topic = world.topic("epoch-ends", 1, 1, &[]).await;
    let absent = Topic { name: StrBytes::from(world.name("absent").as_str()), ..topic.clone() };
    let leader = topic.leaders[0];
    for filled in [false, true] {
        if filled {
            world.produce(&topic, 0, &plain(world.t0, 3)).await;
        }
        for (case, broker, topic, partition, epoch, current) in [
            ("the epoch", leader, &topic, 0, 0, -1),
            ("a later one", leader, &topic, 0, 1, -1),
            ("none", leader, &topic, 0, -1, -1),
            ("checked", leader, &topic, 0, 0, 0),
            ("checked, too new", leader, &topic, 0, 0, 1),
            ("another broker", topic.other(0), &topic, 0, 0, -1),
            ("unknown topic", leader, &absent, 0, 0, -1),
            ("unknown partition", leader, &topic, 3, 0, -1),
        ] {
            let said = end_of_epoch(world, broker, topic, partition, epoch, current).await;
            t.say(format!("filled {filled}, {case}"), said);
        }
    }
}

/// A topic whose leader moved twice, with records of two epochs. Epochs are printed from 0 on: Kafka counts some that
/// have no leader of their own.
async fn moved_leader(world: &World, t: &mut Transcript) {
    let mut topic = world.topic("moved", 1, 3, &[]).await;
    let (old, first) = (topic.epochs[0], topic.leaders[0]);
    world.produce(&topic, 0, &plain(world.t0, 3)).await;
    for to in [first % 3 + 1, first] {
        topic = world.move_leader(&topic, 0, to).await;
        world.produce(&topic, 0, &plain(world.t0, 2)).await;
    }
    let (epoch, leader) = (topic.epochs[0], topic.leaders[0]);
    t.say("back", (leader == first && epoch > old).to_string());
    let word = |text: String, epochs: &[(i32, &str)]| {
        epochs
            .iter()
            .fold(text, |text, (epoch, name)| text.replace(&format!("epoch {epoch} "), &format!("epoch {name} ")))
    };
    let names = [(old, "first"), (epoch, "last")];
    for (case, of) in [("first", old), ("last", epoch), ("later", epoch + 1)] {
        let said = end_of_epoch(world, leader, &topic, 0, of, epoch).await;
        t.say(format!("end of the {case}"), word(said, &names));
    }
    t.say("fenced", end_of_epoch(world, leader, &topic, 0, old, old).await);
    for (case, current_leader_epoch) in [("old", old), ("new", epoch), ("later", epoch + 1)] {
        for version in world.each::<FetchRequest>(&[11, 12]) {
            let partition = FetchPartition { current_leader_epoch, ..asked(0, 0) };
            let answer = world.ask(leader, &request(&topic, vec![partition]), version).await;
            let p = &answer.responses[0].partitions[0];
            let hint = (p.current_leader.leader_id == leader, p.current_leader.leader_epoch == epoch);
            t.say(format!("fetch v{version} with the {case} epoch"), format!("{} hint {hint:?}", fetched(p)));
        }
        for timestamp in [-1, -2, world.t0] {
            let asked = RequestPartition { timestamp, current_leader_epoch, ..Default::default() };
            let r = world.list_offsets(leader, &topic, asked, false, 5).await;
            let said = word(format!("{} ", listed(world, &r)), &names);
            t.say(format!("list {} with the {case} epoch", if timestamp > 0 { 0 } else { timestamp }), said);
        }
    }
    for (case, last, offset) in [("of the first", old, 2), ("of the first, too far", old, 5), ("of the last", epoch, 6)]
    {
        let partition = FetchPartition { last_fetched_epoch: last, ..asked(0, offset) };
        let answer = world.ask(leader, &request(&topic, vec![partition]), 12).await;
        let p = &answer.responses[0].partitions[0];
        let epoch = if p.diverging_epoch.epoch == old { "first" } else { "none" };
        t.say(
            format!("read up to {offset} {case}"),
            format!("{} {epoch} {}", p.error_code, p.diverging_epoch.end_offset),
        );
    }
    let follower = first % 3 + 1;
    for version in world.each::<FetchRequest>(&[10, 11]) {
        for (case, current_leader_epoch) in [("", -1), (" with the epoch", epoch), (" with the old epoch", old)] {
            let partition = FetchPartition { current_leader_epoch, ..asked(0, 0) };
            let answer = world.ask(follower, &request(&topic, vec![partition]), version).await;
            let p = &answer.responses[0].partitions[0];
            let hint = (p.current_leader.leader_id == leader, answer.node_endpoints.len());
            t.say(format!("a follower v{version}{case}"), format!("{} hint {hint:?}", p.error_code));
        }
    }
    let asked = RequestPartition { timestamp: -1, ..Default::default() };
    let r = world.list_offsets(follower, &topic, asked, false, 5).await;
    t.say("a follower lists", listed(world, &r));
    assert_ne!(r.error_code, ErrorCode::NONE);
}
