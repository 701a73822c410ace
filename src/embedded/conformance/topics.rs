//! CreateTopics.

use super::Transcript;
use super::client::World;
use crate::wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig, ReplicaAssignment};
use crate::wire::messages::*;

super::scenarios! { "topics": create assigned batch_of_creations only_checked }

fn created(topic: &create_topics::CreatedTopic) -> String {
    let configs = topic.configs.as_ref().map(|all| {
        let own = all.iter().filter(|c| c.config_source == 1);
        own.map(|c| format!("{}={}", c.name, c.value.as_deref().unwrap_or("null"))).collect::<Vec<_>>()
    });
    format!(
        "{} id {} text {} {} partitions of {} own {configs:?}",
        topic.error_code,
        !topic.topic_id.is_zero(),
        topic.error_message.is_some(),
        topic.num_partitions,
        topic.replication_factor
    )
}

fn asked(name: &str, partitions: i32, replicas: i16, configs: &[(&str, Option<&str>)]) -> CreatableTopic {
    let config = |&(name, value): &(&str, Option<&str>)| CreatableTopicConfig {
        name: name.into(),
        value: value.map(Into::into),
    };
    CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: replicas,
        configs: configs.iter().map(config).collect(),
        ..Default::default()
    }
}

async fn ask(world: &World, topic: CreatableTopic, version: i16) -> Result<String, &'static str> {
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    Ok(created(&world.try_ask(world.any(), &request, version).await?.topics[0]))
}

async fn create(world: &World, t: &mut Transcript) {
    for version in world.each::<CreateTopicsRequest>(&[2, 4, 5]) {
        let name = |s: &str| world.name(&format!("{s}-{version}"));
        world.topic(&format!("exists.{version}"), 1, 1, &[]).await;
        let (long, exists) = ("x".repeat(250), world.name(&format!("exists.{version}")));
        let config = |n: &str, v: &str| asked(&name(&format!("config-{n}-{v}")), 1, 1, &[(n, Some(v))]);
        for (case, topic) in [
            ("exists", asked(&exists, 1, 1, &[])),
            ("collides", asked(&exists.replace('.', "_"), 1, 1, &[])),
            ("exists and more is wrong", asked(&exists, 0, 9, &[("nonsense", Some("1"))])),
            ("illegal name", asked("a b", 1, 1, &[])),
            ("empty name", asked("", 1, 1, &[])),
            ("dot", asked(".", 1, 1, &[])),
            ("long", asked(&long, 1, 1, &[])),
            ("no partitions", asked(&name("none"), 0, 1, &[])),
            ("-2 partitions", asked(&name("none"), -2, 1, &[])),
            ("no replicas", asked(&name("none"), 1, 0, &[])),
            ("-2 replicas", asked(&name("none"), 1, -2, &[])),
            ("too many replicas", asked(&name("none"), 1, 4, &[])),
            ("defaults", asked(&name("defaults"), -1, -1, &[])),
            ("unknown config", config("nonsense", "1")),
            ("bad number", config("retention.ms", "soon")),
            ("number too low", config("retention.ms", "-2")),
            ("bad policy", config("cleanup.policy", "burn")),
            ("empty policy", config("cleanup.policy", "")),
            ("bad bool", config("preallocate", "perhaps")),
            ("bad ratio", config("min.cleanable.dirty.ratio", "2")),
            ("bad replicas", config("min.insync.replicas", "0")),
            ("bad time type", config("message.timestamp.type", "Whenever")),
            ("bad size", config("max.message.bytes", "-1")),
            ("small segment", config("segment.bytes", "1")),
            ("bad codec", config("compression.type", "brotli")),
            ("null config", asked(&name("null"), 1, 1, &[("retention.ms", None)])),
            (
                "good config",
                asked(
                    &name("good"),
                    2,
                    3,
                    &[("retention.ms", Some("1000")), ("cleanup.policy", Some("compact,delete"))],
                ),
            ),
            ("good bool", asked(&name("bool"), 1, 1, &[("preallocate", Some("FALSE"))])),
            ("spaces", asked(&name("spaces"), 1, 1, &[("retention.ms", Some(" 1000 "))])),
        ] {
            let said = ask(world, topic, version).await.unwrap_or_else(Into::into);
            t.say(format!("v{version}, {case}"), said);
        }
    }
}

