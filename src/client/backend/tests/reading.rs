//! What is attached gets everything from its offset on, and what is in the way of that.

use std::time::Duration;

use super::Transcript;
use super::world::{Headers, World};
use crate::client::Use;
use crate::client::fetch::{FetchEvent, OnBadBatch, ReadOptions};
use crate::client::types::TopicPartition;
use crate::wire::messages::delete_records::{DeleteRecordsRequest, RequestPartition, RequestTopic};

const SKIP: fn() -> ReadOptions = || ReadOptions { on_bad_batch: OnBadBatch::Skip, ..ReadOptions::default() };

pub(super) async fn play(world: &World, t: &mut Transcript) {
    places(world, t).await;
    waiting(world, t).await;
    known(world, t).await;
    unreadable(world, t).await;
    made_again(world, t).await;
}

async fn places(world: &World, t: &mut Transcript) {
    let topic = world.topic("places", 1, &[]).await;
    world.fill(&topic, 6).await;
    t.say("from the middle of a batch", world.read(&topic, 3, 3).await);
    let mut at_the_end = world.reader(&topic, 6, ReadOptions::default());
    let mut beyond = world.reader(&topic, 60, ReadOptions::default());
    let told = match beyond.event().await {
        FetchEvent::Error(error) => format!("{:?}", error.fault),
        FetchEvent::Fetched(_) => "nothing".into(),
    };
    t.say("from beyond the end", told);
    world.fill(&topic, 2).await;
    t.say("from the end, once there is more", at_the_end.records(2).await);
    t.say("from beyond the end, once there is more", beyond.records(2).await);

    let tp = TopicPartition::new(topic.as_str(), 0);
    let leader = world.cluster.topology().partition(&tp).unwrap().leader;
    let connection = world.cluster.connection(leader, Use::Control).await.unwrap();
    let partitions = vec![RequestPartition { partition_index: 0, offset: 5 }];
    let topics = vec![RequestTopic { name: topic.as_str().into(), partitions }];
    let request = DeleteRecordsRequest { topics, timeout_ms: 5_000 };
    connection.ask(&request, Duration::from_secs(10)).await.unwrap();
    t.say("from before the log's new start", world.read(&topic, 1, 3).await);
}

async fn waiting(world: &World, t: &mut Transcript) {
    let topic = world.topic("waiting", 1, &[]).await;
    let mut reader = world.reader(&topic, 0, ReadOptions::default());
    world.fill(&topic, 1).await;
    t.say("attached before there was anything", reader.records(1).await);
    reader.attached.pause();
    world.fill(&topic, 2).await;
    let silent = async {
        loop {
            if matches!(reader.event().await, FetchEvent::Fetched(f) if !f.batches.is_empty()) {
                return;
            }
        }
    };
    let silent = world.env.timeout(Duration::from_secs(1), silent).await.is_none();
    t.say("paused", if silent { "silent" } else { "not silent" });
    reader.attached.resume();
    t.say("resumed", reader.records(2).await);
    let mut other = world.reader(&topic, 0, ReadOptions::default());
    t.say("attached a second time", other.records(3).await);
    drop(reader);
    world.fill(&topic, 1).await;
    t.say("with the other one detached", other.records(1).await);
}

async fn known(world: &World, t: &mut Transcript) {
    let topic = world.topic("known", 1, &[]).await;
    world.fill(&topic, 2).await;
    let mut reader = world.reader(&topic, 0, ReadOptions::default());
    loop {
        let FetchEvent::Fetched(fetched) = reader.event().await else { continue };
        if fetched.batches.is_empty() {
            continue;
        }
        t.say("the high watermark", fetched.high_watermark);
        t.say("the offset behind", fetched.next_offset);
        let epoch = fetched.batches[0].batch.header().partition_leader_epoch;
        t.say("the leader's epoch", if epoch >= 0 { "known" } else { "unknown" });
        return;
    }
}

async fn unreadable(world: &World, t: &mut Transcript) {
    let (small, large): (&[u8], &[u8]) = (b"other", &[b'x'; 1_000]);
    let headers: Headers<'_> = &[("a", Some(b"1")), ("n", None)];
    for (what, name, value, headers) in [
        ("headers without a value", "valueless", small, headers),
        ("LZ4", "lz4", large, &[]),
        ("zstd", "zstd", large, &[]),
    ] {
        let topic = world.topic(name, 1, &[]).await;
        world.fill(&topic, 2).await;
        world.other_sends(&topic, value, headers).await;
        world.fill(&topic, 1).await;
        t.say(format!("{what}, read"), world.read(&topic, 0, 4).await);
        let mut reader = world.reader(&topic, 0, SKIP());
        let passed = reader.records(3).await;
        t.say(format!("{what}, passed over where that is wanted"), passed);
    }
    let topic = world.topic("twice", 1, &[]).await;
    world.other_sends(&topic, small, &[("z", Some(b"1")), ("a", Some(b"2")), ("z", Some(b"3"))]).await;
    t.say("a header twice, read", world.read(&topic, 0, 1).await.replace("-=", ""));
}

/// Until a topic of this name can be made again.
async fn gone(world: &World, topic: &str) {
    let names = [topic.into()];
    while !world.admin.list_topics(Some(&names)).await.unwrap().is_empty() {
        world.env.sleep(Duration::from_millis(50)).await;
    }
}

async fn made_again(world: &World, t: &mut Transcript) {
    let topic = world.topic("again", 1, &[]).await;
    world.fill(&topic, 3).await;
    let mut reader = world.reader(&topic, 0, ReadOptions::default());
    t.say("of a topic", reader.records(3).await);
    world.admin.delete_topics(&[topic.as_str().into()]).await.unwrap();
    gone(world, &topic).await;
    world.topic("again", 1, &[]).await;
    world.cluster.refresh_now().await.unwrap();
    t.say("after it was made again", reader.records(1).await);
}
