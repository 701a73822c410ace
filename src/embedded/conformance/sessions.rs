//! Fetch sessions (KIP-227).

use super::Transcript;
use super::client::World;
use super::fetch::{asked, fetched, request};
use super::help::{Topic, plain};
use crate::wire::messages::fetch::ForgottenTopic;
use crate::wire::messages::*;

super::scenarios! { "sessions": incremental refused by_id }

/// Topic with two partitions at one leader, one record each.
async fn two(world: &World, name: &str) -> (Topic, [i32; 2]) {
    let topic = world.topic(name, 4, 1, &[]).await;
    let own = topic.pair();
    for partition in own {
        world.produce(&topic, partition, &plain(world.t0, 1)).await;
    }
    (topic, own)
}

/// The answer, partitions as `a` and `b`.
fn said(answer: &FetchResponse, own: [i32; 2], session: i32) -> String {
    let partitions = answer.responses.iter().flat_map(|r| &r.partitions).map(|p| {
        let name = own.iter().position(|o| *o == p.partition_index).map_or("?", |i| ["a", "b"][i]);
        format!("{name}: {}", fetched(p))
    });
    let which = match answer.session_id {
        0 => "none",
        id if id == session => "the same",
        _ => "new",
    };
    format!("{}, session {which}, {}", answer.error_code, partitions.collect::<Vec<_>>().join("; "))
}

async fn incremental(world: &World, t: &mut Transcript) {
    for version in world.each::<FetchRequest>(&[7, 12, 13]) {
        let (topic, own) = two(world, &format!("session{version}")).await;
        let [a, b] = own;
        let leader = topic.leaders[a as usize];
        let full = FetchRequest { session_epoch: 0, ..request(&topic, vec![asked(a, 0), asked(b, 0)]) };
        let answer = world.ask(leader, &full, version).await;
        let id = answer.session_id;
        t.say(format!("v{version}, new"), said(&answer, own, 0));
        let mut epoch = 0;
        let mut next = async |t: &mut Transcript, case: &str, with: FetchRequest| {
            epoch += 1;
            let request = FetchRequest { session_id: id, session_epoch: epoch, max_bytes: 1 << 20, ..with };
            let answer = world.ask(leader, &request, version).await;
            t.say(format!("v{version}, {case}"), said(&answer, own, id));
        };
        let nothing = FetchRequest::default;
        let forget = |p| {
            let gone = ForgottenTopic { topic: topic.name.clone(), topic_id: topic.id, partitions: vec![p] };
            FetchRequest { forgotten_topics_data: vec![gone], ..Default::default() }
        };
        next(t, "nothing new said: the same records again", nothing()).await;
        next(t, "both at the end", request(&topic, vec![asked(a, 1), asked(b, 1)])).await;
        next(t, "nothing changed", nothing()).await;
        world.produce(&topic, b, &plain(world.t0, 2)).await;
        next(t, "one changed", nothing()).await;
        next(t, "its offset too", request(&topic, vec![asked(b, 3)])).await;
        next(t, "nothing changed again", nothing()).await;
        next(t, "forget b", forget(b)).await;
        world.produce(&topic, b, &plain(world.t0, 1)).await;
        next(t, "b changed", nothing()).await;
        next(t, "forget b again", forget(b)).await;
        next(t, "b comes back", request(&topic, vec![asked(b, 3)])).await;
        next(t, "b out of range", request(&topic, vec![asked(b, 50)])).await;
        next(t, "b still out of range", nothing()).await;
        next(t, "b in range", request(&topic, vec![asked(b, 4)])).await;
        next(
            t,
            "forget b and ask for it",
            FetchRequest { topics: request(&topic, vec![asked(b, 4)]).topics, ..forget(b) },
        )
        .await;
        next(t, "an unknown partition", request(&topic, vec![asked(77, 0)])).await;
        next(t, "still unknown", nothing()).await;
        let close = FetchRequest { session_id: id, session_epoch: -1, ..request(&topic, vec![asked(a, 0)]) };
        let answer = world.ask(leader, &close, version).await;
        t.say(format!("v{version}, close"), said(&answer, own, id));
        let gone = FetchRequest { session_id: id, session_epoch: 4, ..Default::default() };
        t.say(format!("v{version}, closed"), said(&world.ask(leader, &gone, version).await, own, id));
    }
}

