//! A coordinator in virtual time, and what members say to it.
#![allow(clippy::disallowed_methods)]

mod admin;
mod commits;
mod failing;
mod joining;
mod leaving;
mod order;
mod sessions;
mod statics;
mod syncing;

use std::collections::BTreeMap;

use super::*;
use crate::wire::StrBytes;
use crate::wire::messages::consumer_protocol::{Blob, ConsumerProtocolSubscription};
use crate::wire::messages::join_group::Protocol;
use crate::wire::messages::leave_group::MemberIdentity;
use crate::wire::messages::sync_group::Assignment;

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);
const MS: Duration = Duration::from_millis(1);
const NONE: ErrorCode = ErrorCode::NONE;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// One side of all requests to group `g`, with the answers that came.
struct Bench {
    groups: Groups,
    now: Instant,
    token: Token,
    ids: u32,
    replies: BTreeMap<Token, Reply>,
}

/// A JoinGroup to be sent.
#[derive(Clone)]
struct Ask {
    version: i16,
    request: JoinGroupRequest,
}

fn subscription(topics: &[&str]) -> bytes::Bytes {
    let topics = topics.iter().map(|&topic| topic.into()).collect();
    ConsumerProtocolSubscription { topics, ..Default::default() }.to_blob(1).unwrap()
}

fn protocols(names: &[&str]) -> Vec<Protocol> {
    let protocol = |&name: &&str| Protocol { name: name.into(), metadata: subscription(&["t"]) };
    names.iter().map(protocol).collect()
}

/// As Java's consumer asks, with a known member id or none.
fn ask(member_id: &str) -> Ask {
    let request = JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: SESSION.as_millis() as i32,
        rebalance_timeout_ms: REBALANCE.as_millis() as i32,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: protocols(&["range", "sticky"]),
        ..Default::default()
    };
    Ask { version: 9, request }
}

impl Ask {
    fn version(self, version: i16) -> Self {
        Self { version, ..self }
    }

    fn with(mut self, change: impl FnOnce(&mut JoinGroupRequest)) -> Self {
        change(&mut self.request);
        self
    }

    fn instance(self, id: &str) -> Self {
        self.with(|r| r.group_instance_id = Some(id.into()))
    }

    fn protocols(self, names: &[&str]) -> Self {
        self.with(|r| r.protocols = protocols(names))
    }
}

impl Bench {
    fn new() -> Self {
        Self::with_delay(Duration::ZERO)
    }

    fn with_delay(initial_rebalance_delay: Duration) -> Self {
        let groups = Groups::new(Settings { initial_rebalance_delay, ..Default::default() });
        Self { groups, now: Instant::now(), token: 0, ids: 0, replies: BTreeMap::new() }
    }

    /// A stable group of `n` dynamic members, the first leads.
    fn stable(n: usize) -> (Self, Vec<String>) {
        let mut bench = Self::with_delay(secs(3));
        let members: Vec<_> = (0..n).map(|_| bench.member()).collect();
        bench.pass(secs(6));
        let ids: Vec<_> = members.iter().map(|(id, _)| id.clone()).collect();
        bench.sync_all(&ids);
        assert_eq!(bench.state(), "Stable");
        (bench, ids)
    }

    fn collect(&mut self) {
        for reply in self.groups.take_replies() {
            assert_eq!(self.replies.insert(reply.token(), reply), None, "answered twice");
        }
        assert!(self.groups.next_timeout().is_none_or(|at| at > self.now), "left behind");
    }

