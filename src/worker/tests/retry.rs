//! Further attempts in place, and records that are passed on.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::super::failure::Unfit;
use super::super::forward::{Destination, Forward};
use super::*;
use crate::worker::{Record, RetryPolicy};
use crate::{Error, ErrorKind};

fn retry(attempts: u32) -> OnFailure {
    OnFailure::Retry(RetryPolicy::new(attempts))
}

/// Handles records as `how` says, which gets their offset and attempt.
fn scripted(
    world: &Shared,
    how: impl Fn(i64, u32) -> bool + Send + Sync + 'static,
) -> impl Fn(Record<FetchedBatch>) -> BoxFuture<'static, Result<(), HandlerError>> + Send + Sync + 'static {
    let world = world.clone();
    move |record| {
        let index = seen(&world, 0, &record);
        let ok = how(record.offset(), record.attempt());
        ended(&world, index, ok);
        std::future::ready(if ok { Ok(()) } else { Err(HandlerError::new("as told")) }).boxed()
    }
}

async fn failure(member: &Member) -> Option<super::super::failure::Failure> {
    let failures = member.handle.failures();
    std::future::poll_fn(|cx| failures.poll_next(cx)).await
}

#[test]
fn retries_in_place_keep_the_order_through_hand_overs_and_end_with_the_last_attempt() {
    for seed in 0..45 {
        let order = ORDERS[seed as usize % 3];
        simulate(
            async |env, mut rng| {
                let world = world(3, 40, 4, &mut rng);
                lock(&world).retries = true;
                let policy = RetryPolicy::new(2).backoff(Duration::from_millis(5), Duration::from_millis(20));
                let concurrency = rng.usize(1..8);
                let spawn_each = rng.bool();
                let on_failure = OnFailure::Retry(policy);
                let config = ConsumerConfig { on_failure, spawn_each, ..config(order, concurrency) };
                let members: Vec<_> = (0..2)
                    .map(|number| {
                        let (by, sleeper) = (world.clone(), env.clone());
                        member_with(&world, &env, number, &config, move |record| {
                            let (world, env) = (by.clone(), sleeper.clone());
                            async move {
                                let index = seen(&world, number, &record);
                                let (wait, luck) = env.random(|rng| (rng.u64(0..9), rng.u32(0..100)));
                                if wait % 3 != 0 {
                                    env.sleep(Duration::from_millis(wait)).await;
                                }
                                assert!((1..=3).contains(&record.attempt()));
                                ended(&world, index, luck >= 25 || record.attempt() == 3);
                                assert!(luck >= 5, "as told");
                                if luck >= 25 { Ok(()) } else { Err(HandlerError::new("as told")) }
                            }
                        })
                    })
                    .collect();
                members[0].assign(&world, &[0, 1, 2]);
                let mut owner = 0;
                for _ in 0..rng.u32(1..6) {
                    env.sleep(Duration::from_millis(rng.u64(0..90))).await;
                    members[owner].revoke(&env, &[0, 1, 2], Duration::from_secs(20)).await;
                    owner = rng.usize(0..2);
                    members[owner].assign(&world, &[0, 1, 2]);
                }
                all_finished(&env, &world, 3, 40).await;
                for member in &members {
                    assert_eq!(member.handle.stop().await.expect("clean").left, 0, "seed {seed}");
                }
                let world = lock(&world);
                world.check_order(order);
                for partition in 0..3 {
                    assert_eq!(world.committed[&tp(partition)].offset, 40, "seed {seed}");
                    for offset in 0..40 {
                        let of = |s: &&Seen| s.finished && s.offset == offset && s.tp == tp(partition);
                        assert_eq!(world.seen.iter().filter(of).count(), 1, "seed {seed}: finished once");
                    }
                }
            },
            seed,
        );
    }
}

#[test]
fn attempts_are_counted_spaced_and_only_the_last_failure_is_told() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 3, 0, &mut rng);
            lock(&world).retries = true;
            let config = ConsumerConfig { on_failure: retry(4), until_end: true, ..config(Order::Partition, 1) };
            let handler = scripted(&world, |offset, attempt| match offset {
                0 => attempt == 3,
                1 => attempt == 5,
                _ => false,
            });
            let member = member_with(&world, &env, 0, &config, handler);
            let begun = env.now();
            member.assign(&world, &[0]);
            // The last one is skipped, which the world calls unfinished.
            lock(&world).deaf = true;
            let told = failure(&member).await.expect("the last one's");
            assert_eq!(told.record, Some((tp(0), 2)));
            let took = (env.now() - begun).as_secs_f64();
            // 0.1 + 0.2, then 0.1 + 0.2 + 0.4 + 0.8 twice.
            assert!((0.8 * 3.3..1.2 * 3.3).contains(&took), "{took}");
            let handled: Vec<_> = (0..3).map(|offset| lock(&world).handled(&tp(0), offset)).collect();
            assert_eq!(handled, [3, 5, 5]);
        },
        1,
    );
}

