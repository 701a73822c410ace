//! A transactional producer, as scenarios play one.

use super::client::World;
use super::help::{Topic, batch, by, is_loading, produce_request, produced, transactional};
use crate::wire::messages::*;
use crate::wire::{ErrorCode, StrBytes};

/// A transactional producer, as a client has it.
pub(super) struct Producer<'a> {
    pub(super) world: &'a World,
    pub(super) id: StrBytes,
    pub(super) node: i32,
    pub(super) producer: (i64, i16),
}

impl<'a> Producer<'a> {
    pub(super) async fn new(world: &'a World, name: &str) -> Self {
        let id = world.name(name);
        let node = world.coordinator(&id, 1).await;
        let mut this = Self { world, id: id.as_str().into(), node, producer: (-1, -1) };
        let given = this.init((-1, -1), 60_000, 3).await;
        assert_eq!(given.error_code, ErrorCode::NONE, "{name}");
        this.producer = (given.producer_id, given.producer_epoch);
        this
    }

    /// InitProducerId, once what ran before is over.
    pub(super) async fn init(&self, known: (i64, i16), timeout: i32, version: i16) -> InitProducerIdResponse {
        let request = InitProducerIdRequest {
            transactional_id: Some(self.id.clone()),
            transaction_timeout_ms: timeout,
            producer_id: known.0,
            producer_epoch: known.1,
        };
        let ask = async || {
            let given = self.world.ask(self.node, &request, version).await;
            let busy = given.error_code == ErrorCode::CONCURRENT_TRANSACTIONS || is_loading(given.error_code);
            (!busy).then_some(given)
        };
        self.world.until("producer id", ask).await
    }

    pub(super) async fn add(&self, by: (i64, i16), partitions: &[(&Topic, i32)], version: i16) -> Vec<ErrorCode> {
        let topics = partitions.iter().map(|(topic, partition)| add_partitions_to_txn::Topic {
            name: topic.name.clone(),
            partitions: vec![*partition],
        });
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.clone(),
            v3_and_below_producer_id: by.0,
            v3_and_below_producer_epoch: by.1,
            v3_and_below_topics: topics.collect(),
            ..Default::default()
        };
        let ask = async || {
            let answer = self.world.ask(self.node, &request, version).await;
            let results = answer.results_by_topic_v3_and_below.iter().flat_map(|t| &t.results_by_partition);
            let codes: Vec<_> = results.map(|r| r.partition_error_code).collect();
            (!codes.contains(&ErrorCode::CONCURRENT_TRANSACTIONS)).then_some(codes)
        };
        self.world.until("place in the transaction", ask).await
    }

    pub(super) async fn end(&self, by: (i64, i16), committed: bool, version: i16) -> EndTxnResponse {
        let request =
            EndTxnRequest { transactional_id: self.id.clone(), producer_id: by.0, producer_epoch: by.1, committed };
        let ask = async || {
            let answer = self.world.ask(self.node, &request, version).await;
            (answer.error_code != ErrorCode::CONCURRENT_TRANSACTIONS).then_some(answer)
        };
        self.world.until("end of the transaction", ask).await
    }

    pub(super) async fn write(
        &self,
        by_: (i64, i16),
        sequence: i32,
        topic: &Topic,
        partition: i32,
        n: usize,
    ) -> String {
        self.write_at(by_, sequence, topic, partition, n, 11).await
    }

    pub(super) async fn write_at(
        &self,
        by_: (i64, i16),
        sequence: i32,
        topic: &Topic,
        partition: i32,
        n: usize,
        version: i16,
    ) -> String {
        let bytes = transactional(&batch(by(by_.0, by_.1, sequence), self.world.t0, n));
        let request = produce_request(topic, partition, &bytes, Some(&self.id), -1);
        let leader = topic.leaders[partition as usize];
        let ask = async || {
            let answer = self.world.ask(leader, &request, version).await;
            let answer = &answer.responses[0].partition_responses[0];
            // Not at once: the broker asks the coordinator first.
            let busy = [ErrorCode::NOT_ENOUGH_REPLICAS, ErrorCode::CONCURRENT_TRANSACTIONS];
            (!busy.contains(&answer.error_code)).then(|| produced(self.world, answer))
        };
        self.world.until("place for a record", ask).await
    }
}

impl World {
    /// Older brokers take what comes under another epoch, and are left with a transaction that nobody can end.
    pub(super) fn checks_epochs(&self) -> bool {
        self.newest::<ProduceRequest>(12) == 12
    }
}

pub(super) fn given(r: &InitProducerIdResponse, same: i64) -> String {
    let id = if r.producer_id == -1 {
        "no id"
    } else if r.producer_id == same {
        "the id"
    } else {
        "another id"
    };
    format!("{} {id} epoch {}", r.error_code, r.producer_epoch)
}
