//! From nothing to an assignment, and every error on that way.

use super::*;

#[test]
fn a_new_member_finds_joins_with_the_given_id_syncs_and_owns() {
    let mut bench = Bench::new(config());
    bench.find();
    due!(bench, Join { token, member_id });
    assert_eq!(&*member_id, "");
    let given = Some("m1".into());
    bench.tell(Event::Joined { token, result: Err((code(ErrorCode::MEMBER_ID_REQUIRED), given)) });
    due!(bench, Join { token, member_id });
    assert_eq!(&*member_id, "m1");
    assert!(bench.machine.commit_generation().is_none());
    bench.joined(token, 7, None);
    due!(bench, Sync { token, generation, protocol, assignments });
    assert_eq!((generation.id, &*generation.member_id, protocol), (7, "m1", "range"));
    assert!(assignments.is_empty());
    assert!(bench.machine.commit_generation().is_none());
    bench.tell(Event::Synced { token, result: Ok(tps(0..2)) });
    due!(bench, Assigned { partitions, generation });
    assert_eq!(partitions, tps(0..2));
    assert_eq!(bench.machine.commit_generation(), Some(generation));
    assert!(bench.machine.owns(&tp(1)) && !bench.machine.owns(&tp(2)));
}

#[test]
fn a_leader_learns_the_counts_of_all_the_groups_topics_and_assigns() {
    let mut bench = Bench::new(config());
    bench.find();
    due!(bench, Join { token });
    bench.joined(token, 1, Some(vec![member("m1", &["t"]), member("m2", &["t", "u"])]));
    due!(bench, Watch { topics });
    assert_eq!(topics, BTreeSet::from(["t".into(), "u".into()]));
    bench.idle();
    bench.tell(Event::Topics(BTreeMap::from([("t".into(), Some(3))])));
    bench.idle();
    bench.tell(Event::Topics(BTreeMap::from([("u".into(), None)])));
    due!(bench, Sync { assignments });
    assert_eq!(assignments["m1"], tps(0..2));
    assert_eq!(assignments["m2"], tps(2..3));
}

#[test]
fn a_leader_without_metadata_assigns_what_it_knows_after_a_while_and_rejoins_when_it_knows_more() {
    let mut bench = Bench::new(config());
    bench.find();
    due!(bench, Join { token });
    bench.joined(token, 1, Some(vec![member("m1", &["t"])]));
    due!(bench, Watch { topics });
    bench.tick();
    due!(bench, Heartbeat { token });
    bench.tell(Event::Heartbeat { token, result: Ok(()) });
    bench.tick();
    due!(bench, Sync { token, assignments });
    assert!(assignments["m1"].is_empty());
    bench.tell(Event::Synced { token, result: Ok(vec![]) });
    due!(bench, Assigned { partitions });
    bench.tell(Event::Topics(BTreeMap::from([("t".into(), None)])));
    bench.idle();
    bench.tell(Event::Topics(BTreeMap::from([("t".into(), Some(1))])));
    due!(bench, Join { token, reason });
    assert_eq!(reason, "partitions of the group's topics changed");
}

#[test]
fn a_returning_static_leader_keeps_the_plan_in_force_and_watches_over_it() {
    let mut bench = Bench::new(config());
    bench.find();
    due!(bench, Join { token });
    let members = Some(vec![member("m1", &["t"])]);
    let joined =
        Joined { member_id: "m1".into(), generation: 4, protocol: "range".into(), members, skip_assignment: true };
    bench.tell(Event::Joined { token, result: Ok(joined) });
    due!(bench, Watch { topics });
    due!(bench, Sync { token, assignments });
    assert!(assignments.is_empty());
    bench.tell(Event::Synced { token, result: Ok(tps(0..1)) });
    due!(bench, Assigned { partitions });
    bench.tell(Event::Topics(BTreeMap::from([("t".into(), Some(1))])));
    bench.idle();
    bench.tell(Event::Topics(BTreeMap::from([("t".into(), Some(2))])));
    due!(bench, Revoke { partitions });
}

