//! What follows on a handler's end: aftercare, and further attempts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::super::aftercare::{Aftercare, Begun, Ending};
use super::*;
use crate::client::producer::{Completion, Delivery, Fate};
use crate::{Error, ErrorKind};

/// Looks after records with even offsets, and takes its time.
#[derive(Debug)]
struct Care {
    env: Env,
    takes: Duration,
    /// How each record ended, by offset.
    endings: Mutex<BTreeMap<i64, Vec<Ending>>>,
    running: AtomicU64,
    most: AtomicU64,
    fails: bool,
}

impl Care {
    fn new(env: &Env, takes: Duration) -> Arc<Self> {
        let (endings, running, most) = Default::default();
        Arc::new(Self { env: env.clone(), takes, endings, running, most, fails: false })
    }

    fn seams(self: &Arc<Self>) -> Seams {
        Seams { aftercare: Some(Arc::new(Caring(self.clone()))), ..Seams::default() }
    }
}

#[derive(Debug)]
struct Caring(Arc<Care>);

impl Aftercare<FetchedBatch> for Caring {
    fn concerns(&self, record: &crate::worker::Record<FetchedBatch>) -> bool {
        record.offset() % 2 == 0
    }

    fn after(&self, record: crate::worker::Record<FetchedBatch>, ending: Ending) -> BoxFuture<'static, Result<()>> {
        let care = self.0.clone();
        async move {
            let running = care.running.fetch_add(1, Ordering::Relaxed) + 1;
            care.most.fetch_max(running, Ordering::Relaxed);
            care.env.sleep(care.takes).await;
            care.running.fetch_sub(1, Ordering::Relaxed);
            lock(&care.endings).entry(record.offset()).or_default().push(ending);
            if care.fails { Err(Error::new(ErrorKind::Timeout, "not told")) } else { Ok(()) }
        }
        .boxed()
    }
}

#[test]
fn records_in_aftercare_are_not_committed_and_hold_up_nobody() {
    for order in ORDERS {
        simulate(
            async |env, mut rng| {
                let world = world(1, 50, 3, &mut rng);
                let care = Care::new(&env, Duration::from_secs(5));
                let config = ConsumerConfig { until_end: true, ..config(order, 1) };
                let (seen_by, sleeper) = (world.clone(), env.clone());
                let member = member_tended(&world, &env, 0, &config, care.seams(), move |record| {
                    let (world, env) = (seen_by.clone(), sleeper.clone());
                    async move {
                        let index = seen(&world, 0, &record);
                        if record.offset() % 3 == 0 {
                            env.sleep(Duration::from_millis(7)).await;
                        }
                        ended(&world, index, true);
                        assert!(record.offset() != 4, "as told");
                        if record.offset() == 6 { Err(HandlerError::new("no")) } else { Ok(()) }
                    }
                });
                let begun = env.wall_ms();
                member.assign(&world, &[0]);
                env.sleep(Duration::from_secs(4)).await;
                assert_eq!(lock(&world).committed.get(&tp(0)).map_or(0, |c| c.offset), 0, "{order:?}");
                assert_eq!(lock(&world).seen.len(), 50, "{order:?}: the others went on");
                member.handle.join().await.expect("clean");
                assert_eq!(lock(&world).committed[&tp(0)].offset, 50);
                lock(&world).check_order(order);
                let endings = lock(&care.endings);
                assert_eq!(endings.keys().copied().collect::<Vec<_>>(), (0..50).step_by(2).collect::<Vec<_>>());
                for (offset, ending) in endings.iter() {
                    let [ending] = &ending[..] else { panic!("{offset}: {ending:?}") };
                    assert_eq!(ending.outcome.is_err(), [4, 6].contains(offset));
                    let took = if offset % 3 == 0 { 7 } else { 0 };
                    assert_eq!(ending.ended_ms - ending.begun_ms, took);
                    assert!(ending.begun_ms >= begun && !ending.again);
                }
                let told = endings[&4][0].outcome.as_ref().unwrap_err().to_string();
                assert!(told.contains("orders-0 offset 4") && told.contains("as told"), "{told}");
                assert_eq!(care.most.load(Ordering::Relaxed), 25);
            },
            1,
        );
    }
}

