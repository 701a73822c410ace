//! Members of classic groups after their first join: heartbeats, SyncGroup, leaving, sessions that end.

use super::Transcript;
use super::client::World;
use super::help::at;
use super::member::{Member, joined, synced};
use crate::wire::ErrorCode;
use crate::wire::messages::*;

super::scenarios! { "members": two leaving expiry }

async fn two(world: &World, t: &mut Transcript) {
    let mut a = Member::new(world, "two").await;
    t.say("heartbeat of an unknown group", a.heartbeat().await);
    t.say("sync of an unknown group", a.sync(&[]).await);
    let first = a.join_fully(t, "A").await;
    t.say("a joins", joined(&first));
    t.say("heartbeat while completing", a.heartbeat().await);
    t.say("a joins again", joined(&a.join().await));
    for (case, change) in [("older", -1), ("newer", 1)] {
        let other = Member { generation: a.generation + change, id: a.id.clone(), ..Member::of(world, &a).await };
        t.say(format!("heartbeat, {case}"), other.heartbeat().await);
        t.say(format!("sync, {case}"), other.sync(&[]).await);
    }
    let nobody = Member { generation: a.generation, id: "nobody".into(), ..Member::of(world, &a).await };
    t.say("heartbeat, unknown", nobody.heartbeat().await);
    t.say("sync, unknown", nobody.sync(&[]).await);
    let wrong =
        Member { protocols: vec!["other"], generation: a.generation, id: a.id.clone(), ..Member::of(world, &a).await };
    t.say("sync, another protocol", wrong.sync(&[]).await);
    let mut request = a.sync_request(&[], 5);
    request.protocol_type = Some("connect".into());
    t.say("sync, another type", synced(&world.ask(a.node, &request, 5).await));
    request.protocol_type = None;
    t.say("sync, no type", synced(&world.ask(a.node, &request, 5).await));
    let id = a.id.clone();
    t.say("sync", a.sync(&[(&id, b"one"), ("nobody", b"two")]).await);
    for version in world.each::<SyncGroupRequest>(&[0, 3, 5]) {
        let answer = world.ask(a.node, &a.sync_request(&[], version), version).await;
        t.say(format!("{}, stable", at::<SyncGroupRequest>(version)), synced(&answer));
    }
    t.say("heartbeat while stable", a.heartbeat().await);

    let mut b = Member::of(world, &a).await;
    let second = b.join_until_waiting(t, "B").await;
    t.say("heartbeat while preparing", a.heartbeat().await);
    t.say("sync while preparing", a.sync(&[]).await);
    b.generation = 0;
    t.say("heartbeat of a member that waits", b.heartbeat().await);
    b.generation = a.generation;
    t.say("heartbeat of a member that waits, the generation", b.heartbeat().await);
    let (first, second) = tokio::join!(a.join(), second);
    t.say("a joined", joined(&first));
    t.say("b joined", joined(&second));
    a.note(&first);
    b.note(&second);
    t.say("a asks again", joined(&a.join().await));
    t.say("b asks again", joined(&b.join().await));
    let ids = [a.id.clone(), b.id.clone()];
    let plan: [(&str, &'static [u8]); 2] = [(&ids[0], b"first"), (&ids[1], b"second")];
    let (late, plan) = tokio::join!(b.sync(&[]), async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        a.sync(&plan).await
    });
    t.say("a synced", plan);
    t.say("b synced", late);
    t.say("b asks again", joined(&b.join().await));
    t.say("b still has it", b.sync(&[]).await);
    // The leader that asks again wants a rebalance.
    let again = a.wait_in_line(9).await;
    t.say("b is called", b.heartbeat().await);
    let (first, second) = tokio::join!(again, b.join());
    t.say("a joined again", joined(&first));
    t.say("b joined again", joined(&second));
    a.note(&first);
    b.note(&second);
    // Whoever waits for a plan is told when there will be none.
    let waiting = b.sync(&[]);
    let rejoin = async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let changed = Member { topics: vec!["u".into()], ..Member::of(world, &a).await }.introduced(&a);
        Some(changed.wait_in_line(9).await)
    };
    let (told, rejoining) = tokio::join!(waiting, rejoin);
    t.say("b is told", told);
    let (first, second) = tokio::join!(rejoining.unwrap(), b.join());
    t.say("a with another subscription", joined(&first));
    t.say("b once more", joined(&second));
}

