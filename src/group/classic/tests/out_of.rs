//! From an assignment to nothing: rebalances, losses, leaving, failure.

use super::*;

fn static_member() -> GroupConfig {
    GroupConfig { instance_id: Some("i1".into()), ..config() }
}

/// A member of generation 1 that joins anew, with nothing that it owns: the token of its JoinGroup.
fn joining(config: GroupConfig) -> (Bench, Token) {
    let mut bench = Bench::stable_with(config, vec![]);
    bench.heartbeat(Err(code(ErrorCode::REBALANCE_IN_PROGRESS)));
    due!(bench, Join { token });
    (bench, token)
}

#[test]
fn an_announced_rebalance_revokes_everything_and_joins_again_after_the_answer() {
    let mut bench = Bench::stable(tps(0..2));
    bench.heartbeat(Ok(()));
    bench.heartbeat(Err(code(ErrorCode::REBALANCE_IN_PROGRESS)));
    due!(bench, Revoke { token, partitions, deadline });
    assert_eq!(partitions, tps(0..2));
    assert_eq!(deadline, bench.now + seconds(10));
    assert_eq!(bench.machine.commit_generation().map(|g| g.id), Some(1), "the last commit still counts");
    bench.heartbeat(Err(code(ErrorCode::REBALANCE_IN_PROGRESS)));
    bench.idle();
    bench.tell(Event::Revoked { token });
    assert!(bench.machine.commit_generation().is_none() && !bench.machine.owns(&tp(0)));
    due!(bench, Join { token, member_id });
    assert_eq!(&*member_id, "m1");
}

#[test]
fn a_rebalance_with_nothing_owned_joins_at_once() {
    let mut bench = Bench::stable(vec![]);
    bench.heartbeat(Err(code(ErrorCode::REBALANCE_IN_PROGRESS)));
    due!(bench, Join { token });
}

#[test]
fn a_worker_that_never_answers_loses_its_partitions_soon_after_the_deadline() {
    let mut bench = Bench::stable(tps(0..1));
    bench.heartbeat(Err(code(ErrorCode::REBALANCE_IN_PROGRESS)));
    due!(bench, Revoke { token, deadline });
    let action = loop {
        bench.tick();
        match bench.next() {
            Some(Action::Heartbeat { token, .. }) => bench.tell(Event::Heartbeat { token, result: Ok(()) }),
            other => break other,
        }
    };
    assert!(matches!(action, Some(Action::Lost { partitions }) if partitions == tps(0..1)));
    assert!(bench.now > deadline && bench.now <= deadline + seconds(5));
    due!(bench, Join { token });
    bench.tell(Event::Revoked { token });
    bench.idle();
}

#[test]
fn a_forgotten_member_loses_everything_and_joins_with_an_empty_id() {
    let mut bench = Bench::stable(tps(0..1));
    bench.heartbeat(Err(code(ErrorCode::UNKNOWN_MEMBER_ID)));
    due!(bench, Lost { partitions });
    bench.idle();
    bench.tick();
    due!(bench, Join { member_id });
    assert_eq!(&*member_id, "");
}

#[test]
fn an_illegal_generation_loses_everything_and_keeps_the_member_id() {
    let mut bench = Bench::stable(tps(0..1));
    bench.heartbeat(Err(code(ErrorCode::ILLEGAL_GENERATION)));
    due!(bench, Lost { partitions });
    bench.tick();
    due!(bench, Join { member_id });
    assert_eq!(&*member_id, "m1");
}

#[test]
fn a_fenced_static_member_loses_everything_and_fails() {
    let mut bench = Bench::stable_with(static_member(), tps(0..1));
    bench.heartbeat(Err(code(ErrorCode::FENCED_INSTANCE_ID)));
    due!(bench, Lost { partitions });
    assert_eq!(bench.failed().kind(), ErrorKind::Group);
}

#[test]
fn refused_commits_tell_the_machine_what_heartbeats_would() {
    let mut bench = Bench::stable(tps(0..1));
    bench.tell(Event::CommitRefused { generation: 1, code: ErrorCode::REBALANCE_IN_PROGRESS });
    due!(bench, Revoke { partitions });
    let mut bench = Bench::stable(tps(0..1));
    bench.tell(Event::CommitRefused { generation: 1, code: ErrorCode::UNKNOWN_MEMBER_ID });
    due!(bench, Lost { partitions });
    let mut bench = Bench::stable(tps(0..1));
    bench.tell(Event::CommitRefused { generation: 1, code: ErrorCode::FENCED_INSTANCE_ID });
    due!(bench, Lost { partitions });
    bench.failed();
}

