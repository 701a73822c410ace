//! ApiVersions, Metadata, DescribeCluster, FindCoordinator: what there is and where.

use bytes::Bytes;

use super::Transcript;
use super::client::{CORRELATION, World};
use super::help::at;
use crate::wire::header::RequestHeader;
use crate::wire::messages::*;
use crate::wire::{ErrorCode, Reader, Request, StrBytes, Uuid, Wire, Writer};

super::scenarios! { "naming": offered software unsupported topics all cluster coordinators wrong_coordinator }

async fn offered(world: &World, t: &mut Transcript) {
    for api in APIS {
        let (min, max) = world.range(api.key);
        t.say(api.name, format!("{}..={}", min.max(if api.key == 0 { 0 } else { api.min }), max.min(api.max)));
    }
}

async fn software(world: &World, t: &mut Transcript) {
    for version in world.each::<ApiVersionsRequest>(&[0, 2, 3]) {
        for (name, software) in
            [("dispatcher", "1.0"), ("", ""), ("-bad", "1"), ("ok", "1."), ("a b", "1"), ("a-b.c", "é")]
        {
            let request =
                ApiVersionsRequest { client_software_name: name.into(), client_software_version: software.into() };
            let answer = world.ask(world.any(), &request, version).await;
            t.say(
                format!("v{version}, {name:?} {software:?}"),
                format!("{}, any {}", answer.error_code, !answer.api_keys.is_empty()),
            );
        }
    }
}

/// Versions that no broker has.
async fn unsupported(world: &World, t: &mut Transcript) {
    let frame = |key: i16, version: i16, flexible: bool| -> Bytes {
        let mut w = Writer::framed();
        let header = RequestHeader {
            api_key: key,
            api_version: version,
            correlation_id: CORRELATION,
            client_id: Some("conformance".into()),
        };
        header.encode(&mut w, flexible).unwrap();
        w.put(&[1, 1, 0]);
        w.finish().unwrap().into_bytes()
    };
    for version in [99, i16::MAX, -1] {
        let said = match world.exchange(world.any(), &frame(ApiVersionsRequest::KEY, version, true)).await {
            Ok(answer) => {
                let mut r = Reader::new(answer.slice(4..));
                let answer = ApiVersionsResponse::decode(&mut r, 0).unwrap();
                let keys: Vec<_> = answer.api_keys.iter().map(|a| (a.api_key, a.min_version)).collect();
                format!("{} {keys:?}, {} more bytes", answer.error_code, r.remaining())
            }
            Err(what) => what.to_owned(),
        };
        t.say(format!("ApiVersions v{version}"), said);
    }
    for (key, version) in [(3, 99), (0, 0), (0, 2), (1, 0), (9999, 0), (-1, 0)] {
        let said = world.exchange(world.any(), &frame(key, version, false)).await;
        t.say(format!("api {key} v{version}"), said.map_or_else(|what| what, |_| "answers"));
    }
}

fn described(topic: &metadata::Topic, version: i16) -> String {
    let partitions = topic.partitions.iter().map(|p| {
        let led = (p.leader_id > 0, p.leader_epoch >= 0, p.replica_nodes.first() == Some(&p.leader_id));
        (p.error_code.to_string(), p.partition_index, led, p.replica_nodes.len(), p.isr_nodes.len())
    });
    let mut partitions: Vec<_> = partitions.collect();
    partitions.sort_by_key(|p| p.1);
    let ops =
        if version >= 8 { format!(", operations {:x}", topic.topic_authorized_operations) } else { String::new() };
    format!(
        "{} {:?}, id {}, internal {}{ops}, {partitions:?}",
        topic.error_code,
        topic.name.as_deref(),
        !topic.topic_id.is_zero(),
        topic.is_internal
    )
}

