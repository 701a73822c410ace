//! A member of a classic group, as scenarios play one.

use std::pin::Pin;

use bytes::Bytes;

use super::Transcript;
use super::client::World;
use crate::wire::messages::consumer_protocol::{Blob, ConsumerProtocolSubscription};
use crate::wire::messages::*;
use crate::wire::{ErrorCode, StrBytes};

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

impl Member<'_> {
    /// The same member with other wishes.
    pub(super) fn introduced(self, same: &Self) -> Self {
        Self { id: same.id.clone(), generation: same.generation, ..self }
    }
}