#[test]
fn a_lost_coordinator_is_found_again_while_the_session_lives_on() {
    for failure in [cut(), code(ErrorCode::NOT_COORDINATOR), code(ErrorCode::COORDINATOR_NOT_AVAILABLE)] {
        let mut bench = Bench::stable(tps(0..1));
        bench.heartbeat(Err(failure));
        bench.idle();
        assert!(bench.machine.owns(&tp(0)) && bench.machine.coordinator_known().is_none());
        bench.tick();
        bench.find();
        due!(bench, Heartbeat { token });
        bench.tell(Event::Heartbeat { token, result: Ok(()) });
        bench.idle();
        assert!(bench.machine.owns(&tp(0)));
    }
}

#[test]
fn a_commit_that_finds_the_coordinator_gone_starts_the_search() {
    let mut bench = Bench::stable(tps(0..1));
    let known = bench.machine.coordinator_known().unwrap();
    bench.tell(Event::CoordinatorLost { known });
    bench.tick();
    bench.find();
    due!(bench, Heartbeat { token });
    bench.tell(Event::CoordinatorLost { known });
    assert!(bench.machine.coordinator_known().is_some(), "that was the old one");
}

#[test]
fn silence_for_a_session_loses_everything_no_later_than_at_the_coordinator() {
    let mut bench = Bench::stable(tps(0..1));
    bench.heartbeat(Ok(()));
    let last_sent = bench.now;
    bench.tick();
    due!(bench, Heartbeat { token });
    bench.tick();
    due!(bench, Lost { partitions });
    assert_eq!(bench.now, last_sent + seconds(30));
    bench.tell(Event::Heartbeat { token, result: Ok(()) });
    bench.tick();
    due!(bench, Join { member_id });
    assert_eq!(&*member_id, "m1", "the coordinator may still know it");
}

#[test]
fn a_late_heartbeat_answer_counts_from_when_it_was_sent() {
    let mut bench = Bench::stable(tps(0..1));
    bench.tick();
    due!(bench, Heartbeat { token });
    let sent = bench.now;
    bench.wait(seconds(20));
    bench.tell(Event::Heartbeat { token, result: Ok(()) });
    due!(bench, Heartbeat { token });
    bench.tick();
    due!(bench, Lost { partitions });
    assert_eq!(bench.now, sent + seconds(30));
}

#[test]
fn stopping_drains_leaves_and_ends() {
    let mut bench = Bench::stable(tps(0..1));
    bench.tell(Event::Stop);
    due!(bench, Revoke { token, deadline });
    assert_eq!(deadline, bench.now + seconds(30));
    bench.tell(Event::Stop);
    bench.heartbeat(Err(code(ErrorCode::REBALANCE_IN_PROGRESS)));
    bench.tell(Event::Revoked { token });
    due!(bench, Leave { token, member_id });
    assert_eq!(&*member_id, "m1");
    bench.tell(Event::Left { token, result: Ok(()) });
    due!(bench, Ended {});
    assert_eq!(bench.machine.poll_timeout(), None);
}

#[test]
fn stopping_during_a_revocation_leaves_instead_of_joining_again() {
    let mut bench = Bench::stable(tps(0..1));
    bench.heartbeat(Err(code(ErrorCode::REBALANCE_IN_PROGRESS)));
    due!(bench, Revoke { token });
    bench.tell(Event::Stop);
    bench.tell(Event::Revoked { token });
    due!(bench, Leave { token });
}

#[test]
fn a_loss_while_stopping_does_not_join_again() {
    let mut bench = Bench::stable(tps(0..1));
    bench.tell(Event::Stop);
    due!(bench, Revoke { token });
    bench.heartbeat(Err(code(ErrorCode::UNKNOWN_MEMBER_ID)));
    due!(bench, Lost { partitions });
    due!(bench, Ended {});
}

#[test]
fn a_member_that_stops_before_it_has_an_id_waits_for_it_and_gives_it_back() {
    let mut bench = Bench::new(config());
    bench.find();
    due!(bench, Join { token });
    bench.tell(Event::Stop);
    bench.idle();
    let given = Some("m1".into());
    bench.tell(Event::Joined { token, result: Err((code(ErrorCode::MEMBER_ID_REQUIRED), given)) });
    due!(bench, Leave { member_id });
    assert_eq!(&*member_id, "m1");
}

#[test]
fn leaving_ends_in_time_whatever_the_coordinator_does() {
    let mut silent = Bench::stable(vec![]);
    silent.tell(Event::Stop);
    due!(silent, Leave { token });
    let begun = silent.now;
    silent.tick();
    due!(silent, Ended {});
    assert_eq!(silent.now, begun + seconds(5));

    let mut moved = Bench::stable(vec![]);
    moved.tell(Event::Stop);
    due!(moved, Leave { token });
    moved.tell(Event::Left { token, result: Err(code(ErrorCode::NOT_COORDINATOR)) });
    moved.tick();
    moved.find();
    due!(moved, Leave { token });
    moved.tell(Event::Left { token, result: Err(code(ErrorCode::UNKNOWN_MEMBER_ID)) });
    due!(moved, Ended {});

    let mut unborn = Bench::new(config());
    due!(unborn, FindCoordinator { token });
    unborn.tell(Event::Stop);
    due!(unborn, Ended {});
}

