//! What another client has written in transactions.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::Transcript;
use super::world::World;
use crate::client::Use;
use crate::client::admin::{ClusterAdmin, NativeAdmin};
use crate::client::fetch::ReadOptions;
use crate::client::types::{Isolation, OffsetAt, TopicPartition};
use crate::wire::messages::*;
use crate::wire::records::{BatchBuilder, BatchHeader, Compression, HEADER_LEN, ProducerStamp};
use crate::wire::{ErrorCode, Records};

const LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn play(world: &World, t: &mut Transcript) {
    let topic = world.topic("transactions", 1, &[]).await;
    world.fill(&topic, 1).await;
    write(world, &topic, true).await;
    world.fill(&topic, 1).await;
    t.say("a topic that was written in a transaction", world.read(&topic, 0, 4).await);

    let topic = world.topic("open", 1, &[]).await;
    world.fill(&topic, 1).await;
    write(world, &topic, false).await;
    let uncommitted = ReadOptions { isolation: Isolation::ReadUncommitted, ..ReadOptions::default() };
    let mut reader = world.reader(&topic, 0, uncommitted);
    let came = world.env.timeout(Duration::from_secs(3), reader.records(3)).await;
    t.say("an open transaction, read uncommitted", came.unwrap_or("not within 3 s".into()));
    let mut reader = world.reader(&topic, 0, ReadOptions::default());
    let first = reader.records(1).await;
    let came = world.env.timeout(Duration::from_secs(1), reader.records(1)).await;
    t.say("an open transaction, read committed", format!("{first}{}", came.unwrap_or("no more".into())));
}

/// Two records in a transaction, which ends well or not at all.
async fn write(world: &World, topic: &str, end: bool) {
    let id = world.name(&format!("by-{topic}"));
    let coordinator = FindCoordinatorRequest { key: id.as_str().into(), key_type: 1, ..Default::default() };
    let found = async || {
        let connection = world.cluster.any_connection().await.unwrap();
        let found = connection.call(&coordinator, 3, LIMIT).await.unwrap();
        (found.error_code == ErrorCode::NONE).then_some(found.node_id)
    };
    let node = until(world, found).await;
    let connection = &world.cluster.connection(node, Use::Control).await.unwrap();
    let init = InitProducerIdRequest {
        transactional_id: Some(id.as_str().into()),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let given = async || {
        let given = connection.call(&init, 3, LIMIT).await.unwrap();
        (given.error_code == ErrorCode::NONE).then_some((given.producer_id, given.producer_epoch))
    };
    let (producer_id, producer_epoch) = until(world, given).await;
    let add = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: id.as_str().into(),
        v3_and_below_producer_id: producer_id,
        v3_and_below_producer_epoch: producer_epoch,
        v3_and_below_topics: vec![add_partitions_to_txn::Topic { name: topic.into(), partitions: vec![0] }],
        ..Default::default()
    };
    let added = async || {
        let added = connection.call(&add, 3, LIMIT).await.unwrap();
        let code = added.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code;
        (code == ErrorCode::NONE).then_some(())
    };
    until(world, added).await;
    let records = Records(vec![batch(ProducerStamp { producer_id, producer_epoch, base_sequence: 0 })]);
    let partition_data = vec![produce::PartitionData { index: 0, records: Some(records) }];
    let request = ProduceRequest {
        transactional_id: Some(id.as_str().into()),
        acks: -1,
        timeout_ms: 5_000,
        topic_data: vec![produce::TopicData { name: topic.into(), partition_data, ..Default::default() }],
    };
    let leader = world.cluster.topology().partition(&TopicPartition::new(topic, 0)).unwrap().leader;
    let leader = world.cluster.connection(leader, Use::Control).await.unwrap();
    let written = leader.call(&request, 9, LIMIT).await.unwrap();
    assert_eq!(written.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
    if end {
        let end = EndTxnRequest { transactional_id: id.as_str().into(), producer_id, producer_epoch, committed: true };
        let ended =
            async || (connection.call(&end, 3, LIMIT).await.unwrap().error_code == ErrorCode::NONE).then_some(());
        until(world, ended).await;
        // The marker is in the log later than the answer.
        let tp = [TopicPartition::new(topic, 0)];
        let stable = async || {
            let admin = NativeAdmin::new(world.cluster.clone());
            let found = admin.list_offsets(&tp, OffsetAt::Latest, Isolation::ReadCommitted).await.unwrap();
            (found[0].1.as_ref().unwrap().unwrap().offset == 4).then_some(())
        };
        until(world, stable).await;
    }
}

fn batch(stamp: ProducerStamp) -> Bytes {
    let mut builder = BatchBuilder::new(usize::MAX, BytesMut::new());
    for value in ["in one", "in two"] {
        builder.try_append(super::world::t0(), None, Some(value.as_bytes()), &[]).unwrap();
    }
    let body = builder.finish(Compression::None).unwrap();
    let mut header = BatchHeader::parse(&[&body.stamp(stamp)[..], body.body()].concat()).unwrap();
    header.attributes |= 1 << 4;
    let mut bytes = [&header.write()[..], body.body()].concat();
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    debug_assert!(bytes.len() > HEADER_LEN);
    bytes.into()
}

async fn until<T>(world: &World, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            world.env.sleep(Duration::from_millis(100)).await;
        }
    };
    world.within("the transaction's coordinator", asking).await
}
