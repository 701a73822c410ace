//! The blobs of the `consumer` group protocol: what a member subscribes to (inside JoinGroup) and what the leader
//! assigns (inside SyncGroup). Each starts with its own version. Members of a group may be newer than this client,
//! so decoding is lenient: a later version is read as the newest known one, and trailing bytes are ignored. The user
//! data of the `sticky` assignor carries no version.

use bytes::Bytes;

use crate::wire::message::message;
use crate::wire::{DecodeError, EncodeError, Reader, StrBytes, Wire, Writer};

message! {
    data ConsumerProtocolSubscription, versions 0..=3;

    {
        topics: Vec<StrBytes>,
        user_data: Option<Bytes>,
        owned_partitions: Vec<TopicPartitions> [1.., ignorable],
        generation_id: i32 [2.., ignorable] = -1,
        rack_id: Option<StrBytes> [3.., ignorable],
    }
    struct TopicPartitions {
        topic: StrBytes,
        partitions: Vec<i32>,
    }
}

message! {
    data ConsumerProtocolAssignment, versions 0..=3;

    {
        assigned_partitions: Vec<TopicPartitions>,
        user_data: Option<Bytes>,
    }
}

message! {
    data StickyUserData, versions 0..=1;

    {
        previous_assignment: Vec<TopicPartitions>,
        generation: i32 [1..] = -1,
    }
}

/// A blob of the group protocol: its version, then its fields.
pub(crate) trait Blob: Wire {
    /// Newest version known.
    const MAX: i16;

    /// The blob at `version`.
    fn to_blob(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut w = Writer::new();
        w.i16(version);
        self.encode(&mut w, version)?;
        Ok(w.finish()?.into_bytes())
    }

    /// The blob's version and value, whoever wrote it. Some clients claim a version and leave out its fields (sarama
    /// did); those are read as the newest version that fits, because one such member must not break the group.
    fn from_blob(blob: Bytes) -> Result<(i16, Self), DecodeError> {
        let mut r = Reader::new(blob);
        let version = r.i16()?;
        let known = version.min(Self::MAX);
        let first = Self::decode(&mut r.clone(), known);
        let value = match first {
            Err(_) => (0..known).rev().find_map(|older| Self::decode(&mut r.clone(), older).ok()).map_or(first, Ok),
            ok => ok,
        };
        Ok((version, value?))
    }
}

impl Blob for ConsumerProtocolSubscription {
    const MAX: i16 = Self::VERSIONS.max;
}

impl Blob for ConsumerProtocolAssignment {
    const MAX: i16 = Self::VERSIONS.max;
}