#[test]
fn a_partition_of_a_foreign_topic_is_left_alone_with_a_warning() {
    let mut bench = Bench::new(config());
    bench.find();
    due!(bench, Join { token });
    bench.joined(token, 1, None);
    due!(bench, Sync { token });
    bench.tell(Event::Synced { token, result: Ok(vec![tp(0), TopicPartition::new("x", 0)]) });
    due!(bench, Warning(warning));
    assert!(warning.to_string().contains("x-0"));
    due!(bench, Assigned { partitions });
    assert_eq!(partitions, tps(0..1));
}

#[test]
fn errors_that_no_retry_helps_end_the_membership_and_say_what_to_do() {
    for (refused, words) in [
        (ErrorCode::INCONSISTENT_GROUP_PROTOCOL, "[range, roundrobin]"),
        (ErrorCode::GROUP_AUTHORIZATION_FAILED, "grant READ"),
        (ErrorCode::INVALID_SESSION_TIMEOUT, "group.min.session.timeout.ms"),
        (ErrorCode::INVALID_GROUP_ID, "\"g\""),
        (ErrorCode::GROUP_MAX_SIZE_REACHED, "group.max.size"),
        (ErrorCode::FENCED_INSTANCE_ID, "instance id i1"),
        (ErrorCode::POLICY_VIOLATION, "POLICY_VIOLATION"),
    ] {
        let assignors = vec![Assignor::Range, Assignor::RoundRobin];
        let mut bench = Bench::new(GroupConfig { assignors, instance_id: Some("i1".into()), ..config() });
        bench.find();
        due!(bench, Join { token });
        bench.tell(Event::Joined { token, result: Err((code(refused), None)) });
        let error = bench.failed();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.code(), Some(refused));
        bench.tell(Event::Stop);
        bench.idle();
    }
}

#[test]
fn a_protocol_that_was_not_offered_is_fatal() {
    let mut bench = Bench::new(config());
    bench.find();
    due!(bench, Join { token });
    let joined = Joined { member_id: "m1".into(), generation: 1, protocol: "sticky".into(), ..Joined::default() };
    bench.tell(Event::Joined { token, result: Ok(joined) });
    assert!(bench.failed().to_string().contains("[range, cooperative-sticky]"));
}

#[test]
fn settings_that_cannot_work_fail_before_anything_is_sent() {
    let wrong: [fn(&mut GroupConfig); 8] = [
        |c| c.group_id = "".into(),
        |c| c.topics = vec![],
        |c| c.topics = vec!["a b".into()],
        |c| c.instance_id = Some("".into()),
        |c| c.assignors = vec![],
        |c| c.heartbeat_interval = c.session_timeout,
        |c| c.drain_timeout = c.rebalance_timeout,
        |c| c.drain_timeout = c.rebalance_timeout - c.heartbeat_interval,
    ];
    for change in wrong {
        let mut config = config();
        change(&mut config);
        let error = Bench::new(config).failed();
        assert!(matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::InvalidConfig), "{error}");
    }
}

#[test]
fn the_search_for_a_coordinator_backs_off_warns_and_goes_on() {
    let mut bench = Bench::new(config());
    let mut warnings = 0;
    for tries in 0..20 {
        loop {
            match bench.next() {
                Some(Action::FindCoordinator { token }) => {
                    let error = Error::new(ErrorKind::Connection, "refused: start it");
                    bench.tell(Event::Coordinator { token, result: Err(error) });
                    break;
                }
                Some(Action::Warning(_)) => warnings += 1,
                None => bench.tick(),
                other => panic!("{other:?}"),
            }
        }
        let pause = bench.machine.poll_timeout().unwrap() - bench.now;
        assert!(tries < 6 || pause > seconds(1) && pause < seconds(3), "{pause:?}");
    }
    assert_eq!(warnings, 2);
    bench.tick();
    while let Some(action) = bench.next() {
        if let Action::FindCoordinator { token } = action {
            bench.tell(Event::Coordinator { token, result: Ok(()) });
        }
    }
    assert!(bench.machine.coordinator_known().is_some());
}