    /// Time passes, and every deadline on the way is kept.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.groups.next_timeout().filter(|&at| at <= until) {
            self.now = at;
            self.groups.on_time(at);
            self.collect();
        }
        self.now = until;
    }

    fn next_token(&mut self) -> Token {
        self.token += 1;
        self.token
    }

    fn join(&mut self, ask: Ask) -> Token {
        let token = self.next_token();
        let client = Client { client_id: "c".into(), host: "/127.0.0.1".into() };
        self.ids += 1;
        let id = self.ids;
        self.groups.join(self.now, &client, ask.version, ask.request, token, || id.to_string());
        self.collect();
        token
    }

    /// A new dynamic member up to its second JoinGroup.
    fn member(&mut self) -> (String, Token) {
        let token = self.join(ask(""));
        let required = self.joined(token);
        assert_eq!(required.error_code, ErrorCode::MEMBER_ID_REQUIRED);
        let id = required.member_id.to_string();
        let token = self.join(ask(&id));
        (id, token)
    }

    fn waits(&self, token: Token) -> bool {
        !self.replies.contains_key(&token)
    }

    #[track_caller]
    fn joined(&mut self, token: Token) -> JoinGroupResponse {
        match self.replies.get(&token) {
            Some(Reply::Join(_, response)) => response.clone(),
            other => panic!("no answer to a JoinGroup: {other:?}"),
        }
    }

    #[track_caller]
    fn synced(&mut self, token: Token) -> SyncGroupResponse {
        match self.replies.get(&token) {
            Some(Reply::Sync(_, response)) => response.clone(),
            other => panic!("no answer to a SyncGroup: {other:?}"),
        }
    }

    fn send_sync(&mut self, version: i16, request: SyncGroupRequest) -> Token {
        let token = self.next_token();
        self.groups.sync(self.now, version, request, token);
        self.collect();
        token
    }

    fn sync(&mut self, id: &str, assigned: &[&str]) -> Token {
        let request = self.sync_request(id, assigned);
        self.send_sync(5, request)
    }

    /// Each assigned member gets its own id as assignment.
    fn sync_request(&self, id: &str, assigned: &[&str]) -> SyncGroupRequest {
        let assignment =
            |&id: &&str| Assignment { member_id: id.into(), assignment: bytes::Bytes::copy_from_slice(id.as_bytes()) };
        SyncGroupRequest {
            group_id: "g".into(),
            generation_id: self.generation(),
            member_id: id.into(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: assigned.iter().map(assignment).collect(),
            ..Default::default()
        }
    }

    /// All members sync, the leader, which is the first, last.
    fn sync_all(&mut self, ids: &[String]) {
        let assigned: Vec<_> = ids.iter().map(String::as_str).collect();
        for id in ids.iter().skip(1) {
            self.sync(id, &[]);
        }
        self.sync(&ids[0], &assigned);
    }

    fn beat(&mut self, id: &str, generation: i32) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: "g".into(),
            generation_id: generation,
            member_id: id.into(),
            ..Default::default()
        };
        let code = self.groups.heartbeat(self.now, &request);
        self.collect();
        code
    }

    fn leave(&mut self, version: i16, members: &[(&str, Option<&str>)]) -> LeaveGroupResponse {
        let identity = |&(id, instance): &(&str, Option<&str>)| MemberIdentity {
            member_id: id.into(),
            group_instance_id: instance.map(StrBytes::from),
            reason: None,
        };
        let member_id = if version < 3 { members[0].0.into() } else { StrBytes::default() };
        let members = if version < 3 { Vec::new() } else { members.iter().map(identity).collect() };
        let request = LeaveGroupRequest { group_id: "g".into(), member_id, members };
        let response = self.groups.leave(self.now, version, &request);
        self.collect();
        response
    }

    fn state(&self) -> &'static str {
        self.groups.state("g").unwrap_or("Dead")
    }

    fn generation(&self) -> i32 {
        self.groups.groups["g"].generation
    }

    fn may_commit(&mut self, generation: i32, member_id: &str) -> Result<(), ErrorCode> {
        let by = Committer { group: "g", generation, member_id, instance_id: None };
        self.groups.may_commit(self.now, 8, by)
    }
}

fn stored(offset: i64) -> Stored {
    Stored { offset, leader_epoch: -1, metadata: String::new() }
}
