//! The producer id that all partitions of one producer share, and its present epoch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::queue::PartitionQueue;
use super::sequencer::Identity;
use crate::env::lock;
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct IdentityCell(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Unknown,
    /// Being asked for; these queues, by their ids, wait for it.
    Asked(BTreeMap<u64, Arc<PartitionQueue>>),
    Known(Identity),
    /// Refused for good.
    Refused(Error),
}

impl IdentityCell {
    /// The present identity, if there is one already; an error if there will never be.
    pub(crate) fn present(&self) -> Result<Option<Identity>> {
        match &*lock(&self.0) {
            State::Known(identity) => Ok(Some(*identity)),
            State::Refused(error) => Err(error.clone()),
            State::Unknown | State::Asked(_) => Ok(None),
        }
    }

    /// Gives up `old`: the next epoch of the same id, as Java's idempotent producer does it without asking a broker;
    /// a broker takes any higher epoch that starts from sequence 0. `None` when a new id has to be asked for.
    pub(crate) fn bump(&self, old: Identity) -> Option<Identity> {
        let mut state = lock(&self.0);
        match &mut *state {
            State::Known(present) if *present == old => match old.epoch.checked_add(1) {
                Some(epoch) => {
                    present.epoch = epoch;
                    Some(*present)
                }
                None => {
                    *state = State::Unknown;
                    None
                }
            },
            State::Known(present) => Some(*present),
            _ => None,
        }
    }

    /// Has `queue` submitted again when there is an identity. True if the caller has to ask for it.
    pub(crate) fn wait(&self, queue: &Arc<PartitionQueue>) -> bool {
        let mut state = lock(&self.0);
        match &mut *state {
            State::Asked(waiting) => {
                waiting.entry(queue.id()).or_insert_with(|| queue.clone());
                false
            }
            State::Unknown => {
                *state = State::Asked(BTreeMap::from([(queue.id(), queue.clone())]));
                true
            }
            State::Known(_) | State::Refused(_) => {
                drop(state);
                queue.submit();
                false
            }
        }
    }

    /// There is none for now, because this client is not let in: what waits for it fails, what comes later asks anew.
    pub(crate) fn give_up(&self, error: &Error) {
        if let State::Asked(waiting) = std::mem::take(&mut *lock(&self.0)) {
            for queue in waiting.values() {
                queue.fail(error);
                queue.submit(); // so that the client lets go of it
            }
        }
    }

    /// Takes in the answer and submits who waits.
    pub(crate) fn answer(&self, answer: Result<Identity>) {
        let state = match answer {
            Ok(identity) => State::Known(identity),
            Err(error) => State::Refused(error),
        };
        if let State::Asked(waiting) = std::mem::replace(&mut *lock(&self.0), state) {
            waiting.values().for_each(PartitionQueue::submit);
        }
    }
}
