//! FindCoordinator, and what a broker says that does not coordinate.

use bytes::Bytes;

use super::Transcript;
use super::client::World;
use super::help::at;
use super::offset_requests::{fetch_request, fetched};
use crate::wire::messages::*;
use crate::wire::{Request, StrBytes};

super::scenarios! { "coordinators": coordinators wrong_coordinator }

async fn coordinators(world: &World, t: &mut Transcript) {
    let (group, id) = (world.name("a-group"), world.name("an-id"));
    let nodes = [world.coordinator(&group, 0).await, world.coordinator(&id, 1).await];
    for version in world.each::<FindCoordinatorRequest>(&[0, 1, 3, 4]) {
        let keys = [
            ("group", group.as_str(), 0),
            ("id", &id, 1),
            ("unknown", &id, 7),
            ("empty", "", 0),
            ("negative", &id, -1),
        ];
        for (case, key, key_type) in keys.into_iter().filter(|k| version > 0 || k.2 == 0) {
            let coordinator_keys = if version >= 4 { vec![StrBytes::from(key)] } else { Vec::new() };
            let key = if version >= 4 { StrBytes::default() } else { key.into() };
            let request = FindCoordinatorRequest { key, key_type, coordinator_keys };
            let said = match world.try_ask(world.any(), &request, version).await {
                Err(what) => what.into(),
                Ok(a) => {
                    let first = a.coordinators.first();
                    let node = first.map_or(a.node_id, |c| c.node_id);
                    let right = usize::try_from(key_type).is_ok_and(|k| nodes.get(k) == Some(&node));
                    let (code, port) = first.map_or((a.error_code, a.port), |c| (c.error_code, c.port));
                    let text = first.map_or(&a.error_message, |c| &c.error_message).as_deref().map(|m| !m.is_empty());
                    let key = first.map(|c| c.key.to_string());
                    let node = if right || case == "empty" { 0 } else { node };
                    format!("{code} node {node} port {} text {text:?} key {key:?}", port > 0)
                }
            };
            t.say(format!("v{version}, {case}"), said);
        }
    }
    let v4 = FindCoordinatorRequest {
        coordinator_keys: vec![group.as_str().into(), id.as_str().into()],
        ..Default::default()
    };
    let answer = world.ask(world.any(), &v4, world.newest::<FindCoordinatorRequest>(6)).await;
    t.say("two at once", answer.coordinators.iter().map(|c| c.key.to_string()).collect::<Vec<_>>().join(" "));
    let none = FindCoordinatorRequest::default();
    t.say("none", world.ask(world.any(), &none, world.newest::<FindCoordinatorRequest>(6)).await.coordinators.len());
}