async fn leaving(world: &World, t: &mut Transcript) {
    for version in world.each::<LeaveGroupRequest>(&[0, 2, 3, 5]) {
        let mut a = Member::new(world, &format!("leaving{version}")).await;
        let who = |id| [(id, None)];
        t.say(format!("v{version}, unknown group"), a.send_away(&who("nobody"), version).await);
        a.join_fully(t, "A").await;
        a.sync(&[]).await;
        t.say(format!("v{version}, unknown member"), a.send_away(&who("nobody"), version).await);
        t.say(format!("v{version}, empty member"), a.send_away(&who(""), version).await);
        if version >= 3 {
            t.say(format!("v{version}, unknown instance"), a.send_away(&[("", Some("i"))], version).await);
            t.say(format!("v{version}, wrong instance"), a.send_away(&[(&a.id, Some("i"))], version).await);
            t.say(format!("v{version}, nobody"), a.send_away(&[], version).await);
            t.say(format!("v{version}, two"), a.send_away(&[("nobody", None), (&a.id, None)], version).await);
        } else {
            t.say(format!("v{version}, a"), a.leave(version).await);
        }
        t.say(format!("v{version}, again"), a.leave(version).await);
        t.say(format!("v{version}, heartbeat"), a.heartbeat().await);
        a.id.clear();
        a.introduce(t, "P").await;
        t.say(format!("v{version}, a member that did not come"), a.leave(version).await);
        t.say(format!("v{version}, it comes all the same"), joined(&a.join().await));
    }
    let request = LeaveGroupRequest { member_id: "m".into(), ..Default::default() };
    t.say("empty group", world.ask(world.coordinator("", 0).await, &request, 2).await.error_code);
    // The others are called.
    let mut a = Member::new(world, "left").await;
    a.join_fully(t, "A").await;
    a.sync(&[]).await;
    let mut b = Member::of(world, &a).await;
    let second = b.join_until_waiting(t, "B").await;
    let (first, second) = tokio::join!(a.join(), second);
    a.note(&first);
    b.note(&second);
    t.say("the leader leaves", a.leave(3).await);
    t.say("b is called", b.heartbeat().await);
    t.say("b joins", joined(&b.join().await));
}

async fn expiry(world: &World, t: &mut Transcript) {
    let mut a = Member { session_ms: 1000, ..Member::new(world, "expiring").await };
    a.join_fully(t, "A").await;
    a.sync(&[]).await;
    let mut b = Member::of(world, &a).await;
    let second = b.join_until_waiting(t, "B").await;
    let (first, second) = tokio::join!(a.join(), second);
    a.note(&first);
    b.note(&second);
    a.sync(&[]).await;
    t.say("b syncs", b.sync(&[]).await);
    let called = world.until("call", async || {
        let code = b.heartbeat().await;
        (code != ErrorCode::NONE).then_some(code)
    });
    t.say("a is silent, b hears", called.await);
    t.say("a's heartbeat", a.heartbeat().await);
    t.say("a's sync", a.sync(&[]).await);
    t.say("a's join", joined(&a.join().await));
    t.say("b joins", joined(&b.join().await));
    // Who does not come to a rebalance is left out.
    let mut c = Member { rebalance_ms: 500, ..Member::new(world, "slow").await };
    c.join_fully(t, "C").await;
    c.sync(&[]).await;
    let mut d = Member { rebalance_ms: 500, ..Member::of(world, &c).await };
    let fourth = d.join_until_waiting(t, "D").await;
    t.say("d goes on alone", joined(&fourth.await));
    t.say("c's heartbeat", c.heartbeat().await);
    // Nobody plans.
    d.generation = 2;
    d.until_state("Empty").await;
    t.say("d's heartbeat", d.heartbeat().await);
}
