use std::sync::Arc;

use super::*;

struct Bench {
    commits: Commits,
    now: Instant,
}

fn tp(n: i32) -> TopicPartition {
    TopicPartition::new("t", n)
}

fn at(offset: i64) -> CommitOffset {
    CommitOffset { offset, leader_epoch: -1, metadata: String::new() }
}

fn generation(id: i32) -> Option<Generation> {
    Some(Generation { id, member_id: Arc::from("m") })
}

impl Bench {
    fn new() -> Self {
        Self::with(false)
    }

    #[allow(clippy::disallowed_methods)] // A starting point for virtual time.
    fn with(cooperative: bool) -> Self {
        Self { commits: Commits::new(Duration::from_secs(30), cooperative, 7), now: Instant::now() }
    }

    fn submit(&mut self, offsets: &[(i32, i64)]) -> u64 {
        let offsets = offsets.iter().map(|(p, o)| (tp(*p), at(*o))).collect();
        self.commits.submit(offsets, |_| true, self.now)
    }

    fn send(&mut self, in_generation: i32) -> Option<CommitRequest> {
        self.commits.poll_send(generation(in_generation), Some(Token(1)), self.now)
    }

    fn answer(&mut self, request: &CommitRequest, code: ErrorCode) -> Tidings {
        let codes = request.offsets.keys().map(|tp| (tp.clone(), code)).collect();
        self.commits.answered(request.id, Ok(codes), self.now)
    }

    fn done(&mut self) -> Vec<(u64, Outcome)> {
        std::iter::from_fn(|| self.commits.poll_done()).collect()
    }
}

fn ok(done: &[(u64, Outcome)]) -> Vec<(u64, Vec<(i32, ErrorCode)>)> {
    let plain = |o: &Outcome| o.as_ref().unwrap().iter().map(|(tp, c)| (tp.partition, *c)).collect();
    done.iter().map(|(id, o)| (*id, plain(o))).collect()
}

#[test]
fn one_commit_is_in_flight_and_later_ones_coalesce() {
    let mut bench = Bench::new();
    let a = bench.submit(&[(0, 1)]);
    let first = bench.send(1).unwrap();
    let b = bench.submit(&[(0, 2), (1, 5)]);
    let c = bench.submit(&[(0, 3)]);
    assert!(bench.send(1).is_none());
    bench.answer(&first, ErrorCode::NONE);
    assert_eq!(ok(&bench.done()), [(a, vec![(0, ErrorCode::NONE)])]);
    let second = bench.send(1).unwrap();
    assert_eq!(second.offsets, BTreeMap::from([(tp(0), at(3)), (tp(1), at(5))]));
    bench.answer(&second, ErrorCode::NONE);
    assert_eq!(
        ok(&bench.done()),
        [(b, vec![(0, ErrorCode::NONE), (1, ErrorCode::NONE)]), (c, vec![(0, ErrorCode::NONE)])]
    );
    assert!(bench.send(1).is_none() && bench.commits.poll_timeout().is_none());
}

#[test]
fn the_generation_is_bound_at_sending() {
    let mut bench = Bench::new();
    bench.submit(&[(0, 1)]);
    assert!(bench.commits.poll_send(None, Some(Token(1)), bench.now).is_none());
    assert!(bench.commits.poll_send(generation(4), None, bench.now).is_none());
    assert_eq!(bench.send(5).unwrap().generation.id, 5);
}

#[test]
fn a_moved_coordinator_is_reported_and_the_commit_sent_again() {
    let mut bench = Bench::new();
    let ticket = bench.submit(&[(0, 1), (1, 1)]);
    let first = bench.send(1).unwrap();
    let tidings = bench.answer(&first, ErrorCode::NOT_COORDINATOR);
    assert_eq!(tidings, Tidings { coordinator_lost: Some(Token(1)), refused: None });
    assert!(bench.send(1).is_none(), "backs off first");
    bench.submit(&[(1, 2)]);
    bench.now = bench.commits.poll_timeout().unwrap();
    let second = bench.send(1).unwrap();
    assert_eq!(second.offsets, BTreeMap::from([(tp(0), at(1)), (tp(1), at(2))]), "the later offset goes");
    bench.answer(&second, ErrorCode::NONE);
    assert_eq!(bench.done()[0].0, ticket);
}

#[test]
fn errors_are_kept_per_partition_and_those_about_membership_reported() {
    let mut bench = Bench::new();
    let ticket = bench.submit(&[(0, 1), (1, 1), (2, 1)]);
    let request = bench.send(3).unwrap();
    let codes =
        BTreeMap::from([(tp(0), ErrorCode::OFFSET_METADATA_TOO_LARGE), (tp(1), ErrorCode::REBALANCE_IN_PROGRESS)]);
    let tidings = bench.commits.answered(request.id, Ok(codes), bench.now);
    assert_eq!(tidings.refused, Some((3, ErrorCode::REBALANCE_IN_PROGRESS)));
    let codes =
        [ErrorCode::OFFSET_METADATA_TOO_LARGE, ErrorCode::REBALANCE_IN_PROGRESS, ErrorCode::UNKNOWN_SERVER_ERROR];
    assert_eq!(ok(&bench.done()), [(ticket, (0..).zip(codes).collect())], "what the answer left out is an error too");
}

