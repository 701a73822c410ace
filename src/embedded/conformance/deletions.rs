//! CreatePartitions and DeleteTopics.

use super::Transcript;
use super::client::World;
use super::help::{Topic, at, plain, produced};
use crate::wire::messages::*;
use crate::wire::{ErrorCode, StrBytes, Uuid};

super::scenarios! { "deletions": grow delete recreated }

async fn grow(world: &World, t: &mut Transcript) {
    let topic = world.topic("grows", 2, 1, &[]).await;
    let absent = StrBytes::from(world.name("absent").as_str());
    let given = |ids: &[&[i32]]| {
        let one = |ids: &&[i32]| create_partitions::Assignment { broker_ids: ids.to_vec() };
        Some(ids.iter().map(one).collect::<Vec<_>>())
    };
    for version in world.each::<CreatePartitionsRequest>(&[0, 1]) {
        for (case, name, count, assignments, validate_only) in [
            ("as many", &topic.name, 2, None, false),
            ("fewer", &topic.name, 1, None, false),
            ("none", &topic.name, 0, None, false),
            ("negative", &topic.name, -1, None, false),
            ("only checked", &topic.name, 4, None, true),
            ("unknown topic", &absent, 4, None, false),
            ("assigned too few", &topic.name, 4, given(&[&[1]]), false),
            ("assigned too many", &topic.name, 3, given(&[&[1], &[2]]), false),
            ("assigned unknown", &topic.name, 3, given(&[&[9]]), false),
            ("assigned too many replicas", &topic.name, 3, given(&[&[1, 2]]), false),
            ("assigned nothing", &topic.name, 3, given(&[]), true),
        ] {
            let asked = create_partitions::TopicPartitions { name: name.clone(), count, assignments };
            let request = CreatePartitionsRequest { topics: vec![asked], timeout_ms: 9000, validate_only };
            let answer = world.ask(world.any(), &request, version).await;
            let result = &answer.results[0];
            t.say(
                format!("v{version}, {case}"),
                format!("{} text {}", result.error_code, result.error_message.is_some()),
            );
        }
    }
    let asked =
        |count, assignments| create_partitions::TopicPartitions { name: topic.name.clone(), count, assignments };
    for (case, topics) in [
        ("more", vec![asked(3, None)]),
        ("placed", vec![asked(5, given(&[&[3], &[1]]))]),
        ("twice", vec![asked(6, None), asked(7, None)]),
    ] {
        let request = CreatePartitionsRequest { topics, timeout_ms: 9000, validate_only: false };
        let answer = world.ask(world.any(), &request, world.newest::<CreatePartitionsRequest>(3)).await;
        let codes: Vec<_> = answer.results.iter().map(|r| r.error_code.to_string()).collect();
        t.say(case, format!("{codes:?}"));
    }
    let grown = world.ready(&topic.name, 5).await;
    t.say("leaders of what was placed", format!("{:?}", &grown.leaders[3..]));
}

fn deleted(answer: &DeleteTopicsResponse, known: &Topic) -> String {
    let mut all: Vec<_> = answer
        .responses
        .iter()
        .map(|r| {
            let id = if r.topic_id == known.id {
                "its id"
            } else if r.topic_id.is_zero() {
                "no id"
            } else {
                "an id"
            };
            format!("{} {:?} {id} text {}", r.error_code, r.name.as_deref(), r.error_message.is_some())
        })
        .collect();
    all.sort();
    all.join("; ")
}

async fn delete(world: &World, t: &mut Transcript) {
    let absent = StrBytes::from(world.name("absent").as_str());
    for version in world.each::<DeleteTopicsRequest>(&[1, 4, 5]) {
        let topic = world.topic(&format!("deleted{version}"), 1, 1, &[]).await;
        let by_name = |name: &StrBytes| {
            let state = delete_topics::DeleteTopicState { name: Some(name.clone()), topic_id: Uuid::ZERO };
            if version >= 6 { (vec![state], vec![]) } else { (vec![], vec![name.clone()]) }
        };
        let by_id = |topic_id, name| (vec![delete_topics::DeleteTopicState { name, topic_id }], vec![]);
        let mut cases = vec![("unknown", by_name(&absent)), ("illegal", by_name(&"a b".into()))];
        if version >= 6 {
            cases.push(("unknown id", by_id(Uuid([8; 16]), None)));
            cases.push(("name and id", by_id(topic.id, Some(topic.name.clone()))));
            cases.push(("neither", by_id(Uuid::ZERO, None)));
            let state =
                |name: Option<&StrBytes>, topic_id| delete_topics::DeleteTopicState { name: name.cloned(), topic_id };
            cases.push(("twice", (vec![state(Some(&absent), Uuid::ZERO), state(Some(&absent), Uuid::ZERO)], vec![])));
            cases.push(("by id", by_id(topic.id, None)));
        } else {
            cases.push(("by name", by_name(&topic.name)));
        }
        cases.push(("again", by_name(&topic.name)));
        for (case, (topics, topic_names)) in cases {
            let request = DeleteTopicsRequest { topics, topic_names, timeout_ms: 9000 };
            let said = match world.try_ask(world.any(), &request, version).await {
                Ok(answer) => deleted(&answer, &topic),
                Err(what) => what.into(),
            };
            t.say(format!("{}, {case}", at::<DeleteTopicsRequest>(version)), said);
        }
        for broker in [1, 2, 3] {
            world.until("deletion", async || world.look_up(broker, &topic.name, 1).await.is_none().then_some(())).await;
        }
        let gone = async || {
            let answer = world.produce(&topic, 0, &plain(world.t0, 1)).await;
            (answer.error_code != ErrorCode::NOT_LEADER_OR_FOLLOWER).then(|| produced(world, &answer))
        };
        t.say(format!("v{version}, written to"), world.until("end of the topic", gone).await);
    }
}

/// A topic of the same name is another topic.
async fn recreated(world: &World, t: &mut Transcript) {
    let old = world.topic("phoenix", 1, 1, &[]).await;
    world.produce(&old, 0, &plain(world.t0, 3)).await;
    let names = vec![delete_topics::DeleteTopicState { name: Some(old.name.clone()), topic_id: Uuid::ZERO }];
    world.ask(1, &DeleteTopicsRequest { topics: names, timeout_ms: 9000, ..Default::default() }, 6).await;
    for broker in [1, 2, 3] {
        world.until("deletion", async || world.look_up(broker, &old.name, 1).await.is_none().then_some(())).await;
    }
    let new = world.topic("phoenix", 1, 1, &[]).await;
    t.say("another id", new.id != old.id);
    t.say("starts anew", produced(world, &world.produce(&new, 0, &plain(world.t0, 1)).await));
    if world.newest::<ProduceRequest>(13) == 13 {
        let request = super::help::produce_request(&old, 0, &plain(world.t0, 1), None, 1);
        let answer = world.ask(new.leaders[0], &request, 13).await;
        t.say("written to by the old id", produced(world, &answer.responses[0].partition_responses[0]));
    }
}
