//! A coordinator dies and another one takes over; a cluster stops and is started again.

use super::*;

fn all(_: &str) -> bool {
    true
}

#[test]
fn members_of_a_stable_group_go_on_under_the_next_coordinator_with_new_sessions() {
    let (mut bench, ids) = Bench::stable(2);
    bench.groups.commit("g", "t", 0, stored(5));
    bench.pass(secs(9));
    bench.groups.fail_over(bench.now, all);
    bench.pass(secs(9));
    assert_eq!(bench.state(), "Stable");
    assert_eq!(bench.beat(&ids[0], 1), NONE);
    assert_eq!(bench.may_commit(1, &ids[1]), Ok(()));
    let sync = bench.sync(&ids[1], &[]);
    assert_eq!(bench.synced(sync).assignment, ids[1].as_bytes());
    assert_eq!(bench.groups.committed("g", "t", 0), Some(&stored(5)));
    bench.pass(secs(10));
    assert_eq!(bench.state(), "Empty");
}

#[test]
fn those_who_wait_are_told_and_an_unfinished_rebalance_is_forgotten() {
    let (mut bench, ids) = Bench::stable(2);
    let (_, new) = bench.member();
    let old = bench.join(ask(&ids[0]));
    bench.groups.fail_over(bench.now, |id| id == "other");
    bench.collect();
    assert!(bench.waits(old));
    bench.groups.fail_over(bench.now, all);
    bench.collect();
    assert_eq!(bench.joined(new).error_code, ErrorCode::NOT_COORDINATOR);
    assert_eq!(bench.joined(old).error_code, ErrorCode::NOT_COORDINATOR);
    assert_eq!((bench.state(), bench.generation()), ("Stable", 1));
    assert_eq!(bench.beat(&ids[1], 1), NONE);
    let token = bench.join(ask("c-5"));
    assert_eq!(bench.joined(token).error_code, ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_generation_without_an_assignment_is_forgotten_too() {
    let (mut bench, ids) = Bench::stable(2);
    bench.join(ask(&ids[0]));
    bench.join(ask(&ids[1]));
    let sync = bench.sync(&ids[1], &[]);
    bench.groups.fail_over(bench.now, all);
    bench.collect();
    assert_eq!(bench.synced(sync).error_code, ErrorCode::NOT_COORDINATOR);
    assert_eq!(bench.beat(&ids[0], 2), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(bench.beat(&ids[0], 1), NONE);
}

#[test]
fn a_follower_that_joins_the_next_coordinator_with_all_its_protocols_causes_a_rebalance() {
    let (mut bench, ids) = Bench::stable(2);
    bench.groups.fail_over(bench.now, all);
    let token = bench.join(ask(&ids[1]));
    assert!(bench.waits(token), "only the protocol in use was kept, so its list seems to have changed");
    assert_eq!(bench.state(), "PreparingRebalance");
    bench.join(ask(&ids[0]));
    assert_eq!((&*bench.joined(token).leader, bench.joined(token).generation_id), (ids[0].as_str(), 2));
}

#[test]
fn ids_of_a_group_that_never_was_stable_are_unknown_afterwards() {
    let mut bench = Bench::new();
    let pending = bench.join(ask(""));
    let id = bench.joined(pending).member_id.to_string();
    bench.groups.fail_over(bench.now, all);
    assert_eq!(bench.state(), "Empty");
    let token = bench.join(ask(&id));
    assert_eq!(bench.joined(token).error_code, ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_replaced_static_member_is_known_by_its_new_id_afterwards() {
    let mut bench = Bench::new();
    let token = bench.join(ask("").instance("i"));
    let first = bench.joined(token).member_id.to_string();
    bench.sync(&first, &[&first]);
    let token = bench.join(ask("").instance("i"));
    let second = bench.joined(token).member_id.to_string();
    bench.groups.fail_over(bench.now, all);
    assert_eq!(bench.beat(&second, 1), NONE);
    assert_eq!(bench.beat(&first, 1), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_snapshot_brings_back_groups_offsets_and_open_transactions() {
    let (mut bench, ids) = Bench::stable(2);
    bench.groups.commit("g", "t", 0, Stored { offset: 5, leader_epoch: 2, metadata: "m".into() });
    bench.groups.commit_pending("g", 7, "t", 1, stored(6));
    bench.groups.commit("simple", "t", 0, stored(1));
    let json = serde_json::to_string(&bench.groups.snapshot()).unwrap();
    let saved: Vec<super::super::saved::SavedGroup> = serde_json::from_str(&json).unwrap();
    assert_eq!(saved, bench.groups.snapshot());

    bench.groups = Groups::new(Settings::default());
    bench.groups.restore(bench.now, saved.clone());
    assert_eq!(bench.groups.snapshot(), saved);
    assert_eq!(bench.groups.list(&[], &[]).len(), 2);
    assert_eq!(bench.beat(&ids[0], 1), NONE);
    assert!(bench.groups.has_pending("g", "t", 1));
    bench.groups.commit("g", "t", 1, stored(9));
    bench.groups.end_transaction(7, true);
    assert_eq!(bench.groups.committed("g", "t", 1), Some(&stored(9)), "the order of commits goes on");
}