#[test]
fn a_failure_is_told_before_it_is_held_or_stops_the_subscription() {
    for on_failure in [OnFailure::Hold, OnFailure::Stop] {
        simulate(
            async |env, mut rng| {
                let world = world(1, 10, 0, &mut rng);
                let care = Care::new(&env, Duration::from_secs(1));
                let config =
                    ConsumerConfig { on_failure: on_failure.clone(), until_end: true, ..config(Order::Partition, 1) };
                let seen_by = world.clone();
                let member = member_tended(&world, &env, 0, &config, care.seams(), move |record| {
                    let index = seen(&seen_by, 0, &record);
                    ended(&seen_by, index, record.offset() != 4);
                    std::future::ready(match record.offset() {
                        4 => Err(HandlerError::new("no")),
                        _ => Ok(()),
                    })
                });
                member.assign(&world, &[0]);
                let joined = member.handle.join().await;
                assert_eq!(joined.is_err(), on_failure == OnFailure::Stop);
                assert!(lock(&care.endings)[&4][0].outcome.is_err());
                assert_eq!(lock(&world).committed[&tp(0)].offset, 4);
                let handled = if on_failure == OnFailure::Stop { 5 } else { 10 };
                assert_eq!(lock(&world).seen.len(), handled);
            },
            1,
        );
    }
}

#[test]
fn a_revocation_waits_for_aftercare_and_failing_aftercare_is_reported() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 1, 0, &mut rng);
            let mut care = Care::new(&env, Duration::from_secs(3));
            Arc::get_mut(&mut care).expect("its only owner").fails = true;
            let seen_by = world.clone();
            let handler = move |record| {
                let index = seen(&seen_by, 0, &record);
                ended(&seen_by, index, true);
                std::future::ready(Ok(()))
            };
            let member = member_tended(&world, &env, 0, &config(Order::Key, 4), care.seams(), handler);
            member.assign(&world, &[0]);
            env.sleep(Duration::from_secs(1)).await;
            let begun = env.now();
            member.revoke(&env, &[0], Duration::from_secs(20)).await;
            assert_eq!(env.now() - begun, Duration::from_secs(2));
            assert_eq!(lock(&world).committed[&tp(0)].offset, 1);
            let failures = member.handle.failures();
            let failure = std::future::poll_fn(|cx| failures.poll_next(cx)).await.expect("one");
            assert_eq!((failure.record, failure.error.kind()), (Some((tp(0), 0)), ErrorKind::Timeout));
            assert_eq!(member.handle.stop().await.expect("clean").left, 0);
        },
        1,
    );
}

#[test]
fn answers_that_nobody_acknowledges_hold_up_a_revocation_and_a_stop_for_two_seconds_and_nothing_is_handled_again() {
    for (within, most) in [(Some(20_000), 2_100), (Some(1_000), 500), (None, 2_100)] {
        simulate(
            async |env, mut rng| {
                let world = world(1, 3, 0, &mut rng);
                // Answers that are never acknowledged.
                let care = Care::new(&env, Duration::from_secs(1_000_000));
                let member_of = |number| {
                    let by = world.clone();
                    member_tended(&world, &env, number, &config(Order::Key, 4), care.seams(), move |record| {
                        let index = seen(&by, number, &record);
                        ended(&by, index, true);
                        std::future::ready(Ok(()))
                    })
                };
                let member = member_of(0);
                member.assign(&world, &[0]);
                env.sleep(Duration::from_secs(1)).await;
                assert_eq!(lock(&world).committed.get(&tp(0)).map_or(0, |c| c.offset), 0, "not answered");
                let begun = env.now();
                if let Some(within) = within {
                    member.revoke(&env, &[0], Duration::from_millis(within)).await;
                    assert!(env.now() - begun <= Duration::from_millis(most), "{:?}", env.now() - begun);
                }
                assert_eq!(member.handle.stop().await.expect("clean").left, 0);
                assert!(env.now() - begun <= Duration::from_millis(most), "{:?}", env.now() - begun);
                assert_eq!(lock(&world).committed[&tp(0)].offset, 3);
                let mut told = Vec::new();
                let failures = member.handle.failures();
                while let Some(failure) = std::future::poll_fn(|cx| failures.poll_next(cx)).await {
                    told.push(failure.error.to_string());
                }
                assert_eq!(told.len(), 2, "{told:?}");
                assert!(told.iter().all(|text| text.contains("receipts") && !text.contains("handlers")), "{told:?}");
                let next = member_of(1);
                next.assign(&world, &[0]);
                env.sleep(Duration::from_secs(5)).await;
                next.handle.stop().await.expect("clean");
                assert_eq!(lock(&world).seen.len(), 3, "none twice");
            },
            1,
        );
    }
}

