//! Offsets that are committed in a transaction, and when they count.

use super::Transcript;
use super::client::World;
use super::offset_requests::{fetch_request, fetched};
use super::producer::Producer;
use crate::wire::messages::*;
use crate::wire::{ErrorCode, StrBytes};

super::scenarios! { "transactional_offsets": offsets }

async fn offsets(world: &World, t: &mut Transcript) {
    let topic = world.topic("offsets", 2, 1, &[]).await;
    let p = Producer::new(world, "offsets").await;
    let (id, epoch) = p.producer;
    let group = StrBytes::from(world.name("transactional-group").as_str());
    let node = world.coordinator(&group, 0).await;
    let commit = async |by: (i64, i16), offset: i64, generation: i32, version: i16| {
        let partition = |index| txn_offset_commit::RequestPartition {
            partition_index: index,
            committed_offset: offset,
            ..Default::default()
        };
        let topics = vec![txn_offset_commit::RequestTopic {
            name: topic.name.clone(),
            partitions: vec![partition(0), partition(9)],
        }];
        let request = TxnOffsetCommitRequest {
            transactional_id: p.id.clone(),
            group_id: group.clone(),
            producer_id: by.0,
            producer_epoch: by.1,
            generation_id: generation,
            topics,
            ..Default::default()
        };
        world
            .until("answer", async || {
                let answer = world.ask(node, &request, version).await;
                let mut partitions = answer.topics[0].partitions.clone();
                partitions.sort_by_key(|p| p.partition_index);
                let codes: Vec<_> = partitions.iter().map(|p| p.error_code).collect();
                let busy = [ErrorCode::CONCURRENT_TRANSACTIONS, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS];
                (!codes.iter().any(|c| busy.contains(c))).then(|| format!("{codes:?}"))
            })
            .await
    };
    let look = async |t: &mut Transcript, step: &str| {
        for stable in [false, true] {
            for version in world.each::<OffsetFetchRequest>(&[7, 8]) {
                let request = fetch_request(&group, Some((&topic, &[0, 1])), version, stable);
                let answer = world.ask(node, &request, version).await;
                t.say(format!("{step}: v{version}, stable {stable}"), fetched(&answer));
            }
        }
    };
    t.say("not added", commit((id, epoch), 3, -1, 3).await);
    for (commits, offset) in [(true, 5), (false, 8)] {
        let add = AddOffsetsToTxnRequest {
            transactional_id: p.id.clone(),
            producer_id: id,
            producer_epoch: epoch,
            group_id: group.clone(),
        };
        let added = world.until("group in the transaction", async || {
            let code = world.ask(p.node, &add, 3).await.error_code;
            (code != ErrorCode::CONCURRENT_TRANSACTIONS).then_some(code)
        });
        t.say(format!("add {commits}"), added.await);
        t.say(format!("commit {offset}"), commit((id, epoch), offset, -1, 3).await);
        t.say(format!("commit {offset}, old version"), commit((id, epoch), offset, -1, 0).await);
        if world.checks_epochs() {
            t.say(format!("commit {offset}, older epoch"), commit((id, epoch - 1), offset, -1, 3).await);
            t.say(format!("commit {offset}, newer epoch"), commit((id, epoch + 1), offset, -1, 3).await);
        }
        t.say(format!("commit {offset}, a generation"), commit((id, epoch), offset, 4, 3).await);
        look(t, &format!("open, {offset}")).await;
        p.end((id, epoch), commits, 3).await;
        world
            .until("settled offsets", async || {
                let request = fetch_request(&group, Some((&topic, &[0])), 8, true);
                let answer = world.ask(node, &request, 8).await;
                (!fetched(&answer).contains("UNSTABLE")).then_some(())
            })
            .await;
        look(t, &format!("ended, {offset}")).await;
    }
}
