//! DescribeConfigs, IncrementalAlterConfigs, AlterConfigs, DeleteRecords.

use super::Transcript;
use super::client::World;
use super::help::{plain, produced};
use crate::embedded::topic_configs::TOPIC_CONFIGS;
use crate::wire::StrBytes;
use crate::wire::messages::*;

super::scenarios! { "configs": defaults overridden described alter alter_whole delete_records }

const TOPIC: i8 = 2;

async fn describe(
    world: &World,
    resource: (i8, &str),
    keys: Option<&[&str]>,
    version: i16,
) -> describe_configs::ResourceConfigs {
    let keys = keys.map(|keys| keys.iter().map(|k| StrBytes::from(*k)).collect());
    let (resource_type, name) = resource;
    let resource = describe_configs::Resource { resource_type, resource_name: name.into(), configuration_keys: keys };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    world.ask(world.any(), &request, version).await.results.remove(0)
}

fn entry(c: &describe_configs::ConfigEntry) -> String {
    let flags = (c.config_source, c.read_only, c.is_sensitive, c.config_type, c.synonyms.len());
    format!("{:?} {flags:?} {:?}", c.value.as_deref(), c.documentation.as_deref())
}

/// Every setting that the embedded cluster knows.
async fn defaults(world: &World, t: &mut Transcript) {
    let topic = world.topic("plain", 1, 1, &[]).await;
    for version in world.each::<DescribeConfigsRequest>(&[1]) {
        let all = describe(world, (TOPIC, &topic.name), None, version).await;
        for name in TOPIC_CONFIGS.iter().map(|s| s.name) {
            let found = all.configs.iter().find(|c| c.name == name);
            t.say(format!("v{version}, {name}"), found.map_or("missing".into(), entry));
        }
        let others = all.configs.iter().filter(|c| TOPIC_CONFIGS.iter().all(|s| c.name != s.name));
        let mut others: Vec<_> = others.map(|c| c.name.to_string()).collect();
        others.sort();
        t.say(format!("v{version}, others"), others.join(" "));
    }
}

async fn overridden(world: &World, t: &mut Transcript) {
    let own =
        [("retention.ms", "1000"), ("cleanup.policy", "compact"), ("preallocate", "true"), ("compression.type", "lz4")];
    let topic = world.topic("own", 1, 1, &own).await;
    let keys = ["retention.ms", "cleanup.policy", "retention.bytes", "preallocate", "compression.type", "nonsense"];
    for version in world.each::<DescribeConfigsRequest>(&[1, 3]) {
        let mut found = describe(world, (TOPIC, &topic.name), Some(&keys), version).await;
        found.configs.sort_by(|a, b| a.name.cmp(&b.name));
        for config in &found.configs {
            t.say(format!("v{version}, {}", config.name), entry(config));
        }
        let none = describe(world, (TOPIC, &topic.name), Some(&[]), version).await;
        t.say(format!("v{version}, no keys"), none.configs.is_empty());
    }
}

async fn described(world: &World, t: &mut Transcript) {
    let absent = world.name("absent");
    for (case, resource) in [
        ("unknown topic", (TOPIC, absent.as_str())),
        ("illegal topic", (TOPIC, "a b")),
        ("empty topic", (TOPIC, "")),
        ("unknown broker", (4, "99")),
        ("another broker", (4, "2")),
        ("broker without number", (4, "one")),
        ("cluster", (4, "")),
        ("broker", (4, "1")),
        ("unknown type", (77, "x")),
        ("type 0", (0, "x")),
    ] {
        let keys = ["num.partitions"];
        let found = describe(world, resource, Some(&keys), world.newest::<DescribeConfigsRequest>(4)).await;
        let name = (found.resource_type, found.resource_name.as_str());
        let text = found.error_message.as_deref().map(|m| !m.is_empty());
        let values: Vec<_> = found.configs.iter().map(|c| format!("{}={:?}", c.name, c.value.as_deref())).collect();
        t.say(case, format!("{} {name:?} text {text:?} {values:?}", found.error_code));
    }
}