#[test]
fn a_coordinator_that_may_not_be_asked_for_is_fatal() {
    let mut bench = Bench::new(config());
    due!(bench, FindCoordinator { token });
    let refused = Error::from_code(ErrorCode::GROUP_AUTHORIZATION_FAILED, "FindCoordinator of g");
    bench.tell(Event::Coordinator { token, result: Err(refused) });
    assert_eq!(bench.failed().kind(), ErrorKind::Auth);
}

#[test]
fn a_join_that_meets_a_moved_coordinator_looks_for_it_and_joins_again_with_its_id() {
    for failure in [code(ErrorCode::NOT_COORDINATOR), code(ErrorCode::COORDINATOR_NOT_AVAILABLE), cut()] {
        let mut bench = Bench::new(config());
        bench.find();
        due!(bench, Join { token });
        let given = Some("m1".into());
        bench.tell(Event::Joined { token, result: Err((code(ErrorCode::MEMBER_ID_REQUIRED), given)) });
        due!(bench, Join { token });
        bench.tell(Event::Joined { token, result: Err((failure, None)) });
        bench.idle();
        bench.tick();
        bench.find();
        bench.wait(seconds(1));
        due!(bench, Join { member_id });
        assert_eq!(&*member_id, "m1");
    }
}

#[test]
fn a_loading_coordinator_is_asked_again_after_a_pause() {
    let mut bench = Bench::new(config());
    bench.find();
    due!(bench, Join { token });
    bench.tell(Event::Joined { token, result: Err((code(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS), None)) });
    bench.idle();
    bench.tick();
    due!(bench, Join { token });
}

#[test]
fn errors_of_sync_lead_back_to_join_with_or_without_the_member_id() {
    for (refused, id) in [
        (ErrorCode::REBALANCE_IN_PROGRESS, "m1"),
        (ErrorCode::ILLEGAL_GENERATION, "m1"),
        (ErrorCode::UNKNOWN_MEMBER_ID, ""),
    ] {
        let mut bench = Bench::new(config());
        bench.find();
        due!(bench, Join { token });
        bench.joined(token, 1, None);
        due!(bench, Sync { token });
        bench.tell(Event::Synced { token, result: Err(code(refused)) });
        bench.idle();
        bench.tick();
        due!(bench, Join { member_id });
        assert_eq!(&*member_id, id, "{refused:?}");
    }
}

#[test]
fn heartbeats_run_while_the_leader_makes_others_wait_for_their_assignment() {
    let mut bench = Bench::new(config());
    bench.find();
    due!(bench, Join { token });
    bench.joined(token, 1, None);
    due!(bench, Sync { token });
    for _ in 0..20 {
        bench.heartbeat(Ok(()));
    }
    bench.heartbeat(Err(code(ErrorCode::REBALANCE_IN_PROGRESS)));
    bench.idle();
    bench.tell(Event::Synced { token, result: Ok(tps(0..1)) });
    due!(bench, Assigned { partitions });
}

#[test]
fn answers_that_come_too_late_change_nothing() {
    let mut bench = Bench::stable(tps(0..1));
    let old = Token(1);
    bench.tell(Event::Coordinator { token: old, result: Err(Error::new(ErrorKind::Connection, "x: y")) });
    bench.tell(Event::Joined { token: old, result: Err((cut(), None)) });
    bench.tell(Event::Synced { token: old, result: Ok(vec![]) });
    bench.tell(Event::Heartbeat { token: old, result: Err(code(ErrorCode::UNKNOWN_MEMBER_ID)) });
    bench.tell(Event::Left { token: old, result: Ok(()) });
    bench.tell(Event::Revoked { token: old });
    bench.tell(Event::CommitRefused { generation: 0, code: ErrorCode::ILLEGAL_GENERATION });
    bench.tell(Event::CoordinatorLost { known: Token(99) });
    bench.idle();
    assert!(bench.machine.owns(&tp(0)));
}
