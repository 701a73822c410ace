//! Moves a partition's leader: by the embedded cluster's handle, or as an administrator of Kafka does, by reordering its
//! replicas and electing the preferred one. The two requests are of no other use to this crate, so they are spelt out
//! here.

use bytes::Bytes;

use super::client::{CORRELATION, World};
use super::help::Topic;
use crate::wire::Writer;
use crate::wire::header::RequestHeader;

const ALTER_PARTITION_REASSIGNMENTS: i16 = 45;
const ELECT_LEADERS: i16 = 43;

impl World {
    /// The topic with `to` as the partition's leader, known to all brokers. It must be a replica.
    pub(super) async fn move_leader(&self, topic: &Topic, partition: usize, to: i32) -> Topic {
        if let Some(cluster) = &self.embedded {
            cluster.move_leader(&topic.name, partition as i32, to);
        } else {
            let others = self.brokers.keys().copied().filter(|id| *id != to);
            let replicas: Vec<i32> = [to].into_iter().chain(others).collect();
            self.exchange(self.any(), &reassign(&topic.name, partition as i32, &replicas)).await.unwrap();
            self.until("place in the replicas", async || {
                self.exchange(self.any(), &elect(&topic.name, partition as i32)).await.unwrap();
                let now = self.look_up(self.any(), &topic.name, topic.leaders.len() as i32).await?;
                (now.leaders[partition] == to).then_some(())
            })
            .await;
        }
        for &broker in self.brokers.keys() {
            self.until("new leader", async || {
                let now = self.look_up(broker, &topic.name, topic.leaders.len() as i32).await?;
                (now.leaders[partition] == to).then_some(())
            })
            .await;
        }
        self.ready(&topic.name, topic.leaders.len() as i32).await
    }
}

fn request(api_key: i16, api_version: i16, body: impl FnOnce(&mut Writer)) -> Bytes {
    let mut w = Writer::framed();
    let header = RequestHeader { api_key, api_version, correlation_id: CORRELATION, client_id: None };
    header.encode(&mut w, true).unwrap();
    body(&mut w);
    w.uvarint(0);
    w.finish().unwrap().into_bytes()
}

fn text(w: &mut Writer, text: &str) {
    w.compact_len(Some(text.len())).unwrap();
    w.put(text.as_bytes());
}

/// AlterPartitionReassignments v0.
fn reassign(topic: &str, partition: i32, replicas: &[i32]) -> Bytes {
    request(ALTER_PARTITION_REASSIGNMENTS, 0, |w| {
        w.i32(9000);
        w.compact_len(Some(1)).unwrap();
        text(w, topic);
        w.compact_len(Some(1)).unwrap();
        w.i32(partition);
        w.compact_len(Some(replicas.len())).unwrap();
        replicas.iter().for_each(|id| w.i32(*id));
        w.uvarint(0);
        w.uvarint(0);
    })
}

/// ElectLeaders v2 of the preferred replica.
fn elect(topic: &str, partition: i32) -> Bytes {
    request(ELECT_LEADERS, 2, |w| {
        w.put(&[0]);
        w.compact_len(Some(1)).unwrap();
        text(w, topic);
        w.compact_len(Some(1)).unwrap();
        w.i32(partition);
        w.uvarint(0);
        w.i32(9000);
    })
}
