//! The metadata merge machine: the present topology and one answer give the next topology. No I/O, no clock.
//! Leader epochs never go back within one topic id, except after several agreeing answers: a client that believes
//! in an epoch no broker has would be stranded for ever.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{BrokerMeta, PartitionMeta, TopicMeta, Topology, is_absent};
use crate::client::types::{TopicId, TopicName, TopicPartition};
use crate::wire::ErrorCode;

/// So many answers in a row must agree on a lower leader epoch, or on a topic's absence, before it is believed.
const AGREEING_ANSWERS: u32 = 5;

/// A Metadata answer, free of versions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) cluster_id: Option<Arc<str>>,
    pub(crate) controller: i32,
    pub(crate) brokers: Vec<BrokerMeta>,
    /// Only topics that were asked for.
    pub(crate) topics: Vec<AnsweredTopic>,
}

#[derive(Clone, Debug)]
pub(crate) struct AnsweredTopic {
    pub(crate) name: TopicName,
    pub(crate) id: TopicId,
    pub(crate) error: ErrorCode,
    pub(crate) partitions: Vec<AnsweredPartition>,
}

#[derive(Clone, Debug)]
pub(crate) struct AnsweredPartition {
    pub(crate) number: i32,
    pub(crate) error: ErrorCode,
    pub(crate) leader: i32,
    pub(crate) leader_epoch: i32,
}

/// The machine. Remembers doubted answers between calls.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    now: Topology,
    lower_epochs: BTreeMap<TopicPartition, Doubt>,
    missing: BTreeMap<TopicName, u32>,
}

#[derive(Debug)]
struct Doubt {
    leader: i32,
    leader_epoch: i32,
    answers: u32,
}

/// More partitions than this in an answer are taken for garbage.
const MAX_PARTITIONS: i32 = 1 << 20;

impl Merge {
    pub(crate) fn topology(&self) -> &Topology {
        &self.now
    }

    /// Takes in one answer.
    pub(crate) fn answer(&mut self, answer: Answer) -> &Topology {
        if answer.cluster_id.is_some() {
            self.now.cluster_id = answer.cluster_id;
        }
        self.now.controller = answer.controller;
        if !answer.brokers.is_empty() {
            self.now.brokers = answer.brokers.into_iter().map(|b| (b.id, Arc::new(b))).collect();
        }
        for topic in answer.topics {
            self.topic(topic);
        }
        &self.now
    }

    /// Takes in a leader that a Produce or Fetch answer named (KIP-951). Returns whether anything changed.
    pub(crate) fn leader(&mut self, tp: &TopicPartition, leader: i32, epoch: i32, broker: Option<BrokerMeta>) -> bool {
        let mut changed = false;
        if let Some(broker) = broker
            && broker.id >= 0
            && self.now.brokers.get(&broker.id).is_none_or(|known| **known != broker)
        {
            self.now.brokers.insert(broker.id, Arc::new(broker));
            changed = true;
        }
        if leader >= 0
            && self.now.brokers.contains_key(&leader)
            && let Some(topic) = self.now.topics.get_mut(&tp.topic)
            && topic.partition(tp.partition).is_some_and(|p| epoch > p.leader_epoch)
        {
            let partition = &mut Arc::make_mut(topic).partitions[tp.partition as usize];
            *partition = PartitionMeta { leader, leader_epoch: epoch, error: ErrorCode::NONE };
            changed = true;
        }
        changed
    }

    /// Drops everything about a topic: it was deleted, or nobody asks for it any more.
    pub(crate) fn forget(&mut self, name: &str) {
        if let Some(old) = self.now.topics.remove(name) {
            self.now.ids.remove(&old.id);
        }
        self.now.refused.remove(name);
        self.missing.remove(name);
        self.lower_epochs.retain(|tp, _| &*tp.topic != name);
    }

    /// Forgets the brokers and leaders, not the topics: the start of a rebootstrap (KIP-899).
    pub(crate) fn forget_brokers(&mut self) {
        self.now.brokers.clear();
    }