async fn topics(world: &World, t: &mut Transcript) {
    let topic = world.topic("here", 3, 2, &[]).await;
    let named = |name: &str| metadata::RequestTopic { name: Some(name.into()), ..Default::default() };
    let by_id = |id| metadata::RequestTopic { name: None, topic_id: id };
    let absent = world.name("absent");
    let long = "x".repeat(250);
    for version in world.each::<MetadataRequest>(&[0, 1, 4, 7, 9, 10, 12]) {
        let mut cases = vec![
            ("by name", named(&topic.name)),
            ("unknown", named(&absent)),
            ("illegal", named("a b")),
            ("empty", named("")),
            ("dots", named("..")),
            ("long", named(&long)),
        ];
        if version >= 12 {
            cases.push(("by id", by_id(topic.id)));
            cases.push(("unknown id", by_id(Uuid([7; 16]))));
            cases.push(("name and id", metadata::RequestTopic { name: Some(topic.name.clone()), topic_id: topic.id }));
        }
        for (case, asked) in cases {
            let request = MetadataRequest {
                topics: Some(vec![asked]),
                allow_auto_topic_creation: version < 4,
                include_topic_authorized_operations: false,
                ..Default::default()
            };
            let said = match world.try_ask(world.any(), &request, version).await {
                Ok(answer) => {
                    let topics: Vec<_> = answer.topics.iter().map(|topic| described(topic, version)).collect();
                    format!("{} {topics:?}", answer.error_code)
                }
                Err(what) => what.into(),
            };
            t.say(format!("v{version}, {case}"), said.replace(&long, "long"));
        }
    }
    for name in [&topic.name, &absent.as_str().into()] {
        let request = MetadataRequest {
            topics: Some(vec![named(name)]),
            allow_auto_topic_creation: false,
            include_topic_authorized_operations: true,
            include_cluster_authorized_operations: true,
        };
        let answer = world.ask(world.any(), &request, 9).await;
        let cluster = answer.cluster_authorized_operations;
        t.say(format!("operations of {name}"), format!("{cluster:x} {}", described(&answer.topics[0], 9)));
    }
    let twice = vec![named(&topic.name), named(&topic.name)];
    let request = MetadataRequest { topics: Some(twice), allow_auto_topic_creation: false, ..Default::default() };
    t.say("twice", world.ask(world.any(), &request, 9).await.topics.len());
}

async fn all(world: &World, t: &mut Transcript) {
    let topic = world.topic("one-of-all", 1, 1, &[]).await;
    for version in world.each::<MetadataRequest>(&[0, 1, 12]) {
        for (case, topics) in [("null", None), ("empty", Some(Vec::new()))] {
            if case == "null" && version == 0 {
                continue;
            }
            let request = MetadataRequest { topics, allow_auto_topic_creation: version < 4, ..Default::default() };
            let answer = world.ask(world.any(), &request, version).await;
            let found = answer.topics.iter().filter(|x| x.name.as_deref() == Some(&topic.name)).count();
            let internal = answer.topics.iter().filter(|x| x.is_internal && x.partitions.is_empty()).count();
            t.say(format!("v{version}, {case}"), format!("{found}, {internal} internal ones without partitions"));
        }
    }
}

async fn cluster(world: &World, t: &mut Transcript) {
    for version in world.each::<MetadataRequest>(&[0, 1, 2, 8, 12]) {
        let request = MetadataRequest { allow_auto_topic_creation: version < 4, ..Default::default() };
        let answer = world.ask(world.any(), &request, version).await;
        let id = answer.cluster_id.as_ref().map(|id| id.len());
        let controller = world.brokers.contains_key(&answer.controller_id);
        let nodes: Vec<_> = answer.brokers.iter().map(|b| (b.node_id, b.rack.is_some())).collect();
        t.say(at::<MetadataRequest>(version), format!("cluster id {id:?}, controller {controller}, {nodes:?}"));
    }
    for version in world.each::<DescribeClusterRequest>(&[0, 1]) {
        for endpoint_type in if version == 0 { vec![1] } else { vec![1, 2, 3] } {
            let include_cluster_authorized_operations = endpoint_type == 1;
            let request =
                DescribeClusterRequest { endpoint_type, include_cluster_authorized_operations, ..Default::default() };
            let answer = world.ask(world.any(), &request, version).await;
            let mut nodes: Vec<_> = answer.brokers.iter().map(|b| (b.broker_id, b.is_fenced)).collect();
            nodes.sort_unstable();
            let controller = world.brokers.contains_key(&answer.controller_id);
            let (id, operations) = (answer.cluster_id.len(), answer.cluster_authorized_operations);
            let what = (answer.error_code.to_string(), id, answer.endpoint_type, nodes, controller);
            let line = format!("{what:?} operations {operations:x}");
            t.say(format!("{}, endpoint type {endpoint_type}", at::<DescribeClusterRequest>(version)), line);
        }
    }
}

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
        let request = super::commits::fetch_request(&group, Some((&topic, &[0, 1])), version, false);
        let a = world.ask(wrong, &request, version).await;
        t.say(at::<OffsetFetchRequest>(version), super::commits::fetched(&a));
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
    assert_ne!(ErrorCode::NONE, ErrorCode::NOT_COORDINATOR);
}
