//! Offsets that are looked up, and topics that are made and deleted.

use super::Transcript;
use super::world::{World, t0, value};
use crate::client::admin::NewTopic;
use crate::client::producer::RecordParts;
use crate::client::types::{Isolation, OffsetAt, TopicPartition};

pub(super) async fn play(world: &World, t: &mut Transcript) {
    let topic = world.topic("offsets", 2, &[]).await;
    for n in 0..4 {
        world.send(&topic, RecordParts { timestamp: Some(t0() + 10 * n), ..value(b"v") }).await;
    }
    let partitions = [TopicPartition::new(topic.as_str(), 0), TopicPartition::new(topic.as_str(), 1)];
    let all = [
        ("earliest", OffsetAt::Earliest),
        ("latest", OffsetAt::Latest),
        ("between two", OffsetAt::Timestamp(t0() + 11)),
        ("at the third", OffsetAt::Timestamp(t0() + 20)),
        ("behind the last", OffsetAt::Timestamp(t0() + 31)),
    ];
    for isolation in [Isolation::ReadCommitted, Isolation::ReadUncommitted] {
        for (what, at) in all {
            let found = world.admin.list_offsets(&partitions, at, isolation).await.unwrap();
            let said = found.into_iter().map(|(tp, found)| {
                let found = found.map(|p| p.map(|p| p.offset)).map_err(|e| e.kind());
                format!("{}: {found:?}", tp.partition)
            });
            t.say(format!("{what}, {isolation:?}"), said.collect::<Vec<_>>().join(", "));
        }
    }
    let nowhere = [TopicPartition::new(topic.as_str(), 9)];
    let found = world.admin.list_offsets(&nowhere, OffsetAt::Earliest, Isolation::ReadCommitted).await.unwrap();
    t.say("a partition that does not exist", format!("{:?}", found[0].1.as_ref().map_err(|e| e.kind())));
    let found = world.admin.list_offsets(&partitions, OffsetAt::Latest, Isolation::ReadCommitted).await.unwrap();
    let epoch = found[0].1.as_ref().unwrap().unwrap().leader_epoch;
    t.say("the leader's epoch with an offset", if epoch >= 0 { "known" } else { "unknown" });

    let name = world.name("made");
    let new = NewTopic { name: name.clone(), partitions: Some(3), replicas: Some(1), configs: Vec::new() };
    for time in ["made", "made a second time"] {
        let (_, made) = world.admin.create_topics(std::slice::from_ref(&new)).await.unwrap().remove(0);
        t.say(time, format!("{:?}", made.map_err(|e| e.kafka_code())));
    }
    t.say("partitions", world.cluster.topic(&name).await.unwrap().partitions.len());
    let names = [name.as_str().into()];
    t.say("deleted", format!("{:?}", world.admin.delete_topics(&names).await.unwrap()[0].1.is_ok()));
    let never = [world.name("never").as_str().into()];
    let deleted = world.admin.delete_topics(&never).await.unwrap().remove(0).1;
    t.say("deleted what never was", format!("{:?}", deleted.map_err(|e| e.kind())));
}