#[test]
fn a_payload_that_does_not_fit_is_not_tried_again() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 1, 0, &mut rng);
            let config = ConsumerConfig { on_failure: retry(5), ..config(Order::Key, 1) };
            let by = world.clone();
            let member = member_with(&world, &env, 0, &config, move |record| {
                let index = seen(&by, 0, &record);
                ended(&by, index, true);
                let unfit = Error::new(ErrorKind::Handler, "the payload is not UTF-8 text");
                std::future::ready(Err(HandlerError::new(Unfit(unfit))))
            });
            member.assign(&world, &[0]);
            let told = failure(&member).await.expect("told");
            assert!(told.error.to_string().contains("UTF-8"), "{}", told.error);
            member.handle.stop().await.expect("clean");
            let world = lock(&world);
            assert_eq!((world.seen.len(), world.committed[&tp(0)].offset), (1, 1));
        },
        1,
    );
}

#[test]
fn a_revocation_and_a_stop_end_a_backoff_at_once_and_the_record_comes_again() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 2, 0, &mut rng);
            let hour = Duration::from_secs(3600);
            let on_failure = OnFailure::Retry(RetryPolicy::new(9).backoff(hour, hour));
            let config = ConsumerConfig { on_failure, ..config(Order::None, 2) };
            let member = member_with(&world, &env, 0, &config, scripted(&world, |offset, _| offset > 0));
            member.assign(&world, &[0]);
            env.sleep(Duration::from_secs(1)).await;
            let begun = env.now();
            member.revoke(&env, &[0], Duration::from_secs(20)).await;
            assert!(env.now() - begun < Duration::from_millis(50));
            // What was finished above it is known to its next owner.
            member.assign(&world, &[0]);
            env.sleep(Duration::from_secs(1)).await;
            let runs: Vec<_> = lock(&world).seen.iter().map(|s| s.offset).collect();
            assert_eq!(runs, [0, 1, 0]);
            let begun = env.now();
            assert_eq!(member.handle.stop().await.expect("clean").left, 1);
            assert!(env.now() - begun < Duration::from_millis(50));
            assert_eq!(lock(&world).committed[&tp(0)].offset, 0);
        },
        1,
    );
}

#[test]
fn nothing_is_tried_again_while_the_subscription_is_paused() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 1, 0, &mut rng);
            let config = ConsumerConfig { on_failure: retry(2), ..config(Order::Key, 1) };
            let member = member_with(&world, &env, 0, &config, scripted(&world, |_, attempt| attempt == 2));
            member.assign(&world, &[0]);
            env.sleep(Duration::from_millis(10)).await;
            member.handle.pause();
            env.sleep(Duration::from_secs(60)).await;
            assert_eq!(lock(&world).seen.len(), 1);
            member.handle.resume();
            env.sleep(Duration::from_secs(1)).await;
            assert_eq!(lock(&world).seen.len(), 2);
            assert_eq!(member.handle.stop().await.expect("clean").left, 0);
            assert_eq!(lock(&world).committed[&tp(0)].offset, 1);
        },
        1,
    );
}

/// Takes what is passed on, after it has refused so many times.
#[derive(Debug, Default)]
struct Taker {
    refuse: AtomicU64,
    taken: Mutex<Vec<(i64, u32, Destination, String)>>,
}

#[derive(Debug)]
struct Taking(Arc<Taker>);

impl Forward<FetchedBatch> for Taking {
    fn attempts_before(&self, _: &Record<FetchedBatch>) -> Option<u32> {
        None
    }

    fn forward(&self, record: Record<FetchedBatch>, to: Destination, cause: Error) -> BoxFuture<'static, Result<()>> {
        let taker = self.0.clone();
        async move {
            let left = taker.refuse.load(Ordering::Relaxed);
            taker.refuse.store(left.saturating_sub(1), Ordering::Relaxed);
            if left > 0 {
                return Err(Error::new(ErrorKind::NotWritten, "nobody is there"));
            }
            lock(&taker.taken).push((record.offset(), record.attempt(), to, cause.to_string()));
            Ok(())
        }
        .boxed()
    }
}

