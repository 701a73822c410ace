//! Static members (KIP-345, KIP-814): those that come back, and those that are fenced.

use super::Transcript;
use super::client::World;
use super::member::{Member, joined};
use super::offset_requests::Commit;
use crate::wire::messages::*;

super::scenarios! { "statics": statics static_leaders }

async fn statics(world: &World, t: &mut Transcript) {
    for version in world.each::<JoinGroupRequest>(&[5, 8]) {
        let mut a = Member::new(world, &format!("static{version}")).await;
        let mut b = Member { instance: Some("two"), ..Member::of(world, &a).await };
        a.instance = Some("one");
        let first = a.join_at(version).await;
        a.note(&first);
        t.alias(&a.id, "A");
        t.say(format!("v{version}, a joins"), joined(&first));
        t.say("a syncs", a.sync(&[]).await);
        let second = b.wait_in_line(version).await;
        let (first, second) = tokio::join!(a.join_at(version), second);
        a.note(&first);
        b.note(&second);
        t.alias(&b.id, "B");
        t.say(format!("v{version}, a joined"), joined(&first));
        t.say(format!("v{version}, b joined"), joined(&second));
        let ids = [a.id.clone(), b.id.clone()];
        t.say("a plans", a.sync(&[(&ids[0], b"for a"), (&ids[1], b"for b")]).await);
        t.say("b syncs", b.sync(&[]).await);
        // A follower that restarts.
        let mut again = Member { instance: Some("two"), ..Member::of(world, &a).await };
        let rejoined = again.join_at(version).await;
        again.note(&rejoined);
        t.alias(&again.id, "B2");
        t.say(format!("v{version}, b is back"), joined(&rejoined));
        t.say("b2 syncs", again.sync(&[]).await);
        t.say("old b's heartbeat", b.heartbeat().await);
        t.say("old b's sync", b.sync(&[]).await);
        t.say(format!("v{version}, old b's join"), joined(&b.join_at(version).await));
        let topic = world.topic(&format!("of-statics{version}"), 1, 1, &[]).await;
        let commit = |m: &Member<'_>| (m.generation, m.id.clone());
        for (case, (generation, id)) in [("old b", commit(&b)), ("b2", commit(&again))] {
            let commit = Commit {
                generation,
                member: &id,
                instance: Some("two"),
                topic: &topic,
                partition: 0,
                offset: 1,
                metadata: None,
            };
            t.say(format!("{case} commits"), commit.send(world, a.node, &a.group, 7).await);
        }
        t.say("old b leaves", b.leave(3).await);
        t.say("a's heartbeat", a.heartbeat().await);
        t.say(
            "a strange instance's heartbeat",
            Member { instance: Some("x"), ..Member::of(world, &a).await.introduced(&a) }.heartbeat().await,
        );
        let other = Member { instance: Some("two"), ..Member::of(world, &a).await.introduced(&a) };
        t.say("a as two", other.heartbeat().await);
        t.say(format!("v{version}, a joins as two"), joined(&other.join_at(version).await));
        t.say("two is sent away", a.send_away(&[("", Some("two"))], 3).await);
        t.say("b2's heartbeat", again.heartbeat().await);
        t.say("a is called", a.heartbeat().await);
    }
}

async fn static_leaders(world: &World, t: &mut Transcript) {
    for version in world.each::<JoinGroupRequest>(&[5, 8, 9]) {
        let mut a = Member { instance: Some("one"), ..Member::new(world, &format!("static-leader{version}")).await };
        let first = a.join_at(version).await;
        a.note(&first);
        t.alias(&a.id, "A");
        a.sync(&[(&a.id, b"for a")]).await;
        let mut again = Member { instance: Some("one"), ..Member::of(world, &a).await };
        let rejoined = again.join_at(version).await;
        again.note(&rejoined);
        t.alias(&again.id, "A2");
        t.say(format!("v{version}, the leader is back"), joined(&rejoined));
        t.say("it syncs", again.sync(&[]).await);
        t.say("its heartbeat", again.heartbeat().await);
        // With another protocol there has to be a rebalance.
        let mut other = Member { instance: Some("one"), protocols: vec!["roundrobin"], ..Member::of(world, &a).await };
        let rejoined = other.join_at(version).await;
        other.note(&rejoined);
        t.alias(&other.id, "A3");
        t.say(format!("v{version}, with another protocol"), joined(&rejoined));
        // And while its plan is awaited.
        let mut last = Member { instance: Some("one"), protocols: vec!["roundrobin"], ..Member::of(world, &a).await };
        let rejoined = last.join_at(version).await;
        last.note(&rejoined);
        t.alias(&last.id, "A4");
        t.say(format!("v{version}, while completing"), joined(&rejoined));
    }
}
