//! OffsetCommit, OffsetFetch, OffsetDelete.

use super::Transcript;
use super::client::World;
use super::help::{Topic, at};
use super::member::{Member, joined};
use super::offset_requests::{Commit, fetch_request, fetched, outside};
use crate::wire::messages::*;
use crate::wire::{StrBytes, Uuid};

super::scenarios! { "commits": simple by_members fetch delete }

async fn simple(world: &World, t: &mut Transcript) {
    let topic = world.topic("simple", 2, 1, &[]).await;
    let absent = Topic { name: StrBytes::from(world.name("absent").as_str()), id: Uuid([4; 16]), ..topic.clone() };
    let fits = "x".repeat(4096);
    let long = "x".repeat(4097);
    for version in world.each::<OffsetCommitRequest>(&[2, 7, 9]) {
        let group = StrBytes::from(world.name(&format!("simple{version}")).as_str());
        let node = world.coordinator(&group, 0).await;
        let own = || outside(&topic);
        for (case, commit) in [
            ("a generation of an unknown group", Commit { generation: 3, member: "m", ..own() }),
            ("generation 0 of an unknown group", Commit { generation: 0, ..own() }),
            ("a member of an unknown group", Commit { member: "m", ..own() }),
            ("from outside", own()),
            ("a member without generation", Commit { member: "m", ..own() }),
            ("an instance without generation", Commit { instance: Some("i"), ..own() }),
            ("a generation without member", Commit { generation: 0, ..own() }),
            ("a generation", Commit { generation: 3, member: "m", ..own() }),
            ("generation -2", Commit { generation: -2, ..own() }),
            ("unknown topic", Commit { topic: &absent, ..own() }),
            ("unknown partition", Commit { partition: 2, ..own() }),
            ("partition -1", Commit { partition: -1, ..own() }),
            ("null metadata", Commit { metadata: None, partition: 1, ..own() }),
            ("long metadata", Commit { metadata: Some(&fits), partition: 1, ..own() }),
            ("too long metadata", Commit { metadata: Some(&long), partition: 1, ..own() }),
            ("offset -1", Commit { offset: -1, ..own() }),
            ("offset -9", Commit { offset: -9, ..own() }),
        ] {
            t.say(format!("v{version}, {case}"), commit.send(world, node, &group, version).await);
        }
        let request = fetch_request(&group, Some((&topic, &[0, 1])), 7, false);
        t.say(format!("v{version}, committed"), fetched(&world.ask(node, &request, 7).await).replace(&fits, "fits"));
    }
    for version in world.each::<OffsetCommitRequest>(&[2]) {
        let said = outside(&topic).send(world, world.coordinator("", 0).await, &"".into(), version).await;
        t.say(format!("v{version}, empty group"), said);
    }
}

async fn by_members(world: &World, t: &mut Transcript) {
    let topic = world.topic("by-members", 1, 1, &[]).await;
    let mut a = Member::new(world, "committing").await;
    let (node, group) = (a.node, a.group.clone());
    let look = async |t: &mut Transcript, state: &str, member: &Member<'_>| {
        for version in world.each::<OffsetCommitRequest>(&[2, 7, 9]) {
            let id = member.id.as_str();
            let own = || Commit { generation: member.generation, member: id, ..outside(&topic) };
            for (case, commit) in [
                ("its generation", own()),
                ("an older one", Commit { generation: member.generation - 1, ..own() }),
                ("a newer one", Commit { generation: member.generation + 1, ..own() }),
                ("another member", Commit { member: "nobody", ..own() }),
                ("from outside", outside(&topic)),
                ("from outside as it", Commit { member: id, ..outside(&topic) }),
                ("without member", Commit { member: "", ..own() }),
                ("a strange instance", Commit { instance: Some("i"), ..own() }),
            ] {
                t.say(format!("{state}, v{version}, {case}"), commit.send(world, node, &group, version).await);
            }
        }
    };
    let first = a.join_fully(t, "A").await;
    t.say("join", joined(&first));
    look(t, "completing", &a).await;
    t.say("sync", a.sync(&[]).await);
    look(t, "stable", &a).await;
    let mut b = Member::of(world, &a).await;
    let second = b.join_until_waiting(t, "B").await;
    look(t, "preparing", &a).await;
    let (first, second) = tokio::join!(a.join(), second);
    t.say("joined", joined(&first));
    a.note(&first);
    b.note(&second);
    look(t, "completing again", &a).await;
    t.say("b leaves", b.leave(3).await);
    t.say("a leaves", a.leave(3).await);
    look(t, "empty", &a).await;
}

