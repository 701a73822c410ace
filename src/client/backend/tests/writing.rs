//! What is written is in the log as it was given, and how refusals end.

use super::Transcript;
use super::world::{Headers, World, t0, value};
use crate::client::producer::RecordParts;

pub(super) async fn play(world: &World, t: &mut Transcript) {
    plain(world, t).await;
    headers(world, t).await;
    sizes(world, t).await;
    append_time(world, t).await;
}

async fn plain(world: &World, t: &mut Transcript) {
    let topic = world.topic("plain", 2, &[]).await;
    let keyed = RecordParts { timestamp: Some(t0() + 7), key: Some(b"k"), value: Some(b"v"), ..RecordParts::default() };
    t.say("a record with a key", world.send(&topic, keyed).await);
    let tombstone = RecordParts { timestamp: Some(t0() + 5), key: Some(b"k"), ..RecordParts::default() };
    t.say("a tombstone, earlier by its timestamp", world.send(&topic, tombstone).await);
    t.say("an empty value", world.send(&topic, value(b"")).await);
    let together = [world.append(&topic, 0, value(b"a")).await, world.append(&topic, 0, value(b"b")).await];
    for delivery in together {
        t.say("one of two at once", world.sent(delivery).await);
    }
    let elsewhere = world.append(&topic, 1, value(b"c")).await;
    t.say("the first of another partition", world.sent(elsewhere).await);
    t.say("all of it, read", world.read(&topic, 0, 5).await);
}

async fn headers(world: &World, t: &mut Transcript) {
    let topic = world.topic("headers", 1, &[]).await;
    let with = |headers| RecordParts { headers, ..value(b"h") };
    t.say("headers", world.send(&topic, with(&[("a", Some(b"1")), ("b", Some(b""))])).await);
    let unsorted: Headers<'_> = &[("z", Some(b"1")), ("a", Some(b"2"))];
    t.say("headers that are not in the order of the alphabet", world.send(&topic, with(unsorted)).await);
    t.say("headers, read", world.read(&topic, 0, 2).await);
    t.say("a header twice", world.send(&topic, with(&[("a", Some(b"1")), ("a", Some(b"2"))])).await);
    let neighbours: [Headers<'_>; 4] = [&[], &[], &[("n", None)], &[]];
    let mut sent = Vec::new();
    for headers in neighbours {
        sent.push(world.append(&topic, 0, with(headers)).await);
    }
    let mut came = Vec::new();
    for delivery in sent {
        came.push(world.sent(delivery).await.split(' ').next().map(str::to_owned).unwrap_or_default());
    }
    t.say("a header without a value, and its neighbours", came.join(", "));
}

async fn sizes(world: &World, t: &mut Transcript) {
    let topic = world.topic("sizes", 1, &[("max.message.bytes", "2000")]).await;
    let large = vec![b'x'; 900];
    let mut sent = Vec::new();
    for _ in 0..6 {
        sent.push(world.append(&topic, 0, value(&large)).await);
    }
    for delivery in sent {
        t.say("one of a batch that is too large as a whole", world.sent(delivery).await);
    }
    t.say("a record that is too large alone", world.send(&topic, value(&[b'x'; 3_000])).await);
    t.say("what was written, read", world.read(&topic, 0, 6).await);
    let topic = world.topic("big", 1, &[("max.message.bytes", "8000000")]).await;
    t.say("a record of 5 MB", world.send(&topic, value(&vec![b'y'; 5_000_000])).await);
    t.say("it, read", world.read(&topic, 0, 1).await);
}

async fn append_time(world: &World, t: &mut Transcript) {
    let topic = world.topic("stamped", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let delivery = world.append(&topic, 0, value(b"s")).await;
    let ack = world.within("an acknowledgement", delivery).await.unwrap();
    let whose = if ack.timestamp == t0() { "the sender's" } else { "the broker's" };
    t.say("where brokers stamp records, the time acknowledged", whose);
    t.say("where brokers stamp records, the time read", world.read(&topic, 0, 1).await);
}
