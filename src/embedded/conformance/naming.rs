//! ApiVersions, Metadata, DescribeCluster: what there is and where.

use bytes::Bytes;

use super::Transcript;
use super::client::{CORRELATION, World};
use super::help::at;
use crate::wire::header::RequestHeader;
use crate::wire::messages::*;
use crate::wire::{Reader, Request, Uuid, Wire, Writer};

super::scenarios! { "naming": offered software unsupported topics all cluster }

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
