//! JoinGroup: who may become a member.

use super::Transcript;
use super::client::World;
use super::member::{Member, joined};
use crate::wire::ErrorCode;
use crate::wire::messages::*;

super::scenarios! { "joining": first refused protocols versions }

async fn first(world: &World, t: &mut Transcript) {
    for version in world.each::<JoinGroupRequest>(&[0, 1, 2, 3, 4, 5, 6, 7, 8]) {
        let mut a = Member::new(world, &format!("first{version}")).await;
        let answer = a.join_at(version).await;
        t.alias(&answer.member_id, "A");
        t.say(format!("v{version}, without id"), joined(&answer));
        a.note(&answer);
        if answer.error_code == ErrorCode::MEMBER_ID_REQUIRED {
            let answer = a.join_at(version).await;
            t.say(format!("v{version}, with it"), joined(&answer));
            a.note(&answer);
        }
        t.say(format!("v{version}, its heartbeat"), a.heartbeat().await);
        t.say(format!("v{version}, again"), joined(&a.join_at(version).await));
    }
}

async fn refused(world: &World, t: &mut Transcript) {
    for version in world.each::<JoinGroupRequest>(&[0, 3, 4]) {
        let a = Member::new(world, &format!("refused{version}")).await;
        let good = a.request(version);
        for (case, request) in [
            ("empty group", JoinGroupRequest { group_id: "".into(), ..good.clone() }),
            ("short session", JoinGroupRequest { session_timeout_ms: 999, ..good.clone() }),
            ("long session", JoinGroupRequest { session_timeout_ms: 1_800_001, ..good.clone() }),
            ("negative session", JoinGroupRequest { session_timeout_ms: -1, ..good.clone() }),
            ("unknown member", JoinGroupRequest { member_id: "nobody".into(), ..good.clone() }),
            ("no protocol type", JoinGroupRequest { protocol_type: "".into(), ..good.clone() }),
            ("no protocols", JoinGroupRequest { protocols: Vec::new(), ..good.clone() }),
        ] {
            let node = if request.group_id.is_empty() { world.coordinator("", 0).await } else { a.node };
            let answer = world.ask(node, &request, version).await;
            t.say(format!("v{version}, {case}"), joined(&answer));
        }
        if version >= 5 {
            let request = JoinGroupRequest { member_id: "nobody".into(), group_instance_id: Some("i".into()), ..good };
            t.say(format!("v{version}, unknown static member"), joined(&world.ask(a.node, &request, version).await));
        }
    }
    let mut a = Member::new(world, "refused-stable").await;
    a.join_fully(t, "A").await;
    for state in ["completing", "stable"] {
        for version in world.each::<JoinGroupRequest>(&[3, 5]) {
            let unknown = Member { id: "nobody".into(), ..Member::of(world, &a).await };
            t.say(format!("{state}, v{version}, unknown member"), joined(&unknown.join_at(version).await));
            let strange = Member { id: "nobody".into(), instance: Some("i"), ..Member::of(world, &a).await };
            t.say(format!("{state}, v{version}, unknown static member"), joined(&strange.join_at(version).await));
        }
        a.sync(&[]).await;
    }
}

async fn protocols(world: &World, t: &mut Transcript) {
    let mut a = Member { protocols: vec!["range", "roundrobin"], ..Member::new(world, "protocols").await };
    a.join_fully(t, "A").await;
    for state in ["completing", "stable"] {
        for version in world.each::<JoinGroupRequest>(&[3, 5]) {
            let other = Member { protocols: vec!["sticky"], ..Member::of(world, &a).await };
            t.say(format!("{state}, v{version}, nothing in common"), joined(&other.join_at(version).await));
            let mut connect = Member::of(world, &a).await.request(version);
            connect.protocol_type = "connect".into();
            t.say(format!("{state}, v{version}, another type"), joined(&world.ask(a.node, &connect, version).await));
            connect.protocol_type = "".into();
            t.say(format!("{state}, v{version}, no type"), joined(&world.ask(a.node, &connect, version).await));
        }
        a.sync(&[]).await;
    }
    let mut b = Member { protocols: vec!["sticky", "roundrobin"], ..Member::of(world, &a).await };
    let second = b.join_until_waiting(t, "B").await;
    let (first, second) = tokio::join!(a.join(), second);
    t.say("a", joined(&first));
    t.say("b", joined(&second));
    a.note(&first);
    b.note(&second);
    // The member that is there changes its mind to what the other does not know.
    let changed = Member { protocols: vec!["range"], id: a.id.clone(), ..Member::of(world, &a).await };
    t.say("a without the common one", joined(&changed.join().await));
    t.say("a's heartbeat", a.heartbeat().await);
    // When all have gone, another type may come.
    a.leave(3).await;
    b.leave(3).await;
    let mut connect = Member::of(world, &a).await.request(3);
    connect.protocol_type = "connect".into();
    let answer = world.ask(a.node, &connect, 3).await;
    t.alias(&answer.member_id, "C");
    t.say("another type in an empty group", joined(&answer));
}

/// Members of different versions in one group.
async fn versions(world: &World, t: &mut Transcript) {
    let mut a = Member::new(world, "mixed").await;
    let answer = a.join_at(2).await;
    a.note(&answer);
    t.alias(&a.id, "A");
    t.say("a", joined(&answer));
    a.sync(&[]).await;
    let mut b = Member::of(world, &a).await;
    let second = b.join_until_waiting(t, "B").await;
    let (first, second) = tokio::join!(a.join_at(2), second);
    t.say("a again", joined(&first));
    t.say("b", joined(&second));
}