    fn topic(&mut self, answered: AnsweredTopic) {
        let AnsweredTopic { name, id, error, partitions } = answered;
        if !matches!(error, ErrorCode::NONE | ErrorCode::LEADER_NOT_AVAILABLE) || partitions.is_empty() {
            self.refused(name, if error == ErrorCode::NONE { ErrorCode::LEADER_NOT_AVAILABLE } else { error });
            return;
        }
        self.now.refused.remove(&name);
        self.missing.remove(&name);
        let known = self.now.topics.get(&name);
        // Without ids (Metadata below v10) a new topic of the same name cannot be told apart; zero equals zero.
        let known = known.filter(|t| t.id == id || id == TopicId::ZERO || t.id == TopicId::ZERO).cloned();
        if known.is_none() {
            self.lower_epochs.retain(|tp, _| tp.topic != name);
        }
        let count = partitions.iter().map(|p| p.number).filter(|n| (0..MAX_PARTITIONS).contains(n)).max();
        // A topic's partitions never become fewer: an answer with fewer is an old one.
        let count = count.map_or(0, |n| n as usize + 1).max(known.as_ref().map_or(0, |t| t.partitions.len()));
        let mut merged: Box<[PartitionMeta]> = match &known {
            Some(topic) => {
                let mut all = topic.partitions.to_vec();
                all.resize_with(count, PartitionMeta::unknown);
                all.into()
            }
            None => (0..count).map(|_| PartitionMeta::unknown()).collect(),
        };
        for answered in partitions {
            if let Ok(index) = usize::try_from(answered.number)
                && let Some(partition) = merged.get_mut(index)
            {
                self.partition(&name, partition, answered);
            }
        }
        let id = if id == TopicId::ZERO { known.as_ref().map_or(id, |t| t.id) } else { id };
        if known.as_ref().is_some_and(|t| t.id == id && t.partitions == merged) {
            return;
        }
        let topic = Arc::new(TopicMeta { name: name.clone(), id, partitions: merged });
        if let Some(old) = self.now.topics.insert(name.clone(), topic) {
            self.now.ids.remove(&old.id);
        }
        if id != TopicId::ZERO {
            self.now.ids.insert(id, name);
        }
    }

    /// What is known stays until several answers agree that the topic is gone.
    fn refused(&mut self, name: TopicName, error: ErrorCode) {
        if is_absent(error) && self.now.topics.contains_key(&name) {
            let answers = self.missing.entry(name.clone()).or_default();
            *answers += 1;
            if *answers >= AGREEING_ANSWERS {
                self.forget(&name);
            }
        }
        self.now.refused.insert(name, error);
    }

    fn partition(&mut self, topic: &TopicName, known: &mut PartitionMeta, answered: AnsweredPartition) {
        let AnsweredPartition { number, error, leader, leader_epoch } = answered;
        // REPLICA_NOT_AVAILABLE comes with a usable leader; these two mean there is none to be reached.
        let (leader, error) = match error {
            ErrorCode::LEADER_NOT_AVAILABLE | ErrorCode::LISTENER_NOT_FOUND => (-1, error),
            ErrorCode::REPLICA_NOT_AVAILABLE => (leader, ErrorCode::NONE),
            _ => (leader, error),
        };
        let next = PartitionMeta { leader: leader.max(-1), leader_epoch: leader_epoch.max(-1), error };
        let key = TopicPartition { topic: topic.clone(), partition: number };
        if next.leader_epoch >= 0 && next.leader_epoch < known.leader_epoch {
            let doubt = self.lower_epochs.entry(key.clone()).or_insert(Doubt { leader, leader_epoch, answers: 0 });
            if (doubt.leader, doubt.leader_epoch) != (leader, leader_epoch) {
                *doubt = Doubt { leader, leader_epoch, answers: 0 };
            }
            doubt.answers += 1;
            if doubt.answers < AGREEING_ANSWERS {
                return;
            }
        }
        self.lower_epochs.remove(&key);
        // An answer without epochs (Metadata below v7) does not wipe out one that was known.
        let leader_epoch = if next.leader_epoch < 0 { known.leader_epoch } else { next.leader_epoch };
        *known = PartitionMeta { leader_epoch, ..next };
    }
}

#[cfg(test)]
mod tests;
