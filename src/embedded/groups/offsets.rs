//! Committed offsets: who may commit, what is stored, and what waits for the end of a transaction (KIP-447).

use std::collections::BTreeMap;
use std::time::Instant;

use super::Groups;
use super::group::{Group, State};
use crate::wire::ErrorCode;

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::embedded) struct Stored {
    pub(in crate::embedded) offset: i64,
    /// −1: not known.
    pub(in crate::embedded) leader_epoch: i32,
    /// Kafka stores a missing one as empty.
    pub(in crate::embedded) metadata: String,
}

/// Who commits to which group, as OffsetCommit and TxnOffsetCommit name it.
#[derive(Debug, Clone, Copy)]
pub(in crate::embedded) struct Committer<'a> {
    pub(in crate::embedded) group: &'a str,
    /// −1: from outside the group.
    pub(in crate::embedded) generation: i32,
    pub(in crate::embedded) member_id: &'a str,
    pub(in crate::embedded) instance_id: Option<&'a str>,
}

/// A group's offsets by topic and partition, each with its place in the order of all commits.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Offsets(BTreeMap<String, BTreeMap<i32, (u64, Stored)>>);

impl Offsets {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, topic: &str, partition: i32) -> Option<&Stored> {
        self.0.get(topic)?.get(&partition).map(|(_, stored)| stored)
    }

    /// Unless a later commit is there.
    pub(super) fn put(&mut self, topic: &str, partition: i32, at: u64, stored: Stored) {
        let partitions = self.0.entry(topic.to_owned()).or_default();
        if partitions.get(&partition).is_none_or(|(earlier, _)| *earlier <= at) {
            partitions.insert(partition, (at, stored));
        }
    }

    fn remove(&mut self, topic: &str, partition: i32) {
        if let Some(partitions) = self.0.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.0.remove(topic);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, i32, u64, &Stored)> {
        let topics = self.0.iter();
        topics.flat_map(|(topic, of)| of.iter().map(move |(&p, (at, stored))| (topic.as_str(), p, *at, stored)))
    }
}

impl Groups {
    /// Whether this member may commit (OffsetCommit at `version`): else the error for every partition. A member's
    /// commit keeps its session alive, as Kafka has it.
    pub(in crate::embedded) fn may_commit(
        &mut self,
        now: Instant,
        version: i16,
        by: Committer<'_>,
    ) -> Result<(), ErrorCode> {
        self.on_time(now);
        let unknown = if version >= 9 { ErrorCode::GROUP_ID_NOT_FOUND } else { ErrorCode::ILLEGAL_GENERATION };
        let Some(group) = self.groups.get_mut(by.group) else {
            return if by.generation < 0 { Ok(()) } else { Err(unknown) };
        };
        let at = group.check_commit(by, false)?;
        if let (State::Stable | State::PreparingRebalance { .. }, Some(at)) = (group.state, at) {
            group.members[at].touch(now);
        }
        Ok(())
    }

    /// The same for TxnOffsetCommit, which is not held up by a rebalance.
    pub(in crate::embedded) fn may_commit_in_transaction(
        &mut self,
        now: Instant,
        by: Committer<'_>,
    ) -> Result<(), ErrorCode> {
        self.on_time(now);
        match self.groups.get(by.group) {
            Some(group) => group.check_commit(by, true).map(|_| ()),
            None if by.generation < 0 => Ok(()),
            None => Err(ErrorCode::ILLEGAL_GENERATION),
        }
    }

    /// Whether a commit's metadata is short enough, else OFFSET_METADATA_TOO_LARGE.
    pub(in crate::embedded) fn check_metadata(&self, metadata: Option<&str>) -> Result<(), ErrorCode> {
        let fits = metadata.is_none_or(|text| text.encode_utf16().count() <= self.settings.offset_metadata_max);
        if fits { Ok(()) } else { Err(ErrorCode::OFFSET_METADATA_TOO_LARGE) }
    }

    /// Stores an offset. A group that does not exist comes into being, empty and without a protocol type.
    pub(in crate::embedded) fn commit(&mut self, group: &str, topic: &str, partition: i32, stored: Stored) {
        let at = self.next_commit();
        self.group_or_new(group).offsets.put(topic, partition, at, stored);
    }