/// The topic's own settings, once the broker knows all that was changed so far: a last change tells. Changes reach a broker
/// in their order, by and by.
async fn own(world: &World, name: &str) -> String {
    const MARK: &str = "file.delete.delay.ms";
    let mark = fastrand::u32(1..).to_string();
    let config = incremental_alter_configs::AlterableConfig {
        name: MARK.into(),
        value: Some(mark.as_str().into()),
        ..Default::default()
    };
    let resource = incremental_alter_configs::RequestResource {
        resource_type: TOPIC,
        resource_name: name.into(),
        configs: vec![config],
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    world.ask(world.any(), &request, 1).await;
    let all = world.until("change of settings", async || {
        let all = describe(world, (TOPIC, name), None, world.newest::<DescribeConfigsRequest>(4)).await;
        all.configs.iter().any(|c| c.name == MARK && c.value.as_deref() == Some(&mark)).then_some(all)
    });
    let all = all.await;
    let own = all.configs.iter().filter(|c| c.config_source == 1 && c.name != MARK);
    let mut own: Vec<_> = own.map(|c| format!("{}={}", c.name, c.value.as_deref().unwrap_or("null"))).collect();
    own.sort();
    own.join(" ")
}

async fn alter(world: &World, t: &mut Transcript) {
    let topic = world.topic("altered", 1, 1, &[("cleanup.policy", "compact")]).await;
    let absent = world.name("absent");
    let (name, absent) = (topic.name.as_str(), absent.as_str());
    let change = |name, op, value: Option<&str>| incremental_alter_configs::AlterableConfig {
        name: StrBytes::from(name),
        config_operation: op,
        value: value.map(Into::into),
    };
    for (case, resource, configs) in [
        ("set", (TOPIC, name), vec![change("retention.ms", 0, Some("5000"))]),
        ("set again", (TOPIC, name), vec![change("retention.ms", 0, Some("6000"))]),
        ("delete", (TOPIC, name), vec![change("retention.ms", 1, None)]),
        ("delete what is not set", (TOPIC, name), vec![change("retention.bytes", 1, None)]),
        ("append", (TOPIC, name), vec![change("cleanup.policy", 2, Some("delete"))]),
        ("append again", (TOPIC, name), vec![change("cleanup.policy", 2, Some("delete"))]),
        ("subtract", (TOPIC, name), vec![change("cleanup.policy", 3, Some("compact"))]),
        ("append a bad one", (TOPIC, name), vec![change("cleanup.policy", 2, Some("burn"))]),
        ("append to a number", (TOPIC, name), vec![change("retention.ms", 2, Some("1"))]),
        ("unknown operation", (TOPIC, name), vec![change("retention.ms", 9, Some("1"))]),
        ("null", (TOPIC, name), vec![change("retention.ms", 0, None)]),
        ("delete the unknown", (TOPIC, name), vec![change("nonsense", 1, None)]),
        ("unknown", (TOPIC, name), vec![change("nonsense", 0, Some("1"))]),
        ("bad value", (TOPIC, name), vec![change("retention.ms", 0, Some("soon"))]),
        (
            "one good one bad",
            (TOPIC, name),
            vec![change("retention.ms", 0, Some("9")), change("segment.ms", 0, Some("x"))],
        ),
        (
            "the same twice",
            (TOPIC, name),
            vec![change("retention.ms", 0, Some("9")), change("retention.ms", 0, Some("8"))],
        ),
        ("nothing", (TOPIC, name), vec![]),
        ("unknown topic", (TOPIC, absent), vec![change("retention.ms", 0, Some("1"))]),
        ("illegal topic", (TOPIC, "a b"), vec![change("retention.ms", 0, Some("1"))]),
        ("unknown type", (99, name), vec![change("retention.ms", 0, Some("1"))]),
    ] {
        let resource = incremental_alter_configs::RequestResource {
            resource_type: resource.0,
            resource_name: resource.1.into(),
            configs,
        };
        for validate_only in [true, false] {
            let request = IncrementalAlterConfigsRequest { resources: vec![resource.clone()], validate_only };
            let answer = world.ask(world.any(), &request, 1).await;
            let r = &answer.responses[0];
            let text = r.error_message.as_deref().map(|m| !m.is_empty());
            let said = format!("{} text {text:?} {:?}", r.error_code, (r.resource_type, r.resource_name.as_str()));
            t.say(format!("{case}{}", if validate_only { ", only checked" } else { "" }), said);
        }
        t.say(format!("after {case}"), own(world, name).await);
    }
}

/// AlterConfigs replaces all settings.
async fn alter_whole(world: &World, t: &mut Transcript) {
    let topic = world.topic("replaced", 1, 1, &[("cleanup.policy", "compact")]).await;
    for version in world.each::<AlterConfigsRequest>(&[0, 1]) {
        for (case, name, value) in [
            ("good", "retention.ms", Some("77")),
            ("bad", "retention.ms", Some("x")),
            ("unknown", "nonsense", Some("1")),
            ("null", "segment.ms", None),
        ] {
            let config = alter_configs::AlterableConfig { name: name.into(), value: value.map(Into::into) };
            let resource = alter_configs::RequestResource {
                resource_type: TOPIC,
                resource_name: topic.name.clone(),
                configs: vec![config],
            };
            let request = AlterConfigsRequest { resources: vec![resource], validate_only: false };
            let answer = world.ask(world.any(), &request, version).await;
            let r = &answer.responses[0];
            t.say(format!("v{version}, {case}"), format!("{} text {}", r.error_code, r.error_message.is_some()));
            t.say(format!("v{version}, after {case}"), own(world, &topic.name).await);
        }
    }
}

async fn delete_records(world: &World, t: &mut Transcript) {
    let topic = world.topic("shrinks", 1, 1, &[]).await;
    for n in [3, 2, 4] {
        world.produce(&topic, 0, &plain(world.t0, n)).await;
    }
    let absent = StrBytes::from(world.name("absent").as_str());
    let leader = topic.leaders[0];
    for version in world.each::<DeleteRecordsRequest>(&[0]) {
        let step = if version == 0 { 0 } else { 5 };
        for (case, broker, name, partition, offset) in [
            ("unknown topic", leader, &absent, 0, 1),
            ("unknown partition", leader, &topic.name, 1, 1),
            ("another broker", topic.other(0), &topic.name, 0, 1),
            ("-2", leader, &topic.name, 0, -2),
            ("past the end", leader, &topic.name, 0, 10),
            ("in a batch", leader, &topic.name, 0, 1 + step),
            ("again", leader, &topic.name, 0, 1 + step),
            ("before that", leader, &topic.name, 0, 0),
            ("a batch's end", leader, &topic.name, 0, 3 + step),
            ("all", leader, &topic.name, 0, if step == 0 { 5 } else { -1 }),
        ] {
            let partitions = vec![delete_records::RequestPartition { partition_index: partition, offset }];
            let topics = vec![delete_records::RequestTopic { name: name.clone(), partitions }];
            let answer = world.ask(broker, &DeleteRecordsRequest { topics, timeout_ms: 9000 }, version).await;
            let p = &answer.topics[0].partitions[0];
            let seen = [-2, -1, world.t0].map(|time| world.offset(&topic, 0, time, false));
            let mut ends = Vec::new();
            for seen in seen {
                ends.push(seen.await.offset);
            }
            t.say(format!("v{version}, {case}"), format!("{} low {}, then {ends:?}", p.error_code, p.low_watermark));
        }
        for offset in [0, 5, 9] {
            let fetched = super::fetch::one(world, &topic, offset).await;
            t.say(format!("v{version}, fetch from {offset}"), fetched);
        }
    }
    t.say("written to", produced(world, &world.produce(&topic, 0, &plain(world.t0, 1)).await));
}