#[test]
fn an_answer_that_begins_late_in_a_drain_does_not_outlast_it() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 1, 0, &mut rng);
            let care = Care::new(&env, Duration::from_secs(1_000_000));
            let (by, sleeper) = (world.clone(), env.clone());
            let member = member_tended(&world, &env, 0, &config(Order::Key, 4), care.seams(), move |record| {
                let (world, env) = (by.clone(), sleeper.clone());
                async move {
                    let index = seen(&world, 0, &record);
                    env.sleep(Duration::from_secs(10)).await;
                    ended(&world, index, true);
                    Ok(())
                }
            });
            member.assign(&world, &[0]);
            env.sleep(Duration::from_secs(1)).await;
            // The handler ends a second before the drain does.
            member.revoke(&env, &[0], Duration::from_secs(30)).await;
            assert_eq!(lock(&world).committed[&tp(0)].offset, 1);
            assert_eq!(member.handle.stop().await.expect("clean").left, 0);
        },
        1,
    );
}

/// Writes one record for each, into batches of ten.
#[derive(Debug, Default)]
struct Writing {
    batches: Mutex<Vec<Arc<Completion>>>,
    waits: AtomicU64,
    failed: AtomicU64,
}

impl Aftercare<FetchedBatch> for Writing {
    fn concerns(&self, record: &crate::worker::Record<FetchedBatch>) -> bool {
        record.offset() != 0
    }

    fn begin(&self, record: &crate::worker::Record<FetchedBatch>, _: &Ending) -> Begun {
        if record.offset() == 1 {
            return Begun::Nothing;
        }
        let (batch, index) = (record.offset() as usize / 10, record.offset() as u32 % 10);
        let mut batches = lock(&self.batches);
        while batches.len() <= batch {
            batches.push(Completion::new(Arc::new(tp(9))));
        }
        Begun::Written(Delivery::new(batches[batch].clone(), index, 0))
    }

    fn settled(&self, delivery: &Delivery) -> BoxFuture<'static, Result<()>> {
        self.waits.fetch_add(1, Ordering::Relaxed);
        delivery.batch().clone().settled().map(Ok).boxed()
    }

    fn failed(
        &self,
        _: crate::worker::Record<FetchedBatch>,
        _: Ending,
        error: Error,
    ) -> BoxFuture<'static, Result<()>> {
        self.failed.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Err(error)).boxed()
    }

    fn after(&self, _: crate::worker::Record<FetchedBatch>, _: Ending) -> BoxFuture<'static, Result<()>> {
        unreachable!("all of them can begin at once")
    }
}

#[test]
fn what_was_written_in_one_batch_is_waited_for_once_and_ends_with_it() {
    for order in ORDERS {
        simulate(
            async |env, mut rng| {
                let world = world(1, 30, 3, &mut rng);
                let writing = Arc::new(Writing::default());
                let seams = Seams { aftercare: Some(writing.clone()), ..Seams::default() };
                let by = world.clone();
                let member = member_tended(&world, &env, 0, &config(order, 1), seams, move |record| {
                    let index = seen(&by, 0, &record);
                    ended(&by, index, true);
                    std::future::ready(Ok(()))
                });
                member.assign(&world, &[0]);
                let committed = async || {
                    env.sleep(Duration::from_secs(10)).await;
                    lock(&world).committed.get(&tp(0)).map_or(0, |c| c.offset)
                };
                assert_eq!(committed().await, 2, "nothing is to be written for the first two");
                assert_eq!(lock(&world).seen.len(), 30, "nobody is held up");
                assert_eq!(writing.waits.load(Ordering::Relaxed), 3, "once for each batch");
                let batches = lock(&writing.batches).clone();
                let written = || Fate::Written { base_offset: Some(0), log_append_time: None };
                batches[1].settle(0, 10, 10, written());
                assert_eq!(committed().await, 2, "the first batch is not settled");
                batches[0].settle(4, 6, 10, Fate::Failed(Error::new(ErrorKind::NotWritten, "refused")));
                batches[0].settle(0, 4, 10, written());
                assert_eq!(committed().await, 20, "what failed is told, and is finished");
                assert_eq!(writing.failed.load(Ordering::Relaxed), 6);
                let begun = env.now();
                let left = member.handle.stop();
                assert_eq!(left.await.expect("clean").left, 0);
                assert!(env.now() - begun <= Duration::from_millis(2_100), "{:?}", env.now() - begun);
                assert_eq!(lock(&world).committed[&tp(0)].offset, 30);
                let failures = member.handle.failures();
                let mut told = Vec::new();
                while let Some(failure) = std::future::poll_fn(|cx| failures.poll_next(cx)).await {
                    told.push((failure.record.expect("of a record").1, failure.error.kind()));
                }
                told.sort_unstable_by_key(|(offset, _)| *offset);
                let refused = (4..10).map(|offset| (offset, ErrorKind::NotWritten));
                let cut_off = (20..30).map(|offset| (offset, ErrorKind::Timeout));
                assert_eq!(told, refused.chain(cut_off).collect::<Vec<_>>());
            },
            1,
        );
    }
}