async fn assigned(world: &World, t: &mut Transcript) {
    let with = |name: &str, partitions: i32, replicas: i16, all: &[(i32, &[i32])]| CreatableTopic {
        assignments: all
            .iter()
            .map(|(p, ids)| ReplicaAssignment { partition_index: *p, broker_ids: ids.to_vec() })
            .collect(),
        ..asked(&world.name(name), partitions, replicas, &[])
    };
    for (case, topic) in [
        ("good", with("good", -1, -1, &[(0, &[2, 1]), (1, &[3, 2])])),
        ("out of order", with("unordered", -1, -1, &[(1, &[2]), (0, &[3])])),
        ("with a number", with("number", 2, -1, &[(0, &[2]), (1, &[3])])),
        ("with replicas", with("replicas", -1, 1, &[(0, &[2]), (1, &[3])])),
        ("a gap", with("gap", -1, -1, &[(0, &[2]), (2, &[3])])),
        ("not from 0", with("from1", -1, -1, &[(1, &[2]), (2, &[3])])),
        ("twice", with("twice", -1, -1, &[(0, &[2]), (0, &[3])])),
        ("unknown broker", with("unknown", -1, -1, &[(0, &[9])])),
        ("the same broker twice", with("same", -1, -1, &[(0, &[2, 2])])),
        ("no brokers", with("none", -1, -1, &[(0, &[])])),
        ("uneven", with("uneven", -1, -1, &[(0, &[1]), (1, &[2, 3])])),
        ("negative", with("negative", -1, -1, &[(-1, &[1])])),
    ] {
        let said = ask(world, topic, world.newest::<CreateTopicsRequest>(7)).await.unwrap_or_else(Into::into);
        t.say(case, said);
    }
    let good = world.ready(&world.name("good"), 2).await;
    t.say("leaders", format!("{:?}", good.leaders));
}

/// Several topics in one request.
async fn batch_of_creations(world: &World, t: &mut Transcript) {
    let name = |s: &str| world.name(s);
    let topics = vec![
        asked(&name("one"), 1, 1, &[]),
        asked(&name("twice"), 1, 1, &[]),
        asked(&name("two"), 0, 1, &[]),
        asked(&name("twice"), 2, 1, &[]),
        asked(&name("a.b"), 1, 1, &[]),
        asked(&name("a_b"), 1, 1, &[]),
    ];
    for version in world.each::<CreateTopicsRequest>(&[4]) {
        let request = CreateTopicsRequest { topics: topics.clone(), ..Default::default() };
        let mut answer = world.ask(world.any(), &request, version).await.topics;
        answer.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in answer {
            t.say(format!("v{version}, {}", topic.name), created(&topic));
        }
    }
    let request = CreateTopicsRequest::default();
    t.say("none", world.ask(world.any(), &request, 5).await.topics.len());
}

async fn only_checked(world: &World, t: &mut Transcript) {
    for version in world.each::<CreateTopicsRequest>(&[2, 5]) {
        for (case, topic) in [
            ("good", asked(&world.name("checked"), 2, 1, &[("retention.ms", Some("5"))])),
            ("bad", asked(&world.name("checked"), 0, 1, &[])),
        ] {
            let request = CreateTopicsRequest { topics: vec![topic], validate_only: true, ..Default::default() };
            let answer = world.ask(world.any(), &request, version).await;
            t.say(format!("v{version}, {case}"), created(&answer.topics[0]));
        }
    }
    t.say("exists", world.look_up(world.any(), &world.name("checked"), 2).await.is_some());
}
