//! Promises of the session planner, against what KIP-227 says a broker does.

use super::*;

const A: TopicId = TopicId([1; 16]);
const B: TopicId = TopicId([2; 16]);

fn at(offset: i64) -> Want {
    Want { offset, current_leader_epoch: 3, last_fetched_epoch: -1, max_bytes: 1 << 20 }
}

fn session(partitions: i32, id: TopicId) -> (Session, Vec<Slot>) {
    let mut session = Session::default();
    let slots: Vec<_> = (0..partitions).map(|p| session.slot(&"orders".into(), id, p)).collect();
    for &slot in &slots {
        session.want(slot, at(0));
    }
    (session, slots)
}

fn named(plan: &Plan) -> Vec<(i32, i64)> {
    plan.topics.iter().flat_map(|t| &t.partitions).map(|(p, w)| (*p, w.offset)).collect()
}

fn forgotten(plan: &Plan) -> Vec<i32> {
    plan.forgotten.iter().flat_map(|t| t.partitions.clone()).collect()
}

#[test]
fn the_first_fetch_is_full_and_an_idle_poll_names_no_partition() {
    let (mut session, slots) = session(1000, A);
    let plan = session.plan();
    assert_eq!((plan.session_id, plan.session_epoch, plan.by_id), (0, 0, true));
    assert_eq!((plan.topics.len(), named(&plan).len()), (1, 1000));
    session.on_answer(77);
    for epoch in 1..4 {
        let plan = session.plan();
        assert_eq!((plan.session_id, plan.session_epoch), (77, epoch));
        assert!(plan.topics.is_empty() && plan.forgotten.is_empty());
        session.on_answer(77);
    }
    session.want(slots[5], at(10));
    assert_eq!(named(&session.plan()), [(5, 10)]);
    session.on_answer(77);
    assert!(named(&session.plan()).is_empty(), "an offset is sent once");
}

#[test]
fn a_paused_partition_is_forgotten_once_and_named_again_on_resume() {
    let (mut session, slots) = session(2, A);
    session.plan();
    session.on_answer(7);
    session.unwant(slots[1]);
    assert!(session.answered_from(slots[1]).is_none(), "an answer on its way is stale");
    let plan = session.plan();
    assert_eq!((named(&plan), forgotten(&plan)), (vec![], vec![1]));
    session.on_answer(7);
    assert!(forgotten(&session.plan()).is_empty());
    session.on_answer(7);
    let slot = session.slot(&"orders".into(), A, 1);
    session.want(slot, at(4));
    assert_eq!(named(&session.plan()), [(1, 4)]);
}

#[test]
fn pausing_and_resuming_between_two_requests_changes_nothing() {
    let (mut session, slots) = session(1, A);
    session.plan();
    session.on_answer(7);
    session.unwant(slots[0]);
    let slot = session.slot(&"orders".into(), A, 0);
    session.want(slot, at(0));
    assert!(!session.has_changes());
    assert_eq!(session.answered_from(slot), Some(0));
}

#[test]
fn an_answer_for_an_offset_no_longer_wanted_is_stale() {
    let (mut session, slots) = session(1, A);
    session.plan();
    session.want(slots[0], at(50));
    assert_eq!(session.answered_from(slots[0]), None);
    session.on_answer(7);
    assert_eq!(named(&session.plan()), [(0, 50)]);
    assert_eq!(session.answered_from(slots[0]), Some(50));
}

#[test]
fn session_errors_start_over_with_a_full_fetch() {
    for (code, id) in [
        (ErrorCode::FETCH_SESSION_ID_NOT_FOUND, 0),
        (ErrorCode::INVALID_FETCH_SESSION_EPOCH, 7),
        (ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR, 7),
    ] {
        let (mut session, _) = session(3, A);
        session.plan();
        session.on_answer(7);
        session.plan();
        session.on_error(code);
        let plan = session.plan();
        assert_eq!((plan.session_id, plan.session_epoch, named(&plan).len()), (id, 0, 3), "{}", code.name());
    }
}

#[test]
fn without_a_free_session_every_fetch_is_full_and_begins_with_another_partition() {
    let (mut session, _) = session(3, A);
    for first in [0, 1, 2, 0] {
        let plan = session.plan();
        assert_eq!((plan.session_id, plan.session_epoch, named(&plan).len()), (0, 0, 3));
        assert_eq!(named(&plan)[0], (first, 0));
        session.on_answer(0);
    }
}

#[test]
fn a_lost_answer_closes_the_session_and_names_everything_again() {
    let (mut session, slots) = session(2, A);
    session.plan();
    session.on_answer(7);
    session.want(slots[0], at(9));
    session.plan();
    session.on_lost();
    let plan = session.plan();
    assert_eq!((plan.session_id, plan.session_epoch), (7, 0));
    assert_eq!(named(&plan), [(0, 9), (1, 0)]);
    session.on_answer(8);
    assert_eq!(session.plan().session_epoch, 1);
}

#[test]
fn one_topic_without_an_id_makes_the_whole_session_go_by_name() {
    let (mut session, _) = session(1, A);
    assert!(session.plan().by_id);
    session.on_answer(7);
    let old = session.slot(&"old".into(), TopicId::ZERO, 0);
    session.want(old, at(0));
    let plan = session.plan();
    assert_eq!((plan.by_id, plan.session_id, plan.session_epoch, named(&plan).len()), (false, 7, 0, 2));
    session.on_answer(8);
    session.unwant(old);
    let plan = session.plan();
    assert_eq!((plan.by_id, plan.session_epoch), (true, 0));
}

#[test]
fn a_topic_created_again_is_forgotten_by_its_old_id_and_named_by_its_new() {
    let (mut session, slots) = session(1, A);
    session.plan();
    session.on_answer(7);
    session.unwant(slots[0]);
    let new = session.slot(&"orders".into(), B, 0);
    assert_ne!(new, slots[0]);
    session.want(new, at(0));
    let plan = session.plan();
    assert_eq!((plan.session_epoch, plan.topics[0].id, plan.forgotten[0].id), (1, B, A));
    assert_eq!(session.find("", A, 0), None);
    assert_eq!(session.find("", B, 0), Some(new));
}

#[test]
fn partitions_nobody_asked_for_are_not_found() {
    let (session, slots) = session(2, A);
    assert_eq!(session.find("orders", A, 1), Some(slots[1]));
    assert_eq!(session.find("orders", TopicId::ZERO, 1), Some(slots[1]));
    assert_eq!(session.find("orders", A, 2), None);
    assert_eq!(session.find("other", TopicId::ZERO, 0), None);
    assert_eq!(session.find("orders", B, 0), None);
}

#[test]
fn the_session_epoch_wraps_to_one() {
    let (mut session, _) = session(1, A);
    session.plan();
    session.on_answer(7);
    session.epoch = i32::MAX;
    session.on_answer(7);
    assert_eq!(session.plan().session_epoch, 1);
}

#[test]
fn forgotten_slots_are_used_again() {
    let (mut session, _) = session(0, A);
    for round in 0..100 {
        let slot = session.slot(&"orders".into(), A, round);
        session.want(slot, at(0));
        session.plan();
        session.on_answer(7);
        session.unwant(slot);
        session.plan();
        session.on_answer(7);
    }
    assert!(session.entries.len() <= 2);
}