#[test]
fn a_dead_letter_is_written_before_its_record_is_committed_however_long_that_takes() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 4, 0, &mut rng);
            lock(&world).retries = true;
            let taker = Arc::new(Taker { refuse: 20.into(), ..Taker::default() });
            let seams = || Seams { forward: Some(Arc::new(Taking(taker.clone()))), ..Seams::default() };
            let on_failure = OnFailure::Retry(RetryPolicy::new(1).dead_letter("dead"));
            let config = ConsumerConfig { on_failure, ..config(Order::Partition, 2) };
            let by = world.clone();
            let handler = move |record: Record<FetchedBatch>| {
                let index = seen(&by, 0, &record);
                ended(&by, index, record.offset() != 1 || record.attempt() == 2);
                std::future::ready(if record.offset() == 1 { Err(HandlerError::new("bad")) } else { Ok(()) })
            };
            let member = member_tended(&world, &env, 0, &config, seams(), handler.clone());
            member.assign(&world, &[0]);
            env.sleep(Duration::from_secs(30)).await;
            assert_eq!(lock(&world).committed[&tp(0)].offset, 1, "nobody takes it");
            let first = failure(&member).await.expect("the handler's");
            assert!(first.error.to_string().contains("bad"));
            let then = failure(&member).await.expect("the way's").error.to_string();
            assert!(then.contains("orders-0 offset 1") && then.contains("nobody is there"), "{then}");
            // A stop does not wait for it, and the next owner begins with it.
            assert_eq!(member.handle.stop().await.expect("clean").left, 1);
            assert_eq!(lock(&world).committed[&tp(0)].offset, 1);
            taker.refuse.store(2, Ordering::Relaxed);
            let config = ConsumerConfig { until_end: true, ..config };
            let member = member_tended(&world, &env, 1, &config, seams(), handler);
            member.assign(&world, &[0]);
            member.handle.join().await.expect("clean");
            assert_eq!(lock(&world).committed[&tp(0)].offset, 4);
            let taken = lock(&taker.taken);
            let [(1, 2, Destination::DeadLetters, cause)] = &taken[..] else { panic!("{taken:?}") };
            assert!(cause.contains("bad"));
        },
        1,
    );
}

/// Refuses by destination, and keeps what it does not refuse.
struct Refusing(fn(Destination) -> Option<Error>, Arc<Taker>);

impl std::fmt::Debug for Refusing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Refusing")
    }
}

impl Forward<FetchedBatch> for Refusing {
    fn attempts_before(&self, _: &Record<FetchedBatch>) -> Option<u32> {
        None
    }

    fn forward(&self, record: Record<FetchedBatch>, to: Destination, cause: Error) -> BoxFuture<'static, Result<()>> {
        self.1.refuse.fetch_add(1, Ordering::Relaxed);
        match self.0(to) {
            Some(error) => std::future::ready(Err(error)).boxed(),
            None => {
                lock(&self.1.taken).push((record.offset(), record.attempt(), to, cause.to_string()));
                std::future::ready(Ok(())).boxed()
            }
        }
    }
}

/// One member with one handler at a time over four records, of which the second one fails; it runs for a minute. What
/// is handled, committed, told, forwarded, and how often that was tried.
fn refused(
    policy: OnFailure,
    by: fn(Destination) -> Option<Error>,
) -> (usize, i64, Vec<String>, Vec<Destination>, u64) {
    let found = Arc::new(Mutex::new(None));
    let out = found.clone();
    simulate(
        move |env, mut rng| {
            let (policy, out) = (policy.clone(), out.clone());
            async move {
                let world = world(1, 4, 0, &mut rng);
                let taker = Arc::new(Taker::default());
                let seams = Seams { forward: Some(Arc::new(Refusing(by, taker.clone()))), ..Seams::default() };
                let config = ConsumerConfig { on_failure: policy, ..config(Order::Partition, 1) };
                let handled = Arc::new(AtomicU64::new(0));
                let count = handled.clone();
                let of = world.clone();
                let member = member_tended(&world, &env, 0, &config, seams, move |record| {
                    count.fetch_add(1, Ordering::Relaxed);
                    let index = seen(&of, 0, &record);
                    // Among the dead letters it may be committed.
                    ended(&of, index, record.offset() != 1 || by(Destination::DeadLetters).is_none());
                    std::future::ready(if record.offset() == 1 { Err(HandlerError::new("bad")) } else { Ok(()) })
                });
                member.assign(&world, &[0]);
                env.sleep(Duration::from_secs(60)).await;
                let left = member.handle.stop().await.map_or(0, |ended| ended.left);
                assert_eq!(left, 0, "it keeps no handler's place");
                let mut told = Vec::new();
                while let Some(failure) = failure(&member).await {
                    told.push(failure.error.to_string());
                }
                let committed = lock(&world).committed[&tp(0)].offset;
                let taken = lock(&taker.taken).iter().map(|t| t.2).collect();
                let tries = taker.refuse.load(Ordering::Relaxed);
                let handled = handled.load(Ordering::Relaxed) as usize;
                *lock(&out) = Some((handled, committed, told, taken, tries));
            }
        },
        1,
    );
    let found = lock(&found).take();
    found.expect("it ran")
}

