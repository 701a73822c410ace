//! Members of classic groups after their first join: heartbeats, SyncGroup, leaving, static members, sessions that end.

use std::pin::Pin;

use bytes::Bytes;

use super::Transcript;
use super::client::World;
use super::commits::Commit;
use super::help::at;
use crate::wire::messages::consumer_protocol::{Blob, ConsumerProtocolSubscription};
use crate::wire::messages::*;
use crate::wire::{ErrorCode, StrBytes};

super::scenarios! { "members": two leaving statics static_leaders expiry }

/// A member of a group, as far as its client knows.
pub(super) struct Member<'a> {
    pub(super) world: &'a World,
    pub(super) group: StrBytes,
    pub(super) node: i32,
    pub(super) id: String,
    pub(super) instance: Option<&'static str>,
    pub(super) generation: i32,
    pub(super) topics: Vec<String>,
    pub(super) protocols: Vec<&'static str>,
    pub(super) session_ms: i32,
    pub(super) rebalance_ms: i32,
}

/// A JoinGroup that waits.
pub(super) type Joining<'a> = Pin<Box<dyn Future<Output = JoinGroupResponse> + 'a>>;

impl<'a> Member<'a> {
    /// Of a group of its own.
    pub(super) async fn new(world: &'a World, group: &str) -> Self {
        let group = world.name(group);
        let node = world.coordinator(&group, 0).await;
        Self {
            world,
            group: group.as_str().into(),
            node,
            id: String::new(),
            instance: None,
            generation: -1,
            topics: vec!["t".into()],
            protocols: vec!["range"],
            session_ms: 20_000,
            rebalance_ms: 20_000,
        }
    }

    /// Another one of the same group.
    pub(super) async fn of(world: &'a World, other: &Member<'a>) -> Self {
        Self { group: other.group.clone(), node: other.node, ..Self::new(world, "unused").await }
    }

    pub(super) fn request(&self, version: i16) -> JoinGroupRequest {
        let topics = self.topics.iter().map(|t| t.as_str().into()).collect();
        let metadata = ConsumerProtocolSubscription { topics, ..Default::default() }.to_blob(0).unwrap();
        let protocol = |name: &&str| join_group::Protocol { name: (*name).into(), metadata: metadata.clone() };
        JoinGroupRequest {
            group_id: self.group.clone(),
            session_timeout_ms: self.session_ms,
            rebalance_timeout_ms: self.rebalance_ms,
            member_id: self.id.as_str().into(),
            group_instance_id: self.instance.filter(|_| version >= 5).map(Into::into),
            protocol_type: "consumer".into(),
            protocols: self.protocols.iter().map(protocol).collect(),
            reason: None,
        }
    }

    pub(super) async fn join(&self) -> JoinGroupResponse {
        self.join_at(9).await
    }

    pub(super) async fn join_at(&self, version: i16) -> JoinGroupResponse {
        self.world.ask(self.node, &self.request(version), version).await
    }

    /// Keeps what it was told.
    pub(super) fn note(&mut self, joined: &JoinGroupResponse) {
        self.id = joined.member_id.to_string();
        self.generation = joined.generation_id;
    }

    /// Gets an id, and another name for it in the transcript.
    pub(super) async fn introduce(&mut self, t: &mut Transcript, alias: &str) {
        let first = self.join().await;
        assert_eq!(first.error_code, ErrorCode::MEMBER_ID_REQUIRED);
        self.id = first.member_id.to_string();
        t.alias(&self.id, alias);
    }

    /// Joins, if nobody else has to.
    pub(super) async fn join_fully(&mut self, t: &mut Transcript, alias: &str) -> JoinGroupResponse {
        if self.instance.is_none() {
            self.introduce(t, alias).await;
        }
        let joined = self.join().await;
        self.note(&joined);
        t.alias(&self.id, alias);
        joined
    }

