//! What Kafka keeps of a group in `__consumer_offsets`, and how a coordinator that reads it begins: the last completed
//! generation with its members, and the offsets. Used when a coordinator dies and when the cluster is stored on disk.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::group::{Group, State};
use super::member::Member;
use super::offsets::{Offsets, Stored};
use super::{Client, Groups};
use crate::wire::ErrorCode;

/// A group as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::embedded) struct SavedGroup {
    pub(in crate::embedded) id: String,
    pub(in crate::embedded) metadata: SavedMetadata,
    pub(in crate::embedded) offsets: Vec<SavedOffset>,
    /// With the producer whose transaction has not ended.
    pub(in crate::embedded) pending_offsets: Vec<(i64, SavedOffset)>,
}

/// The last completed generation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::embedded) struct SavedMetadata {
    pub(in crate::embedded) generation: i32,
    pub(in crate::embedded) protocol_type: Option<String>,
    pub(in crate::embedded) protocol: Option<String>,
    pub(in crate::embedded) leader: Option<String>,
    pub(in crate::embedded) members: Vec<SavedMember>,
}

/// A member. Of its protocols only the one in use is kept, so that it may have to rebalance when it joins again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::embedded) struct SavedMember {
    pub(in crate::embedded) id: String,
    pub(in crate::embedded) instance_id: Option<String>,
    pub(in crate::embedded) client_id: String,
    pub(in crate::embedded) host: String,
    pub(in crate::embedded) session_timeout: Duration,
    pub(in crate::embedded) rebalance_timeout: Duration,
    pub(in crate::embedded) subscription: Vec<u8>,
    pub(in crate::embedded) assignment: Vec<u8>,
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::embedded) struct SavedOffset {
    pub(in crate::embedded) topic: String,
    pub(in crate::embedded) partition: i32,
    pub(in crate::embedded) offset: i64,
    pub(in crate::embedded) leader_epoch: i32,
    pub(in crate::embedded) metadata: String,
    /// Its place in the order of all commits.
    pub(in crate::embedded) at: u64,
}

impl Groups {
    /// The coordinator of the groups that `affected` names has died, or has handed them over: who waits is told
    /// NOT_COORDINATOR, unfinished rebalances and ids that were not used yet are forgotten, sessions start anew.
    pub(in crate::embedded) fn fail_over(&mut self, now: Instant, affected: impl Fn(&str) -> bool) {
        self.on_time(now);
        for (_, group) in self.groups.iter_mut().filter(|(id, _)| affected(id)) {
            for at in 0..group.members.len() {
                let id = group.members[at].id.clone();
                group.refuse(at, ErrorCode::NOT_COORDINATOR, &id);
            }
            group.load(now);
            self.replies.append(&mut group.replies);
        }
    }

    /// All groups as they would be found after a restart.
    pub(in crate::embedded) fn snapshot(&self) -> Vec<SavedGroup> {
        let pending = |group: &Group| {
            let producers = group.pending_offsets.iter();
            producers.flat_map(|(&id, offsets)| save_offsets(offsets).into_iter().map(move |o| (id, o))).collect()
        };
        let saved = |(id, group): (&String, &Group)| SavedGroup {
            id: id.clone(),
            metadata: group.saved.clone(),
            offsets: save_offsets(&group.offsets),
            pending_offsets: pending(group),
        };
        self.groups.iter().map(saved).collect()
    }

    /// Takes in groups from a snapshot, each in place of the one of its name; sessions start now.
    pub(in crate::embedded) fn restore(&mut self, now: Instant, saved: Vec<SavedGroup>) {
        for SavedGroup { id, metadata, offsets, pending_offsets } in saved {
            let all = offsets.iter().chain(pending_offsets.iter().map(|(_, offset)| offset));
            self.next_commit = all.map(|offset| offset.at).fold(self.next_commit, u64::max);
            self.groups.remove(&id);
            let group = self.group_or_new(&id);
            offsets.into_iter().for_each(|offset| load_offset(&mut group.offsets, offset));
            for (producer_id, offset) in pending_offsets {
                load_offset(group.pending_offsets.entry(producer_id).or_default(), offset);
            }
            group.saved = metadata;
            group.load(now);
        }
    }
}

fn save_offsets(offsets: &Offsets) -> Vec<SavedOffset> {
    let saved = |(topic, partition, at, stored): (&str, i32, u64, &Stored)| SavedOffset {
        topic: topic.to_owned(),
        partition,
        offset: stored.offset,
        leader_epoch: stored.leader_epoch,
        metadata: stored.metadata.clone(),
        at,
    };
    offsets.iter().map(saved).collect()
}

fn load_offset(into: &mut Offsets, saved: SavedOffset) {
    let SavedOffset { topic, partition, offset, leader_epoch, metadata, at } = saved;
    into.put(&topic, partition, at, Stored { offset, leader_epoch, metadata });
}

impl Group {
    /// Writes down what is to survive: called where Kafka appends to `__consumer_offsets`.
    pub(super) fn save(&mut self) {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let member = |m: &Member| SavedMember {
            id: m.id.clone(),
            instance_id: m.instance_id.clone(),
            client_id: m.client.client_id.clone(),
            host: m.client.host.clone(),
            session_timeout: m.session_timeout,
            rebalance_timeout: m.rebalance_timeout,
            subscription: m.metadata(protocol).unwrap_or_default().to_vec(),
            assignment: m.assignment.to_vec(),
        };
        self.saved_anew = true;
        self.saved = SavedMetadata {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: self.members.iter().map(member).collect(),
        };
    }

    /// Begins again with what was written down.
    fn load(&mut self, now: Instant) {
        let SavedMetadata { generation, protocol_type, protocol, leader, members } = self.saved.clone();
        let name = protocol.clone().unwrap_or_default();
        let member = |saved: SavedMember| Member {
            id: saved.id,
            instance_id: saved.instance_id,
            client: Client { client_id: saved.client_id, host: saved.host },
            session_timeout: saved.session_timeout,
            rebalance_timeout: saved.rebalance_timeout,
            protocols: vec![(name.clone(), Bytes::from(saved.subscription))],
            assignment: Bytes::from(saved.assignment),
            is_new: false,
            session_until: Some(now + saved.session_timeout),
            joining: None,
            syncing: None,
            owes_sync: false,
        };
        self.members = members.into_iter().map(member).collect();
        self.state = if self.members.is_empty() { State::Empty } else { State::Stable };
        (self.generation, self.protocol_type, self.protocol, self.leader) =
            (generation, protocol_type, protocol, leader);
        self.pending.clear();
        self.sync_until = None;
        self.subscribed = self.subscriptions();
    }
}