    /// Stores an offset that counts when its producer's transaction commits.
    pub(in crate::embedded) fn commit_pending(
        &mut self,
        group: &str,
        producer_id: i64,
        topic: &str,
        partition: i32,
        stored: Stored,
    ) {
        let at = self.next_commit();
        let pending = self.group_or_new(group).pending_offsets.entry(producer_id).or_default();
        pending.put(topic, partition, at, stored);
    }

    /// The producer's transaction has ended. What it commits does not undo commits made after it was sent.
    pub(in crate::embedded) fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        for group in self.groups.values_mut() {
            let Some(pending) = group.pending_offsets.remove(&producer_id).filter(|_| commit) else { continue };
            for (topic, partition, at, stored) in pending.iter() {
                group.offsets.put(topic, partition, at, stored.clone());
            }
        }
    }

    /// Whether a transaction that has not ended holds an offset of the partition (UNSTABLE_OFFSET_COMMIT).
    pub(in crate::embedded) fn has_pending(&self, group: &str, topic: &str, partition: i32) -> bool {
        let pending = self.groups.get(group).into_iter().flat_map(|group| group.pending_offsets.values());
        pending.into_iter().any(|offsets| offsets.get(topic, partition).is_some())
    }

    pub(in crate::embedded) fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<&Stored> {
        self.groups.get(group)?.offsets.get(topic, partition)
    }

    /// All offsets of a group, by topic and partition.
    pub(in crate::embedded) fn all_committed(&self, group: &str) -> impl Iterator<Item = (&str, i32, &Stored)> {
        let offsets = self.groups.get(group).into_iter().flat_map(|group| group.offsets.iter());
        offsets.map(|(topic, partition, _, stored)| (topic, partition, stored))
    }

    /// A topic is gone, and with it what was committed of it. A group with nothing left goes at the next clean-up.
    pub(in crate::embedded) fn topic_deleted(&mut self, topic: &str) {
        for group in self.groups.values_mut() {
            group.offsets.0.remove(topic);
            group.pending_offsets.values_mut().for_each(|pending| _ = pending.0.remove(topic));
        }
    }

    /// OffsetDelete's error for the whole request, if any.
    pub(in crate::embedded) fn may_delete_offsets(&self, group: &str) -> Result<(), ErrorCode> {
        match self.groups.get(group) {
            _ if group.is_empty() => Err(ErrorCode::INVALID_GROUP_ID),
            None => Err(ErrorCode::GROUP_ID_NOT_FOUND),
            Some(group) if group.state != State::Empty && !group.uses_consumer_protocol() => {
                Err(ErrorCode::NON_EMPTY_GROUP)
            }
            Some(_) => Ok(()),
        }
    }

    /// Deletes one offset as OffsetDelete does, unless members subscribe to the topic, or may do so without our being
    /// able to tell. To be called after [`may_delete_offsets`](Self::may_delete_offsets).
    pub(in crate::embedded) fn delete_offset(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> Result<(), ErrorCode> {
        let group = self.groups.get_mut(group).ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?;
        let subscribed = group.subscribed.as_ref().map(|topics| topics.contains(topic));
        if subscribed.unwrap_or_else(|| group.uses_consumer_protocol()) {
            return Err(ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC);
        }
        group.offsets.remove(topic, partition);
        group.pending_offsets.values_mut().for_each(|pending| pending.remove(topic, partition));
        Ok(())
    }

    pub(super) fn group_or_new(&mut self, group: &str) -> &mut Group {
        let delay = self.settings.initial_rebalance_delay;
        self.groups.entry(group.to_owned()).or_insert_with(|| Group::new(delay))
    }

    fn next_commit(&mut self) -> u64 {
        self.next_commit += 1;
        self.next_commit
    }
}

impl Group {
    /// The committing member's place; `None` for a commit from outside the group.
    fn check_commit(&self, by: Committer<'_>, in_transaction: bool) -> Result<Option<usize>, ErrorCode> {
        let empty = self.state == State::Empty;
        if by.generation < 0 && empty {
            return Ok(None);
        }
        let at = if by.generation >= 0 || !by.member_id.is_empty() || by.instance_id.is_some() {
            Some(self.find_current(by.generation, by.member_id, by.instance_id)?)
        } else if in_transaction || empty {
            None
        } else {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        };
        // The member knows the new generation, so it must not commit what it read in the old one.
        if !in_transaction && self.state == State::CompletingRebalance {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        Ok(at)
    }
}