    /// Joins a group whose members will have to join again; done when they are called to.
    pub(super) async fn join_until_waiting(&mut self, t: &mut Transcript, alias: &str) -> Joining<'a> {
        self.introduce(t, alias).await;
        self.wait_in_line(9).await
    }

    pub(super) async fn wait_in_line(&self, version: i16) -> Joining<'a> {
        let (world, node, request) = (self.world, self.node, self.request(version));
        let mut joining: Joining<'a> = Box::pin(async move { world.ask(node, &request, version).await });
        tokio::select! {
            joined = &mut joining => panic!("joined at once: {joined:?}"),
            () = self.until_state("PreparingRebalance") => {}
        }
        joining
    }

    pub(super) async fn until_state(&self, state: &str) {
        let request = DescribeGroupsRequest { groups: vec![self.group.clone()], ..Default::default() };
        let found = async || {
            let answer = self.world.ask(self.node, &request, 5).await;
            (answer.groups[0].group_state == *state).then_some(())
        };
        self.world.until(state, found).await;
    }

    /// SyncGroup in words; `assign` is the leader's plan.
    pub(super) async fn sync(&self, assign: &[(&str, &'static [u8])]) -> String {
        synced(&self.world.ask(self.node, &self.sync_request(assign, 5), 5).await)
    }

    pub(super) fn sync_request(&self, assign: &[(&str, &'static [u8])], version: i16) -> SyncGroupRequest {
        let assignment = |(id, bytes): &(&str, &'static [u8])| sync_group::Assignment {
            member_id: (*id).into(),
            assignment: Bytes::from_static(bytes),
        };
        SyncGroupRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            group_instance_id: self.instance.filter(|_| version >= 3).map(Into::into),
            protocol_type: (version >= 5).then(|| "consumer".into()),
            protocol_name: (version >= 5).then(|| self.protocols[0].into()),
            assignments: assign.iter().map(assignment).collect(),
        }
    }

    pub(super) async fn heartbeat(&self) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.id.as_str().into(),
            group_instance_id: self.instance.map(Into::into),
        };
        self.world.ask(self.node, &request, 4).await.error_code
    }

    /// LeaveGroup in words.
    pub(super) async fn leave(&self, version: i16) -> String {
        self.send_away(&[(&self.id, self.instance)], version).await
    }

    pub(super) async fn send_away(&self, who: &[(&str, Option<&str>)], version: i16) -> String {
        let member = |(id, instance): &(&str, Option<&str>)| leave_group::MemberIdentity {
            member_id: (*id).into(),
            group_instance_id: instance.map(Into::into),
            reason: None,
        };
        let request = LeaveGroupRequest {
            group_id: self.group.clone(),
            member_id: if version < 3 { who[0].0.into() } else { StrBytes::default() },
            members: if version < 3 { Vec::new() } else { who.iter().map(member).collect() },
        };
        let answer = self.world.ask(self.node, &request, version).await;
        let members =
            answer.members.iter().map(|m| format!("{} {:?} {}", m.member_id, m.group_instance_id, m.error_code));
        format!("{} {:?}", answer.error_code, members.collect::<Vec<_>>())
    }
}

/// A JoinGroup answer in words.
pub(super) fn joined(r: &JoinGroupResponse) -> String {
    let mut members: Vec<_> =
        r.members.iter().map(|m| format!("{:?}/{}", m.group_instance_id.as_deref(), m.metadata.len())).collect();
    members.sort();
    let protocol = (r.protocol_type.as_deref(), r.protocol_name.as_deref());
    let skip = if r.skip_assignment { " skip" } else { "" };
    let (leader, member) = (r.leader.as_str(), r.member_id.as_str());
    format!(
        "{} generation {} {protocol:?} leader {leader:?} me {member:?} {members:?}{skip}",
        r.error_code, r.generation_id
    )
}

/// A SyncGroup answer in words.
pub(super) fn synced(r: &SyncGroupResponse) -> String {
    let protocol = (r.protocol_type.as_deref(), r.protocol_name.as_deref());
    format!("{} {protocol:?} {:?}", r.error_code, r.assignment)
}

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
        Member { topics: vec!["u".into()], ..Member::of(world, &a).await }.introduced(&a).wait_in_line(9).await
    };
    let (told, rejoining) = tokio::join!(waiting, rejoin);
    t.say("b is told", told);
    let (first, second) = tokio::join!(rejoining, b.join());
    t.say("a with another subscription", joined(&first));
    t.say("b once more", joined(&second));
}

impl Member<'_> {
    /// The same member with other wishes.
    fn introduced(self, same: &Self) -> Self {
        Self { id: same.id.clone(), generation: same.generation, ..self }
    }
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