#[test]
fn static_members_stay_in_the_group_when_they_stop() {
    let mut bench = Bench::stable_with(static_member(), tps(0..1));
    bench.tell(Event::Stop);
    due!(bench, Revoke { token });
    bench.tell(Event::Revoked { token });
    due!(bench, Ended {});
}

#[test]
fn a_static_member_that_has_asked_to_join_leads_the_others_into_the_generation_before_it_goes() {
    for stop in [|| Event::Stop, || Event::Abandon] {
        let (mut bench, token) = joining(static_member());
        bench.tell(stop());
        bench.idle();
        bench.joined(token, 2, Some(vec![member("m1", &["t"]), member("m2", &["t"])]));
        due!(bench, Watch { topics });
        bench.tell(stop());
        bench.tell(Event::Topics(BTreeMap::from([("t".into(), Some(2))])));
        due!(bench, Sync { token, assignments });
        assert_eq!(assignments.len(), 2);
        bench.tell(Event::Synced { token, result: Ok(tps(0..1)) });
        due!(bench, Watch { topics });
        due!(bench, Ended {});
    }
}

#[test]
fn an_abandoned_member_without_an_id_takes_no_successors_place() {
    let mut bench = Bench::new(static_member());
    bench.find();
    due!(bench, Join { token });
    bench.tell(Event::Abandon);
    due!(bench, Ended {});
}

#[test]
fn nothing_happens_after_the_end() {
    let (mut bench, token) = joining(static_member());
    bench.tell(Event::Stop);
    bench.now += seconds(5);
    bench.tell(Event::Joined { token, result: Err((code(ErrorCode::FENCED_INSTANCE_ID), None)) });
    due!(bench, Ended {});
    bench.wait(seconds(60));
    bench.idle();
}

#[test]
fn a_static_member_that_cannot_join_in_time_or_at_all_goes_without_an_error() {
    let (mut silent, _) = joining(static_member());
    let begun = silent.now;
    silent.tell(Event::Stop);
    silent.tick();
    due!(silent, Ended {});
    assert_eq!(silent.now, begun + seconds(5));

    // A leader waits for what the others may take to drain.
    let (mut leader, token) = Bench::leading(static_member(), 1);
    leader.tell(Event::Synced { token, result: Ok(vec![]) });
    due!(leader, Assigned { partitions });
    leader.heartbeat(Err(code(ErrorCode::REBALANCE_IN_PROGRESS)));
    due!(leader, Join { token });
    let begun = leader.now;
    leader.tell(Event::Stop);
    leader.tick();
    due!(leader, Watch { topics });
    due!(leader, Ended {});
    assert_eq!(leader.now, begun + config().drain_timeout + config().heartbeat_interval + seconds(5));

    // Without topics it plans with what it knows, in time for SyncGroup.
    let (mut ignorant, token) = joining(static_member());
    ignorant.tell(Event::Stop);
    ignorant.wait(seconds(2));
    ignorant.joined(token, 2, Some(vec![member("m1", &["t"])]));
    due!(ignorant, Watch { topics });
    ignorant.tick();
    due!(ignorant, Sync { token });

    for error in [ErrorCode::FENCED_INSTANCE_ID, ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::NOT_COORDINATOR] {
        let (mut refused, token) = joining(static_member());
        refused.tell(Event::Stop);
        refused.tell(Event::Joined { token, result: Err((code(error), None)) });
        due!(refused, Ended {});
    }
}

#[test]
fn an_abandoned_membership_leaves_without_draining() {
    let mut bench = Bench::stable(tps(0..1));
    bench.tell(Event::Abandon);
    due!(bench, Lost { partitions });
    due!(bench, Leave { token });
    bench.tell(Event::Left { token, result: Ok(()) });
    due!(bench, Ended {});
}

#[test]
fn a_leader_rejoins_when_partitions_are_added_and_a_follower_does_not() {
    let count = |n| Event::Topics(BTreeMap::from([("t".into(), Some(n))]));
    let (mut leader, token) = Bench::leading(config(), 1);
    leader.tell(count(2));
    leader.idle();
    leader.tell(Event::Synced { token, result: Ok(tps(0..1)) });
    due!(leader, Assigned { partitions });
    due!(leader, Revoke { token });
    leader.tell(Event::Revoked { token });
    due!(leader, Join { token });
    leader.joined(token, 2, None);
    due!(leader, Watch { topics });
    assert!(topics.is_empty(), "another one leads now");

    let mut follower = Bench::stable(tps(0..1));
    follower.tell(Event::Topics(BTreeMap::from([("t".into(), Some(2))])));
    follower.idle();
}
