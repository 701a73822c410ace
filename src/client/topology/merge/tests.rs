use super::*;

const A: TopicId = crate::wire::Uuid([1; 16]);
const B: TopicId = crate::wire::Uuid([2; 16]);

fn broker(id: i32) -> BrokerMeta {
    BrokerMeta { id, host: "kafka".into(), port: 9092 + id as u16, rack: None }
}

/// An answer about the topic "t", partitions as (leader, epoch).
fn answer(id: TopicId, partitions: &[(i32, i32)]) -> Answer {
    let partitions = partitions.iter().enumerate().map(|(i, &(leader, leader_epoch))| AnsweredPartition {
        number: i as i32,
        error: ErrorCode::NONE,
        leader,
        leader_epoch,
    });
    let topic = AnsweredTopic { name: "t".into(), id, error: ErrorCode::NONE, partitions: partitions.collect() };
    Answer { controller: 1, brokers: vec![broker(1), broker(2)], topics: vec![topic], ..Answer::default() }
}

fn refused(error: ErrorCode) -> Answer {
    let topic = AnsweredTopic { name: "t".into(), id: TopicId::ZERO, error, partitions: vec![] };
    Answer { controller: 1, brokers: vec![broker(1)], topics: vec![topic], ..Answer::default() }
}

fn leader(merge: &Merge, partition: i32) -> (i32, i32) {
    let p = merge.topology().partition(&TopicPartition::new("t", partition)).unwrap();
    (p.leader, p.leader_epoch)
}

#[test]
fn a_leader_epoch_never_goes_back_within_one_topic_id() {
    let mut merge = Merge::default();
    merge.answer(answer(A, &[(1, 5)]));
    merge.answer(answer(A, &[(2, 4)]));
    assert_eq!(leader(&merge, 0), (1, 5));
    merge.answer(answer(A, &[(2, 6)]));
    assert_eq!(leader(&merge, 0), (2, 6));
}

#[test]
fn any_epoch_is_believed_of_a_new_topic_id() {
    let mut merge = Merge::default();
    merge.answer(answer(A, &[(1, 5), (1, 5)]));
    merge.answer(answer(B, &[(2, 0)]));
    assert_eq!(leader(&merge, 0), (2, 0));
    let now = merge.topology();
    assert_eq!(now.topic("t").unwrap().partitions.len(), 1, "the new topic has its own partition count");
    assert!(now.topic_by_id(A).is_none() && now.topic_by_id(B).is_some());
}

#[test]
fn a_lower_epoch_is_believed_after_five_agreeing_answers() {
    let mut merge = Merge::default();
    merge.answer(answer(A, &[(1, 5)]));
    for _ in 0..4 {
        merge.answer(answer(A, &[(2, 3)]));
        assert_eq!(leader(&merge, 0), (1, 5));
    }
    merge.answer(answer(A, &[(2, 3)]));
    assert_eq!(leader(&merge, 0), (2, 3));
}

#[test]
fn answers_that_disagree_do_not_add_up() {
    let mut merge = Merge::default();
    merge.answer(answer(A, &[(1, 5)]));
    for epoch in [3, 4, 3, 4, 3, 4, 3, 4] {
        merge.answer(answer(A, &[(2, epoch)]));
    }
    assert_eq!(leader(&merge, 0), (1, 5));
}

#[test]
fn an_unknown_epoch_takes_the_leader_and_keeps_the_known_epoch() {
    let mut merge = Merge::default();
    merge.answer(answer(A, &[(1, 5)]));
    merge.answer(answer(A, &[(2, -1)]));
    assert_eq!(leader(&merge, 0), (2, 5));
}

#[test]
fn replica_not_available_keeps_its_leader_and_leader_not_available_has_none() {
    let mut merge = Merge::default();
    let mut first = answer(A, &[(1, 1), (2, 1), (2, 1)]);
    first.topics[0].partitions[0].error = ErrorCode::REPLICA_NOT_AVAILABLE;
    first.topics[0].partitions[1].error = ErrorCode::LEADER_NOT_AVAILABLE;
    first.topics[0].partitions[2].error = ErrorCode::LISTENER_NOT_FOUND;
    merge.answer(first);
    assert_eq!((leader(&merge, 0).0, leader(&merge, 1).0, leader(&merge, 2).0), (1, -1, -1));
    assert!(!merge.topology().is_complete());
    merge.answer(answer(A, &[(1, 1), (2, 1), (2, 1)]));
    assert!(merge.topology().is_complete());
}

#[test]
fn a_known_topic_survives_four_answers_that_do_not_know_it() {
    let mut merge = Merge::default();
    merge.answer(answer(A, &[(1, 5)]));
    for _ in 0..4 {
        merge.answer(refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        assert!(merge.topology().topic("t").is_some());
        assert_eq!(merge.topology().refusal("t"), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    }
    merge.answer(refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    assert!(merge.topology().topic("t").is_none() && merge.topology().topic_by_id(A).is_none());
    merge.answer(answer(B, &[(1, 0)]));
    assert!(merge.topology().refusal("t").is_none());
}

#[test]
fn partitions_grow_and_never_become_fewer() {
    let mut merge = Merge::default();
    merge.answer(answer(A, &[(1, 0), (1, 0)]));
    merge.answer(answer(A, &[(1, 0)]));
    assert_eq!(merge.topology().topic("t").unwrap().partitions.len(), 2);
    merge.answer(answer(A, &[(1, 0), (1, 0), (2, 0)]));
    assert_eq!(leader(&merge, 2), (2, 0));
}

#[test]
fn an_unchanged_topic_keeps_its_arc() {
    let mut merge = Merge::default();
    let first = merge.answer(answer(A, &[(1, 0)])).topic("t").unwrap().clone();
    let second = merge.answer(answer(A, &[(1, 0)])).topic("t").unwrap().clone();
    assert!(Arc::ptr_eq(&first, &second));
}

#[test]
fn a_leader_learned_from_an_answer_needs_a_higher_epoch_and_a_known_broker() {
    let mut merge = Merge::default();
    merge.answer(answer(A, &[(1, 5)]));
    let tp = TopicPartition::new("t", 0);
    assert!(!merge.leader(&tp, 2, 5, None), "not newer");
    assert!(!merge.leader(&tp, 7, 6, None), "broker 7 has no address");
    assert!(!merge.leader(&TopicPartition::new("t", 9), 2, 6, None), "no such partition");
    assert!(merge.leader(&tp, 2, 6, None));
    assert_eq!(leader(&merge, 0), (2, 6));
    assert!(merge.leader(&tp, 7, 7, Some(broker(7))));
    assert_eq!(leader(&merge, 0), (7, 7));
}

#[test]
fn hostile_partition_numbers_allocate_nothing() {
    let mut merge = Merge::default();
    let mut wild = answer(A, &[(1, 0)]);
    for number in [-1, i32::MIN, i32::MAX] {
        let base = wild.topics[0].partitions[0].clone();
        wild.topics[0].partitions.push(AnsweredPartition { number, ..base });
    }
    merge.answer(wild);
    assert_eq!(merge.topology().topic("t").unwrap().partitions.len(), 1);
}

#[test]
fn ids_learned_later_belong_to_the_same_topic() {
    let mut merge = Merge::default();
    merge.answer(answer(TopicId::ZERO, &[(1, 5)]));
    merge.answer(answer(A, &[(2, 4)]));
    assert_eq!(leader(&merge, 0), (1, 5), "no new topic, so the lower epoch is doubted");
    merge.answer(answer(TopicId::ZERO, &[(1, 5)]));
    assert_eq!(merge.topology().topic("t").unwrap().id, A);
}