#[test]
fn what_can_never_be_passed_on_is_held_and_told_and_the_rest_goes_on() {
    let dead = || OnFailure::DeadLetter("dead".into());
    let large = |_| Some(Error::new(ErrorKind::MessageTooLarge, "raise it"));
    let (handled, committed, told, taken, tries) = refused(dead(), large);
    assert_eq!((handled, committed, taken, tries), (4, 1, vec![], 1));
    assert!(told[0].contains("bad") && told[1].contains("raise it") && told[1].contains("is held"), "{told:?}");
    assert_eq!(told.len(), 2);

    // What hardly passes is tried for a while.
    let forbidden = |_| Some(Error::from_code(crate::wire::ErrorCode::TOPIC_AUTHORIZATION_FAILED, "Produce to dead-0"));
    let (handled, committed, told, taken, tries) = refused(dead(), forbidden);
    assert_eq!((handled, committed, taken, tries), (4, 1, vec![], 10));
    assert!(told[9].contains("tried again") && told[10].contains("is held"), "{told:?}");
    assert_eq!(told.len(), 11);
}

#[test]
fn what_no_retry_topic_takes_has_had_its_last_attempt_and_is_not_lost_under_skip() {
    let large = |to| (to != Destination::DeadLetters).then(|| Error::new(ErrorKind::MessageTooLarge, "raise it"));
    let policy = |then| OnFailure::Retry(RetryPolicy::new(0).through_topics([Duration::from_secs(1)]).then(then));
    let (handled, committed, told, taken, _) = refused(policy(OnFailure::DeadLetter("dead".into())), large);
    assert_eq!((handled, committed, taken), (4, 4, vec![Destination::DeadLetters]));
    assert!(told[0].contains("dead letters") && told[1].contains("bad"), "{told:?}");
    for (then, handled) in [(OnFailure::Skip, 4), (OnFailure::Hold, 4), (OnFailure::Stop, 2)] {
        let found = refused(policy(then.clone()), large);
        assert_eq!((found.0, found.1, found.3), (handled, 1, vec![]), "{then:?}");
        assert!(found.2[0].contains("raise it") && found.2[1].contains("bad"), "{:?}", found.2);
    }
}

#[test]
fn stages_come_one_after_the_other_and_then_the_policys_end() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 2, 0, &mut rng);
            let taker = Arc::new(Taker::default());
            let seams = Seams { forward: Some(Arc::new(Taking(taker.clone()))), ..Seams::default() };
            let policy = RetryPolicy::new(0).through_topics([Duration::ZERO; 2]).then(OnFailure::Hold);
            let retries = vec![super::super::forward::RetryTopic {
                topic: TOPIC.into(),
                route: 0,
                stage: 1,
                // Records of this world are of 1970.
                delay: Duration::from_secs(5),
            }];
            let on_failure = OnFailure::Retry(policy);
            let config = ConsumerConfig { on_failure, retries, until_end: true, ..config(Order::Key, 1) };
            let by = world.clone();
            let member = member_tended(&world, &env, 0, &config, seams, move |record| {
                let index = seen(&by, 0, &record);
                ended(&by, index, true);
                std::future::ready(Err(HandlerError::new("bad")))
            });
            member.assign(&world, &[0]);
            member.handle.join().await.expect("clean");
            let taken: Vec<_> = lock(&taker.taken).iter().map(|t| (t.0, t.1, t.2)).collect();
            assert_eq!(taken, [(0, 2, Destination::Retry(2)), (1, 2, Destination::Retry(2))]);
            assert!(failure(&member).await.is_none(), "a failure that is not the last is not told");
        },
        1,
    );
}