async fn refused(world: &World, t: &mut Transcript) {
    let (topic, own) = two(world, "refused-session").await;
    let leader = topic.leaders[own[0] as usize];
    let all = || request(&topic, vec![asked(own[0], 1), asked(own[1], 1)]);
    for version in world.each::<FetchRequest>(&[7, 12]) {
        let unknown = FetchRequest { session_id: 123_456_789, session_epoch: 3, ..all() };
        t.say(format!("v{version}, unknown id"), said(&world.ask(leader, &unknown, version).await, own, 0));
        let unknown = FetchRequest { session_id: 123_456_789, session_epoch: 0, ..all() };
        t.say(format!("v{version}, unknown id, epoch 0"), said(&world.ask(leader, &unknown, version).await, own, 0));
        let unknown = FetchRequest { session_id: 123_456_789, session_epoch: -1, ..all() };
        t.say(format!("v{version}, unknown id, epoch -1"), said(&world.ask(leader, &unknown, version).await, own, 0));
        let none = FetchRequest { session_epoch: 1, ..all() };
        t.say(format!("v{version}, no id, epoch 1"), said(&world.ask(leader, &none, version).await, own, 0));
        let empty = FetchRequest { session_epoch: 0, max_bytes: 1000, ..Default::default() };
        t.say(format!("v{version}, of nothing"), said(&world.ask(leader, &empty, version).await, own, 0));
        let id = world.ask(leader, &FetchRequest { session_epoch: 0, ..all() }, version).await.session_id;
        for epoch in [2, 1, 1, 3, 2, 7] {
            let next = FetchRequest { session_id: id, session_epoch: epoch, ..Default::default() };
            let answer = world.ask(leader, &next, version).await;
            t.say(format!("v{version}, epoch {epoch}"), said(&answer, own, id));
        }
        let again = FetchRequest { session_id: id, session_epoch: 0, ..all() };
        t.say(format!("v{version}, anew"), said(&world.ask(leader, &again, version).await, own, id));
        let old = FetchRequest { session_id: id, session_epoch: 3, ..Default::default() };
        t.say(format!("v{version}, the old one"), said(&world.ask(leader, &old, version).await, own, id));
    }
}

/// A session is by name or by id.
async fn by_id(world: &World, t: &mut Transcript) {
    let (topic, own) = two(world, "session-by-id").await;
    let leader = topic.leaders[own[0] as usize];
    let all = || request(&topic, vec![asked(own[0], 1), asked(own[1], 1)]);
    for (first, second) in [(12, 13), (13, 12)] {
        let id = world.ask(leader, &FetchRequest { session_epoch: 0, ..all() }, first).await.session_id;
        let next = FetchRequest { session_id: id, session_epoch: 1, ..all() };
        t.say(format!("v{first}, then v{second}"), said(&world.ask(leader, &next, second).await, own, id));
        let next = FetchRequest { session_id: id, session_epoch: 1, ..Default::default() };
        t.say(format!("v{first} again"), said(&world.ask(leader, &next, first).await, own, id));
    }
    let other = Topic { id: crate::wire::Uuid([5; 16]), ..topic.clone() };
    let mut both = FetchRequest { session_epoch: 0, ..all() };
    both.topics.extend(request(&other, vec![asked(9, 0)]).topics);
    let answer = world.ask(leader, &both, 13).await;
    t.say("an unknown id among them", said(&answer, own, 0));
    let next = FetchRequest { session_id: answer.session_id, session_epoch: 1, ..Default::default() };
    t.say("the next", said(&world.ask(leader, &next, 13).await, own, answer.session_id));
}
