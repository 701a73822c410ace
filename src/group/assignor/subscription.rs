//! What a member tells the leader, inside JoinGroup: its topics and, for the sticky assignors, what it claims to own.
//! `Calls::join` encodes one per assignor of the list, and decodes those of all members when it leads. Decoding fails
//! nobody: whatever another client wrote, the group must go on.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::{Assignor, Subscription};
use crate::client::types::{TopicName, TopicPartition};
use crate::error::Result;
use crate::wire::messages::consumer_protocol::{Blob, ConsumerProtocolSubscription, StickyUserData, TopicPartitions};
use crate::wire::{EncodeError, Reader, Wire, Writer};

/// What this member owns, or under the eager `sticky` what it owned last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) owned: BTreeSet<TopicPartition>,
    /// The generation in which they were assigned; -1 none.
    pub(crate) generation: i32,
}

impl Default for Claim {
    fn default() -> Self {
        Self { owned: BTreeSet::new(), generation: -1 }
    }
}

/// The metadata of each entry in JoinGroup's list of protocols. Unless the whole list is cooperative, the member has given
/// up everything before it joins, and must not claim it under `cooperative-sticky`: the leader would hold back what moves
/// until it is given up, and nobody would join again to get it.
pub(crate) fn encode_all(
    assignors: &[Assignor],
    topics: &[TopicName],
    claim: &Claim,
) -> Result<Vec<(Assignor, Bytes)>> {
    let keeps = Assignor::all_cooperative(assignors);
    let nothing = Claim { owned: BTreeSet::new(), ..*claim };
    let claim_under = |a: Assignor| if a.is_cooperative() && !keeps { &nothing } else { claim };
    assignors.iter().map(|&a| Ok((a, encode(a, topics, claim_under(a))?))).collect()
}

fn encode(assignor: Assignor, topics: &[TopicName], claim: &Claim) -> Result<Bytes> {
    let mut subscription = ConsumerProtocolSubscription {
        topics: topics.iter().map(|t| t.clone().into()).collect(),
        ..Default::default()
    };
    match assignor {
        Assignor::Range | Assignor::RoundRobin => {}
        Assignor::Sticky => {
            // As Java, nothing at all before the first assignment.
            if *claim != Claim::default() {
                subscription.user_data = Some(sticky_user_data(claim)?);
            }
        }
        Assignor::CooperativeSticky => {
            subscription.owned_partitions = by_topic(&claim.owned);
            subscription.generation_id = claim.generation;
            // For leaders that know no version 2.
            subscription.user_data = Some(Bytes::copy_from_slice(&claim.generation.to_be_bytes()));
        }
    }
    Ok(subscription.to_blob(assignor.subscription_version())?)
}

/// The member under the protocol that the group chose. One that cannot be read gets nothing, rather than stop the
/// whole group.
pub(crate) fn decode(
    protocol: &str,
    member_id: Arc<str>,
    instance_id: Option<Arc<str>>,
    metadata: Bytes,
) -> Subscription {
    let unreadable = Subscription { member_id, instance_id, ..Default::default() };
    let blob = match ConsumerProtocolSubscription::from_blob(metadata) {
        Ok((_, blob)) => blob,
        Err(error) => {
            let member_id = &unreadable.member_id;
            tracing::warn!(target: "dispatcher::group", %member_id, %error, "a member's subscription cannot be read: it is assigned nothing");
            return unreadable;
        }
    };
    let topics = blob.topics.iter().map(|t| Arc::from(&**t)).collect();
    let (owned, generation) = if protocol == Assignor::Sticky.name() {
        let data = blob.user_data.and_then(read_sticky).unwrap_or_default();
        (data.previous_assignment, data.generation)
    } else if protocol == Assignor::CooperativeSticky.name() {
        let generation = match blob.generation_id {
            known @ 0.. => known,
            _ => blob.user_data.and_then(|data| Reader::new(data).i32().ok()).unwrap_or(-1),
        };
        (blob.owned_partitions, generation)
    } else {
        (Vec::new(), -1)
    };
    Subscription { topics, owned: flat(owned), generation: generation.max(-1), ..unreadable }
}

fn sticky_user_data(claim: &Claim) -> Result<Bytes, EncodeError> {
    let data = StickyUserData { previous_assignment: by_topic(&claim.owned), generation: claim.generation };
    let mut w = Writer::new();
    data.encode(&mut w, 1)?;
    Ok(w.finish()?.into_bytes())
}

/// Version 1, else version 0, which ends before the generation; `None` for anything else.
fn read_sticky(data: Bytes) -> Option<StickyUserData> {
    let read = |version| StickyUserData::decode(&mut Reader::new(data.clone()), version).ok();
    read(1).or_else(|| read(0))
}

fn by_topic(partitions: &BTreeSet<TopicPartition>) -> Vec<TopicPartitions> {
    let mut topics: Vec<TopicPartitions> = Vec::new();
    for tp in partitions {
        match topics.last_mut() {
            Some(last) if *last.topic == *tp.topic => last.partitions.push(tp.partition),
            _ => topics.push(TopicPartitions { topic: tp.topic.clone().into(), partitions: vec![tp.partition] }),
        }
    }
    topics
}

fn flat(topics: Vec<TopicPartitions>) -> Vec<TopicPartition> {
    let of = |TopicPartitions { topic, partitions }: TopicPartitions| {
        let topic: TopicName = Arc::from(&*topic);
        partitions.into_iter().map(move |p| TopicPartition::new(topic.clone(), p))
    };
    topics.into_iter().flat_map(of).collect()
}
