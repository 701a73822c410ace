//! Rebalances that take only what changes its owner (KIP-429).

use super::*;

fn cooperative() -> GroupConfig {
    GroupConfig { assignors: vec![Assignor::CooperativeSticky], ..config() }
}

fn stable(owned: Vec<TopicPartition>) -> Bench {
    Bench::stable_with(cooperative(), owned)
}

fn rebalance() -> Result<(), Failure> {
    Err(code(ErrorCode::REBALANCE_IN_PROGRESS))
}

/// Announced, and joined again: the token of the JoinGroup.
fn rejoining(owned: Vec<TopicPartition>) -> (Bench, Token) {
    let mut bench = stable(owned);
    bench.heartbeat(rebalance());
    due!(bench, Join { token });
    (bench, token)
}

/// Stopped on the way into the next generation: the tokens of JoinGroup and of what is to be drained.
fn stopping(owned: Vec<TopicPartition>) -> (Bench, Token, Token) {
    let (mut bench, joining) = rejoining(owned);
    bench.tell(Event::Stop);
    due!(bench, Revoke { token });
    (bench, joining, token)
}

#[test]
fn a_rebalance_keeps_what_is_owned_and_says_so_to_the_leader() {
    let mut bench = stable(tps(0..2));
    bench.heartbeat(rebalance());
    due!(bench, Join { token, claim });
    assert_eq!((Vec::from_iter(claim.owned), claim.generation), (tps(0..2), 1));
    assert_eq!(bench.machine.commit_generation().map(|g| g.id), Some(1), "commits are taken until all have joined");
    bench.joined(token, 2, None);
    due!(bench, Sync { token });
    assert!(bench.machine.commit_generation().is_none());
    bench.tell(Event::Synced { token, result: Ok(tps(0..3)) });
    due!(bench, Assigned { partitions, generation });
    assert_eq!((partitions, generation.id), (tps(2..3), 2));
    assert!((0..3).all(|p| bench.machine.owns(&tp(p))));
    bench.heartbeat(Ok(()));
    bench.idle();
}

#[test]
fn what_goes_to_another_is_drained_under_the_new_generation_and_then_joined_without() {
    let (mut bench, token) = rejoining(tps(0..3));
    bench.joined(token, 2, None);
    due!(bench, Sync { token });
    bench.tell(Event::Synced { token, result: Ok(vec![tp(0), tp(3)]) });
    due!(bench, Assigned { partitions });
    assert_eq!(partitions, tps(3..4), "what is new does not wait for what goes");
    due!(bench, Revoke { token, partitions });
    assert_eq!(partitions, tps(1..3));
    assert_eq!(bench.machine.commit_generation().map(|g| g.id), Some(2));
    bench.heartbeat(rebalance());
    bench.idle();
    bench.tell(Event::Revoked { token });
    due!(bench, Join { claim });
    assert_eq!((Vec::from_iter(claim.owned), claim.generation), (vec![tp(0), tp(3)], 2));
    assert!(bench.machine.owns(&tp(0)) && !bench.machine.owns(&tp(1)));
}

