//! What only a cluster can show that does what it is told: lost answers, throttling, silence, leaders that move,
//! compaction, and who has how many connections.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Transcript;
use super::world::{World, value};
use crate::client::fetch::ReadOptions;
use crate::client::producer::RecordParts;
use crate::embedded::{Api, EmbeddedCluster, ErrorCode, Fault};
use crate::env::lock;

pub(super) async fn play(world: &World, cluster: &EmbeddedCluster, t: &mut Transcript) {
    for (what, fault) in [
        ("refused once", Fault::on(Api::Produce).error(ErrorCode::NOT_ENOUGH_REPLICAS)),
        ("cut off before the work", Fault::on(Api::Produce).drop_before()),
        ("the answer is lost", Fault::on(Api::Produce).drop_after()),
        ("throttled", Fault::on(Api::Produce).throttle(Duration::from_millis(100))),
        ("never answered", Fault::on(Api::Produce).silence()),
    ] {
        let topic = world.topic(&what.replace(' ', "-"), 1, &[]).await;
        world.fill(&topic, 1).await;
        cluster.inject(fault);
        let came = world.send(&topic, value(b"once")).await;
        cluster.clear_faults();
        let outcome = came.split(' ').next().unwrap_or_default();
        t.say(format!("{what}: the record"), outcome);
        let stored = cluster.records(&topic, 0).iter().filter(|r| r.value.as_deref() == Some(b"once")).count();
        t.say(format!("{what}: in the log"), format!("{stored} times"));
    }
    let topic = world.topic("reading", 1, &[]).await;
    for (what, fault) in [
        ("a fetch is refused", Fault::on(Api::Fetch).error(ErrorCode::NOT_LEADER_OR_FOLLOWER)),
        ("a fetch is cut off", Fault::on(Api::Fetch).drop_before()),
        ("a fetch's answer is lost", Fault::on(Api::Fetch).drop_after()),
        ("a fetch is throttled", Fault::on(Api::Fetch).throttle(Duration::from_millis(100))),
        ("a fetch is never answered", Fault::on(Api::Fetch).silence()),
    ] {
        world.fill(&topic, 1).await;
        let end = cluster.partition(&topic, 0).unwrap().log_end;
        cluster.inject(fault);
        let came = world.read(&topic, end - 1, 1).await;
        cluster.clear_faults();
        t.say(what, came.split(' ').nth(1).unwrap_or_default());
    }
    moved(world, cluster, t).await;
    changed(world, cluster, t).await;
    compacted(world, cluster, t).await;
    connections(world, cluster, t).await;
}

async fn moved(world: &World, cluster: &EmbeddedCluster, t: &mut Transcript) {
    cluster.create_topic(&world.name("moved"), 1, &[]).unwrap();
    let topic = world.name("moved");
    world.cluster.topic(&topic).await.unwrap();
    world.fill(&topic, 1).await;
    let mut reader = world.reader(&topic, 0, ReadOptions::default());
    t.say("before the leader moves", reader.records(1).await);
    let leader = cluster.leader(&topic, 0).unwrap();
    assert!(cluster.move_leader(&topic, 0, leader % 3 + 1));
    t.say("to the new leader", world.send(&topic, value(b"moved")).await);
    t.say("from the new leader", reader.records(1).await);
    cluster.stop_broker(leader % 3 + 1);
    t.say("to the third", world.send(&topic, value(b"again")).await.split(' ').next().unwrap_or_default());
    t.say("from the third", reader.records(1).await.split(' ').nth(1).unwrap_or_default());
    cluster.start_broker(leader % 3 + 1).await.unwrap();
}

/// What was known of a topic before it is used is out of date.
async fn changed(world: &World, cluster: &EmbeddedCluster, t: &mut Transcript) {
    let topic = world.name("changed");
    cluster.create_topic(&topic, 2, &[]).unwrap();
    // With this one rskafka looks at all topics.
    world.topic("beside", 1, &[]).await;
    world.cluster.topic(&topic).await.unwrap();
    world.fill(&topic, 1).await;
    let leader = cluster.leader(&topic, 1).unwrap();
    assert!(cluster.move_leader(&topic, 1, leader % 3 + 1));
    cluster.add_partitions(&topic, 3).unwrap();
    world.cluster.refresh_now().await.unwrap();
    for (what, partition) in [("whose leader has moved meanwhile", 1), ("that was added", 2)] {
        let delivery = world.append(&topic, partition, value(b"late")).await;
        t.say(format!("to a partition {what}"), world.sent(delivery).await);
    }
}

async fn compacted(world: &World, cluster: &EmbeddedCluster, t: &mut Transcript) {
    let topic = world.topic("compacted", 1, &[]).await;
    let keyed = |key: &'static [u8]| RecordParts { key: Some(key), ..value(b"v") };
    for key in [b"a", b"b", b"a", b"b", b"a", b"b"] {
        world.send(&topic, keyed(key)).await;
    }
    // The last batch becomes one without records at its end.
    let together = [world.append(&topic, 0, keyed(b"c")).await, world.append(&topic, 0, keyed(b"d")).await];
    for delivery in together {
        world.sent(delivery).await;
    }
    world.send(&topic, keyed(b"d")).await;
    world.send(&topic, RecordParts { key: Some(b"d"), ..RecordParts::default() }).await;
    cluster.compact(&topic);
    let mut reader = world.reader(&topic, 0, ReadOptions::default());
    let asked: Arc<Mutex<u32>> = Arc::default();
    let count = asked.clone();
    cluster.observe(move |event| *lock(&count) += u32::from(event.api == Api::Fetch));
    t.say("what compaction left", reader.records(3).await);
    *lock(&asked) = 0;
    world.env.sleep(Duration::from_secs(1)).await;
    let few = *lock(&asked) < 20;
    t.say("at the end, fetches in a second", if few { "few" } else { "many" });
    t.say("behind it", world.send(&topic, keyed(b"e")).await);
    t.say("read on", reader.records(1).await);
}

async fn connections(world: &World, cluster: &EmbeddedCluster, t: &mut Transcript) {
    let topic = world.topic("connections", 9, &[]).await;
    let used: Arc<Mutex<BTreeSet<u64>>> = Arc::default();
    let seen = used.clone();
    cluster.observe(move |event| {
        if event.api == Api::Produce {
            lock(&seen).insert(event.connection);
        }
    });
    for partition in 0..9 {
        let delivery = world.append(&topic, partition, value(b"v")).await;
        world.sent(delivery).await;
    }
    t.say("connections that 9 partitions of 3 brokers are written over", lock(&used).len());
}