#[test]
fn what_is_not_owned_any_more_is_never_sent() {
    let mut bench = Bench::new();
    let refused = bench.commits.submit(vec![(tp(0), at(1))], |_| false, bench.now);
    assert_eq!(ok(&bench.done()), [(refused, vec![(0, ErrorCode::ILLEGAL_GENERATION)])]);
    let a = bench.submit(&[(0, 1)]);
    let stuck = bench.send(1).unwrap();
    let b = bench.submit(&[(1, 1)]);
    bench.commits.void_unowned(|_| false);
    let gone = |id, p| (id, vec![(p, ErrorCode::ILLEGAL_GENERATION)]);
    assert_eq!(ok(&bench.done()), [gone(a, 0), gone(b, 1)]);
    assert_eq!(bench.answer(&stuck, ErrorCode::UNKNOWN_MEMBER_ID), Tidings::default(), "a late answer says nothing");
    bench.submit(&[(0, 9)]);
    assert_eq!(bench.send(2).unwrap().offsets, BTreeMap::from([(tp(0), at(9))]));
}

#[test]
fn nothing_waits_for_ever() {
    let mut bench = Bench::new();
    bench.submit(&[(0, 1)]);
    bench.send(1).unwrap();
    bench.submit(&[(0, 2)]);
    bench.now += Duration::from_secs(30);
    assert_eq!(bench.commits.poll_timeout(), Some(bench.now));
    bench.commits.handle_timeout(bench.now);
    let done = bench.done();
    assert_eq!(done.len(), 2);
    assert!(done.iter().all(|(_, outcome)| outcome.as_ref().unwrap_err().kind() == ErrorKind::Timeout));
}

#[test]
fn an_error_that_no_retry_helps_ends_the_commit() {
    let mut bench = Bench::new();
    bench.submit(&[(0, 1)]);
    let request = bench.send(1).unwrap();
    let error = Error::new(ErrorKind::UnsupportedVersion, "too old: update");
    bench.commits.answered(request.id, Err(Failure::Call(error)), bench.now);
    assert_eq!(bench.done()[0].1.as_ref().unwrap_err().kind(), ErrorKind::UnsupportedVersion);
}

/// Found by the simulation: with the coordinator gone, the driver turned in circles from the end of the pause on.
#[test]
fn no_timer_stands_in_the_past_while_a_retry_waits_for_the_coordinator() {
    let mut bench = Bench::new();
    bench.submit(&[(0, 1)]);
    let request = bench.send(1).unwrap();
    bench.answer(&request, ErrorCode::NOT_COORDINATOR);
    bench.now = bench.commits.poll_timeout().unwrap();
    bench.commits.handle_timeout(bench.now);
    assert!(bench.commits.poll_send(generation(1), None, bench.now).is_none());
    assert!(bench.commits.poll_timeout().is_some_and(|at| at > bench.now), "the caller's deadline is what is left");
    assert!(bench.send(1).is_some());
}

#[test]
fn what_a_cooperative_rebalance_refuses_is_sent_again_in_the_next_generation() {
    for code in [ErrorCode::REBALANCE_IN_PROGRESS, ErrorCode::ILLEGAL_GENERATION] {
        let mut bench = Bench::with(true);
        let a = bench.submit(&[(0, 1), (1, 1)]);
        let first = bench.send(1).unwrap();
        assert_eq!(bench.answer(&first, code).refused, Some((1, code)));
        assert!(bench.send(1).is_none() && bench.done().is_empty());
        let b = bench.submit(&[(0, 2)]);
        // Partition 1 was given up meanwhile.
        bench.commits.void_unowned(|partition| *partition == tp(0));
        assert!(bench.send(1).is_none());
        let second = bench.send(2).unwrap();
        assert_eq!(second.offsets, BTreeMap::from([(tp(0), at(2))]));
        bench.answer(&second, ErrorCode::NONE);
        let (none, gone) = (ErrorCode::NONE, ErrorCode::ILLEGAL_GENERATION);
        assert_eq!(ok(&bench.done()), [(a, vec![(1, gone), (0, none)]), (b, vec![(0, none)])]);
    }
}

#[test]
fn what_one_generation_refused_is_no_matter_in_another_life_of_the_group() {
    let mut bench = Bench::with(true);
    bench.submit(&[(0, 1)]);
    let first = bench.send(1).unwrap();
    bench.answer(&first, ErrorCode::ILLEGAL_GENERATION);
    assert!(bench.send(1).is_none());
    assert!(bench.commits.poll_send(None, Some(Token(1)), bench.now).is_none());
    assert!(bench.send(1).is_some(), "generations are counted anew");
}