#[test]
fn a_drain_that_takes_too_long_loses_only_what_was_to_go() {
    let (mut bench, token) = rejoining(tps(0..2));
    bench.joined(token, 2, None);
    due!(bench, Sync { token });
    bench.tell(Event::Synced { token, result: Ok(tps(0..1)) });
    due!(bench, Assigned { partitions });
    due!(bench, Revoke { token });
    let lost = loop {
        bench.tick();
        match bench.next() {
            Some(Action::Heartbeat { token, .. }) => bench.tell(Event::Heartbeat { token, result: Ok(()) }),
            Some(Action::Lost { partitions }) => break partitions,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(lost, tps(1..2));
    due!(bench, Join { claim });
    assert_eq!(Vec::from_iter(claim.owned), tps(0..1));
}

#[test]
fn heartbeats_keep_the_session_while_the_others_take_their_time_to_join() {
    let (mut bench, token) = rejoining(tps(0..2));
    for _ in 0..15 {
        bench.heartbeat(rebalance());
        bench.idle();
    }
    assert!(bench.machine.owns(&tp(0)));
    // The coordinator has ended the generation, and the answer to JoinGroup is a little later.
    bench.heartbeat(Err(code(ErrorCode::ILLEGAL_GENERATION)));
    bench.tell(Event::CommitRefused { generation: 1, code: ErrorCode::ILLEGAL_GENERATION });
    bench.idle();
    bench.joined(token, 2, None);
    due!(bench, Sync { token });
    bench.tell(Event::Synced { token, result: Ok(tps(0..2)) });
    due!(bench, Assigned { partitions });
    assert!(partitions.is_empty() && bench.machine.owns(&tp(1)));
}

#[test]
fn a_session_that_ends_while_joining_loses_everything() {
    let (mut bench, late) = rejoining(tps(0..2));
    bench.tick();
    due!(bench, Heartbeat { token });
    bench.wait(seconds(31));
    due!(bench, Lost { partitions });
    assert_eq!(partitions, tps(0..2));
    bench.idle();
    bench.tick();
    due!(bench, Join { claim });
    assert!(claim.owned.is_empty());
    bench.joined(late, 2, None);
    bench.idle();
}

/// Whoever lets the others wait for its JoinGroup for longer than that is expelled, and its partitions are given away.
#[test]
fn a_join_that_may_not_have_arrived_keeps_nothing_longer_than_the_rebalance_time_out() {
    let mut bench = stable(tps(0..2));
    bench.heartbeat(Ok(()));
    let settled = bench.now;
    bench.heartbeat(rebalance());
    due!(bench, Join { token });
    let lost = loop {
        bench.tick();
        match bench.next() {
            Some(Action::Heartbeat { token, .. }) => bench.tell(Event::Heartbeat { token, result: rebalance() }),
            Some(Action::Lost { partitions }) => break partitions,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((lost, bench.now), (tps(0..2), settled + seconds(60)));
    bench.tick();
    due!(bench, Join { claim });
    assert!(claim.owned.is_empty());
}

#[test]
fn failures_of_join_and_sync_keep_what_is_owned_unless_the_membership_is_gone() {
    for (failure, keeps) in [
        (code(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS), true),
        (code(ErrorCode::NOT_COORDINATOR), true),
        (cut(), true),
        (code(ErrorCode::REBALANCE_IN_PROGRESS), true),
        (code(ErrorCode::ILLEGAL_GENERATION), false),
        (code(ErrorCode::UNKNOWN_MEMBER_ID), false),
    ] {
        for syncing in [false, true] {
            let (mut bench, token) = rejoining(tps(0..2));
            if syncing {
                bench.joined(token, 2, None);
                due!(bench, Sync { token });
                bench.tell(Event::Synced { token, result: Err(failure.clone()) });
            } else {
                bench.tell(Event::Joined { token, result: Err((failure.clone(), None)) });
            }
            if !keeps {
                due!(bench, Lost { partitions });
            }
            let mut claim = None;
            while claim.is_none() {
                match bench.next() {
                    Some(Action::Join { claim: made, .. }) => claim = Some(made),
                    Some(Action::FindCoordinator { token }) => bench.tell(Event::Coordinator { token, result: Ok(()) }),
                    Some(Action::Heartbeat { .. }) => {}
                    Some(other) => panic!("{other:?}"),
                    None => bench.tick(),
                }
            }
            let (owned, generation) = match (keeps, syncing) {
                (true, false) => (tps(0..2), 1),
                (true, true) => (tps(0..2), 2),
                (false, _) => (vec![], -1),
            };
            assert_eq!(
                claim,
                Some(Claim { owned: owned.into_iter().collect(), generation }),
                "{failure:?}, syncing: {syncing}"
            );
        }
    }
}

#[test]
fn a_stop_gives_everything_back_from_wherever_it_comes() {
    let leaves = |mut bench: Bench, revoked: &[&[TopicPartition]]| {
        for expected in revoked {
            due!(bench, Revoke { token, partitions });
            assert_eq!(partitions, *expected);
            bench.tell(Event::Revoked { token });
        }
        due!(bench, Leave { member_id });
        assert_eq!(&*member_id, "m1");
    };
    let mut bench = stable(tps(0..2));
    bench.tell(Event::Stop);
    leaves(bench, &[&tps(0..2)]);
    let (mut bench, _) = rejoining(tps(0..2));
    bench.tell(Event::Stop);
    leaves(bench, &[&tps(0..2)]);
    let (mut bench, token) = rejoining(tps(0..2));
    bench.joined(token, 2, None);
    due!(bench, Sync { token });
    bench.tell(Event::Stop);
    leaves(bench, &[&tps(0..2)]);
    let (mut bench, token) = rejoining(tps(0..3));
    bench.joined(token, 2, None);
    due!(bench, Sync { token });
    bench.tell(Event::Synced { token, result: Ok(tps(0..1)) });
    due!(bench, Assigned { partitions });
    // While a part is being revoked: the rest follows.
    bench.tell(Event::Stop);
    leaves(bench, &[&tps(1..3), &tps(0..1)]);
}

#[test]
fn a_stop_on_the_way_into_a_generation_commits_in_that_generation() {
    for members in [None, Some(vec![member("m1", &["t"])])] {
        let (mut bench, joining, revoked) = stopping(tps(0..2));
        bench.joined(joining, 2, members.clone());
        if members.is_some() {
            due!(bench, Watch { topics });
            bench.tell(Event::Topics(BTreeMap::from([("t".into(), Some(3))])));
        }
        due!(bench, Sync { token });
        assert!(bench.machine.commit_generation().is_none());
        bench.tell(Event::Synced { token, result: Ok(tps(1..3)) });
        assert_eq!(bench.machine.commit_generation().map(|g| g.id), Some(2));
        assert!(bench.machine.owns(&tp(0)) && bench.machine.owns(&tp(1)) && !bench.machine.owns(&tp(2)));
        bench.heartbeat(rebalance());
        bench.idle();
        bench.tell(Event::Revoked { token: revoked });
        if members.is_some() {
            due!(bench, Watch { topics });
        }
        due!(bench, Leave { member_id });
    }
}

#[test]
fn a_stop_on_the_way_into_a_generation_keeps_its_deadline_whether_it_gets_there_or_not() {
    let drained = |mut bench: Bench, from: Instant| loop {
        match bench.next() {
            Some(Action::Heartbeat { token, .. }) => bench.tell(Event::Heartbeat { token, result: rebalance() }),
            Some(Action::Lost { partitions }) => {
                assert_eq!((partitions, bench.now), (tps(0..2), from + seconds(35)));
                due!(bench, Leave { token });
                break;
            }
            Some(other) => panic!("{other:?}"),
            None => bench.tick(),
        }
    };
    let (silent, ..) = stopping(tps(0..2));
    let now = silent.now;
    drained(silent, now);
    let (mut refused, token, _) = stopping(tps(0..2));
    refused.tell(Event::Joined { token, result: Err((code(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS), None)) });
    let now = refused.now;
    drained(refused, now);
    let (mut forgotten, token, _) = stopping(tps(0..2));
    forgotten.tell(Event::Joined { token, result: Err((code(ErrorCode::UNKNOWN_MEMBER_ID), None)) });
    due!(forgotten, Lost { partitions });
    due!(forgotten, Ended {});
}

#[test]
fn a_leader_whose_topics_grow_rejoins_with_what_it_owns() {
    let (mut bench, token) = Bench::leading(cooperative(), 2);
    bench.tell(Event::Synced { token, result: Ok(tps(0..2)) });
    due!(bench, Assigned { partitions });
    bench.tell(Event::Topics(BTreeMap::from([("t".into(), Some(3))])));
    due!(bench, Join { claim });
    assert_eq!(Vec::from_iter(claim.owned), tps(0..2));
}

#[test]
fn a_list_with_an_eager_assignor_revokes_everything_and_claims_only_what_it_was_last_assigned() {
    let assignors = vec![Assignor::CooperativeSticky, Assignor::Range];
    let mut bench = Bench::stable_with(GroupConfig { assignors, ..config() }, tps(0..2));
    bench.heartbeat(rebalance());
    due!(bench, Revoke { token });
    bench.tell(Event::Revoked { token });
    due!(bench, Join { claim });
    assert_eq!((Vec::from_iter(claim.owned), claim.generation), (tps(0..2), 1));
    assert!(bench.machine.owned.is_empty());
}

#[test]
fn a_late_answer_to_join_group_prolongs_no_session() {
    let (mut bench, token) = rejoining(tps(0..1));
    bench.now += config().session_timeout - seconds(1);
    bench.joined(token, 2, None);
    assert!(bench.machine.owns(&tp(0)));
    bench.wait(seconds(2));
    assert!(!bench.machine.owns(&tp(0)), "nothing was answered in time");
}
