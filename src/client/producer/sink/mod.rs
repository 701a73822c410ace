//! Writing to brokers: one task per leader drains the queues of all its partitions into one Produce request at a
//! time, several under way. Idle queues go out at once; while requests are under way batches fill by themselves.

pub(in crate::client) mod answers;
mod drain;
mod identity;
mod request;
mod window;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use super::queue::PartitionQueue;
use crate::client::cluster::Cluster;
use crate::env::lock;
use drain::Drain;

/// Where partitions without a leader wait for one.
const NO_LEADER: i32 = -1;

/// Hands each queue to the task of its partition's leader. The tasks end when it is dropped.
pub(crate) struct Router {
    cluster: Cluster,
    inboxes: Mutex<BTreeMap<i32, Arc<Inbox>>>,
    me: Weak<Router>,
}

/// Queues that a task has yet to look at.
#[derive(Default)]
struct Inbox {
    new: Mutex<Mail>,
    arrived: Notify,
}

#[derive(Default)]
struct Mail {
    queues: Vec<Arc<PartitionQueue>>,
    closed: bool,
}

impl Router {
    pub(crate) fn new(cluster: Cluster) -> Arc<Self> {
        Arc::new_cyclic(|me| Self { cluster, inboxes: Mutex::default(), me: me.clone() })
    }

    /// Has the leader's task look at the queue.
    pub(crate) fn submit(&self, queue: &Arc<PartitionQueue>) {
        let leader = self.cluster.topology().partition(queue.tp()).map_or(NO_LEADER, |p| p.leader);
        let inbox = self.inbox(leader.max(NO_LEADER));
        lock(&inbox.new).queues.push(queue.clone());
        inbox.arrived.notify_one();
    }

    fn inbox(&self, broker: i32) -> Arc<Inbox> {
        let mut inboxes = lock(&self.inboxes);
        let inbox = inboxes.entry(broker).or_insert_with(|| {
            let inbox = Arc::new(Inbox::default());
            let drain = Drain::new(broker, self.cluster.clone(), self.me.clone(), inbox.clone());
            // It ends with the router, after what is under way.
            let _detached = self.cluster.env().spawn(drain.run());
            inbox
        });
        inbox.clone()
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        for inbox in lock(&self.inboxes).values() {
            lock(&inbox.new).closed = true;
            inbox.arrived.notify_one();
        }
    }
}