/// Every request of groups and transactions, to a broker that does not coordinate.
#[allow(clippy::needless_update, reason = "one macro for requests with few fields and many")]
async fn wrong_coordinator(world: &World, t: &mut Transcript) {
    let group = world.name("elsewhere");
    let wrong = world.coordinator(&group, 0).await % 3 + 1;
    let group = StrBytes::from(group.as_str());
    macro_rules! ask {
        ($($request:ident [$($version:literal)*] { $($field:ident: $value:expr),* $(,)? } => $code:expr;)*) => { $({
            let request = $request { $($field: $value,)* ..Default::default() };
            for version in world.each::<$request>(&[$($version),*]) {
                let request = request.clone();
                let answer = world.ask(wrong, &request, version).await;
                let code: fn(&<$request as Request>::Response) -> String = $code;
                t.say(at::<$request>(version), code(&answer));
            }
        })* };
    }
    let protocols = vec![join_group::Protocol { name: "range".into(), metadata: Bytes::new() }];
    ask! {
        JoinGroupRequest [0 4] {
            group_id: group.clone(), session_timeout_ms: 10_000, rebalance_timeout_ms: 10_000,
            protocol_type: "consumer".into(), protocols: protocols,
        } => |a| format!("{} generation {} leader {:?} member {:?}", a.error_code, a.generation_id, a.leader, a.member_id);
        SyncGroupRequest [0 5] { group_id: group.clone() } => |a| format!("{}", a.error_code);
        HeartbeatRequest [0] { group_id: group.clone() } => |a| format!("{}", a.error_code);
        DescribeGroupsRequest [0 5] { groups: vec![group.clone()] } => |a| {
            let g = &a.groups[0];
            format!("{} {:?} {:?} text {}", g.error_code, g.group_state, g.protocol_type, g.error_message.is_some())
        };
        DeleteGroupsRequest [0] { groups_names: vec![group.clone()] } => |a| format!("{:?}", a.results[0].error_code);
        OffsetDeleteRequest [0] { group_id: group.clone() } => |a| format!("{}", a.error_code);
    }
    let member = leave_group::MemberIdentity { member_id: "m".into(), ..Default::default() };
    for version in world.each::<LeaveGroupRequest>(&[0, 3]) {
        let request = LeaveGroupRequest {
            group_id: group.clone(),
            member_id: if version < 3 { "m".into() } else { StrBytes::default() },
            members: if version < 3 { Vec::new() } else { vec![member.clone()] },
        };
        let a = world.ask(wrong, &request, version).await;
        let members: Vec<_> = a.members.iter().map(|m| m.error_code.to_string()).collect();
        t.say(at::<LeaveGroupRequest>(version), format!("{} {members:?}", a.error_code));
    }
    let topic = world.topic("committed", 1, 1, &[]).await;
    for version in world.each::<OffsetCommitRequest>(&[2, 9]) {
        let partition = offset_commit::RequestPartition { committed_offset: 1, ..Default::default() };
        let topics = vec![offset_commit::RequestTopic {
            name: topic.name.clone(),
            topic_id: topic.id,
            partitions: vec![partition],
        }];
        let request = OffsetCommitRequest { group_id: group.clone(), topics, ..Default::default() };
        let a = world.ask(wrong, &request, version).await;
        t.say(at::<OffsetCommitRequest>(version), a.topics[0].partitions[0].error_code);
    }
    for version in world.each::<OffsetFetchRequest>(&[1, 2, 7, 8]) {
        let request = fetch_request(&group, Some((&topic, &[0, 1])), version, false);
        let a = world.ask(wrong, &request, version).await;
        t.say(at::<OffsetFetchRequest>(version), fetched(&a));
    }
    let id = world.name("an-id-elsewhere");
    let wrong = world.coordinator(&id, 1).await % 3 + 1;
    let id = StrBytes::from(id.as_str());
    let txn_topic = add_partitions_to_txn::Topic { name: topic.name.clone(), partitions: vec![0] };
    let init = InitProducerIdRequest {
        transactional_id: Some(id.clone()),
        transaction_timeout_ms: 9000,
        ..Default::default()
    };
    let a = world.ask(wrong, &init, 4).await;
    t.say("InitProducerId", format!("{} {} {}", a.error_code, a.producer_id, a.producer_epoch));
    let add = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: id.clone(),
        v3_and_below_topics: vec![txn_topic],
        ..Default::default()
    };
    let a = world.ask(wrong, &add, 3).await;
    let code = a.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code;
    t.say("AddPartitionsToTxn", code);
    let add = AddOffsetsToTxnRequest { transactional_id: id.clone(), group_id: group.clone(), ..Default::default() };
    t.say("AddOffsetsToTxn", world.ask(wrong, &add, 3).await.error_code);
    let end = EndTxnRequest { transactional_id: id, ..Default::default() };
    for version in world.each::<EndTxnRequest>(&[3]) {
        let a = world.ask(wrong, &end, version).await;
        t.say(at::<EndTxnRequest>(version), format!("{} {} {}", a.error_code, a.producer_id, a.producer_epoch));
    }
}
