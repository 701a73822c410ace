use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

mod against_java;
mod promises;
mod subscriptions;

fn member(id: &str, instance: Option<&str>, topics: &[&str]) -> Subscription {
    Subscription {
        member_id: id.into(),
        instance_id: instance.map(Into::into),
        topics: topics.iter().map(|t| (*t).into()).collect(),
        ..Default::default()
    }
}

fn counts(of: &[(&str, i32)]) -> BTreeMap<TopicName, i32> {
    of.iter().map(|(t, n)| ((*t).into(), *n)).collect()
}

fn shown(assignments: &Assignments, id: &str) -> Vec<String> {
    assignments[id].iter().map(ToString::to_string).collect()
}

/// The fixture is made by `AssignorFixture.java` beside it, from kafka-clients' own assignors.
#[test]
fn assignments_equal_those_of_kafkas_java_assignors() {
    let fixture: Value = serde_json::from_str(include_str!("../../../tests/fixtures/assignors.json")).unwrap();
    let cases = fixture.as_array().unwrap();
    assert!(cases.len() >= 150);
    for (number, case) in cases.iter().enumerate() {
        let named = |a: &Assignor| a.name() == case["a"].as_str().unwrap();
        let assignor = [Assignor::Range, Assignor::RoundRobin].into_iter().find(named).unwrap();
        let topics = case["t"].as_object().unwrap();
        let counts = topics.iter().map(|(t, n)| (t.as_str().into(), n.as_i64().unwrap() as i32)).collect();
        let members = case["m"].as_array().unwrap();
        let subscriptions: Vec<_> = members
            .iter()
            .map(|m| {
                let topics: Vec<_> = m[2].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
                member(m[0].as_str().unwrap(), m[1].as_str(), &topics)
            })
            .collect();
        let ours = assignor.assign(&subscriptions, &counts);
        for m in members {
            let theirs: Vec<_> = m[3].as_array().unwrap().iter().map(|p| p.as_str().unwrap().to_owned()).collect();
            let mut ours = shown(&ours, m[0].as_str().unwrap());
            ours.sort();
            assert_eq!(ours, theirs, "case {number}, {assignor}, member {}", m[0]);
        }
    }
}

#[test]
fn range_gives_the_first_members_one_more_of_every_topic() {
    let members = [member("b", None, &["t", "u"]), member("a", None, &["t", "u"])];
    let assigned = Assignor::Range.assign(&members, &counts(&[("t", 3), ("u", 3)]));
    assert_eq!(shown(&assigned, "a"), ["t-0", "t-1", "u-0", "u-1"]);
    assert_eq!(shown(&assigned, "b"), ["t-2", "u-2"]);
}

#[test]
fn round_robin_goes_on_where_the_topic_before_ended() {
    let members = [member("a", None, &["t", "u"]), member("b", None, &["t", "u"])];
    let assigned = Assignor::RoundRobin.assign(&members, &counts(&[("t", 3), ("u", 3)]));
    assert_eq!(shown(&assigned, "a"), ["t-0", "t-2", "u-1"]);
    assert_eq!(shown(&assigned, "b"), ["t-1", "u-0", "u-2"]);
}

#[test]
fn static_members_come_first_by_instance_id() {
    let members = [member("a", None, &["t"]), member("z", Some("1"), &["t"]), member("y", Some("2"), &["t"])];
    let assigned = Assignor::Range.assign(&members, &counts(&[("t", 2)]));
    assert_eq!(shown(&assigned, "z"), ["t-0"]);
    assert_eq!(shown(&assigned, "y"), ["t-1"]);
    assert!(assigned["a"].is_empty());
}

#[test]
fn a_topic_that_does_not_exist_is_left_out_and_every_member_has_an_entry() {
    for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky] {
        let assigned = assignor.assign(&[member("a", None, &["missing"])], &counts(&[("other", 4)]));
        assert!(assigned["a"].is_empty());
    }
}
