//! LeaveGroup.

use super::*;

#[test]
fn a_member_that_leaves_causes_a_rebalance_at_once_and_the_last_one_an_empty_group() {
    let (mut bench, ids) = Bench::stable(2);
    assert_eq!(bench.leave(2, &[(&ids[0], None)]).error_code, NONE);
    assert_eq!(bench.state(), "PreparingRebalance");
    assert_eq!(bench.leave(0, &[(&ids[0], None)]).error_code, ErrorCode::UNKNOWN_MEMBER_ID);
    let token = bench.join(ask(&ids[1]));
    assert_eq!((&*bench.joined(token).leader, bench.joined(token).members.len()), (ids[1].as_str(), 1));
    assert_eq!(bench.leave(5, &[(&ids[1], None)]).members[0].error_code, NONE);
    assert_eq!((bench.state(), bench.generation()), ("Empty", 3));
}

#[test]
fn several_leave_each_with_its_own_error_and_one_rebalance() {
    let (mut bench, ids) = Bench::stable(3);
    let response = bench.leave(3, &[(&ids[1], None), ("nobody", None), ("", Some("nobody")), (&ids[2], Some("x"))]);
    let unknown = ErrorCode::UNKNOWN_MEMBER_ID;
    assert_eq!(response.error_code, NONE);
    let codes: Vec<_> = response.members.iter().map(|m| m.error_code).collect();
    assert_eq!(codes, [NONE, unknown, unknown, unknown]);
    assert_eq!(&*response.members[0].member_id, ids[1]);
    let token = bench.join(ask(&ids[0]));
    assert!(bench.waits(token), "one is still to come");
}

#[test]
fn an_administrator_removes_a_static_member_by_its_instance_id() {
    let mut bench = Bench::new();
    bench.join(ask("").instance("i"));
    let response = bench.leave(4, &[("", Some("i"))]);
    assert_eq!(response.members[0].error_code, NONE);
    assert_eq!(response.members[0].group_instance_id.as_deref(), Some("i"));
    assert_eq!(bench.state(), "Empty");
}

#[test]
fn one_that_leaves_while_it_waits_to_join_is_unknown_and_the_others_go_on() {
    let (mut bench, ids) = Bench::stable(2);
    let (third, waiting) = bench.member();
    let first = bench.join(ask(&ids[0]));
    bench.join(ask(&ids[1]));
    assert!(!bench.waits(waiting) && !bench.waits(first));
    let first = bench.join(ask(&ids[0]).protocols(&["sticky", "range"]));
    let second = bench.join(ask(&ids[1]));
    bench.leave(3, &[(&ids[1], None)]);
    assert_eq!(bench.joined(second).error_code, ErrorCode::UNKNOWN_MEMBER_ID);
    bench.leave(3, &[(&third, None)]);
    assert_eq!(bench.joined(first).members.len(), 1);
}

#[test]
fn an_id_that_was_given_out_can_be_given_back() {
    let (mut bench, ids) = Bench::stable(1);
    let pending = bench.join(ask(""));
    let id = bench.joined(pending).member_id.to_string();
    let token = bench.join(ask(&ids[0]));
    assert!(bench.waits(token));
    assert_eq!(bench.leave(3, &[(&id, None)]).members[0].error_code, NONE);
    assert_eq!(bench.joined(token).error_code, NONE);
}

#[test]
fn leaving_what_does_not_exist_is_an_error_of_each_member() {
    let mut bench = Bench::new();
    assert_eq!(bench.leave(3, &[("m", None)]).members[0].error_code, ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(bench.leave(1, &[("m", None)]).error_code, ErrorCode::UNKNOWN_MEMBER_ID);
    let response = bench.groups.leave(bench.now, 3, &LeaveGroupRequest::default());
    assert_eq!(response.error_code, ErrorCode::INVALID_GROUP_ID);
}