async fn fetch(world: &World, t: &mut Transcript) {
    let topic = world.topic("fetched", 3, 1, &[]).await;
    let absent = Topic { name: StrBytes::from(world.name("absent").as_str()), id: Uuid([4; 16]), ..topic.clone() };
    let group = StrBytes::from(world.name("fetching").as_str());
    let none = StrBytes::from(world.name("never-seen").as_str());
    let node = world.coordinator(&group, 0).await;
    let node_of_none = world.coordinator(&none, 0).await;
    Commit { partition: 1, ..outside(&topic) }.send(world, node, &group, 6).await;
    for version in world.each::<OffsetFetchRequest>(&[1, 2, 5, 7, 8, 9]) {
        for (case, node, group, of) in [
            ("some", node, &group, Some((&topic, &[0, 1, 2][..]))),
            ("all", node, &group, None),
            ("unknown group", node_of_none, &none, Some((&topic, &[0]))),
            ("all of an unknown group", node_of_none, &none, None),
            ("unknown partition", node, &group, Some((&topic, &[7, -1]))),
            ("unknown topic", node, &group, Some((&absent, &[0]))),
            ("no partitions", node, &group, Some((&topic, &[]))),
        ] {
            if version >= 2 || of.is_some() {
                let request = fetch_request(group, of, version, false);
                t.say(
                    format!("{}, {case}", at::<OffsetFetchRequest>(version)),
                    fetched(&world.ask(node, &request, version).await),
                );
            }
        }
    }
    let mut request = fetch_request(&group, None, 8, false);
    request.groups[0].topics = Some(Vec::new());
    t.say("no topics", fetched(&world.ask(node, &request, 8).await));
}

async fn delete(world: &World, t: &mut Transcript) {
    let topic = world.topic("unsubscribed", 2, 1, &[]).await;
    let other = world.topic("subscribed", 1, 1, &[]).await;
    let absent = Topic { name: StrBytes::from(world.name("absent").as_str()), ..topic.clone() };
    let mut a = Member::new(world, "deleting").await;
    a.topics = vec![other.name.to_string()];
    let (node, group) = (a.node, a.group.clone());
    let ask = async |group: &StrBytes, topic: &Topic, partition_index: i32| {
        let partitions = vec![offset_delete::RequestPartition { partition_index }];
        let topics = vec![offset_delete::RequestTopic { name: topic.name.clone(), partitions }];
        let answer = world.ask(node, &OffsetDeleteRequest { group_id: group.clone(), topics }, 0).await;
        let codes: Vec<_> =
            answer.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code.to_string()).collect();
        format!("{} {}", answer.error_code, codes.join(" "))
    };
    t.say("unknown group", ask(&group, &topic, 0).await);
    for topic in [&topic, &other] {
        outside(topic).send(world, node, &group, 6).await;
    }
    t.say("no members", ask(&group, &topic, 0).await);
    t.say("nothing there", ask(&group, &topic, 1).await);
    t.say("unknown partition", ask(&group, &topic, 7).await);
    t.say("unknown topic", ask(&group, &absent, 0).await);
    a.join_fully(t, "A").await;
    for state in ["completing", "stable"] {
        t.say(format!("{state}, subscribed"), ask(&group, &other, 0).await);
        t.say(format!("{state}, not subscribed"), ask(&group, &topic, 0).await);
        t.say(format!("{state}, unknown topic"), ask(&group, &absent, 0).await);
        a.sync(&[]).await;
    }
    a.leave(3).await;
    t.say("all gone", ask(&group, &other, 0).await);
    t.say("what is left", fetched(&world.ask(node, &fetch_request(&group, None, 8, false), 8).await));
}
