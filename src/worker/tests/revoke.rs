//! Revocations under way: what stays goes on, and losses, stops and the same partition again come in between.

use super::*;
use crate::ErrorKind;

/// Handlers take 10 ms; those of partition 0 as long as `slow` says by offset.
pub(super) fn slow_at_0(
    world: &Shared,
    env: &Env,
    config: &ConsumerConfig,
    slow: impl Fn(i64) -> Duration + Send + Sync + 'static,
) -> Member {
    let (by, handler_env) = (world.clone(), env.clone());
    let handler = move |record: super::super::Record<FetchedBatch>| {
        let (world, env) = (by.clone(), handler_env.clone());
        let time = match record.topic_partition().partition {
            0 => slow(record.offset()),
            _ => Duration::from_millis(10),
        };
        async move {
            let index = seen(&world, 0, &record);
            env.sleep(time).await;
            ended(&world, index, true);
            Ok(())
        }
    };
    member_with(world, env, 0, config, handler)
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn started(world: &Shared, partition: i32) -> usize {
    lock(world).seen.iter().filter(|s| s.tp == tp(partition)).count()
}

pub(super) async fn errors(m: &Member) -> Vec<String> {
    let (failures, mut texts) = (m.handle.failures(), Vec::new());
    while let Some(failure) = std::future::poll_fn(|cx| failures.poll_next(cx)).await {
        texts.push(failure.error.to_string());
    }
    texts
}

#[test]
fn while_some_partitions_drain_the_others_start_handlers_commit_and_get_company() {
    for order in ORDERS {
        simulate(
            async |env, mut rng| {
                let world = world(3, 400, 9, &mut rng);
                let m = slow_at_0(&world, &env, &config(order, 4), |_| seconds(8));
                m.assign(&world, &[0, 1]);
                env.sleep(Duration::from_millis(500)).await;
                let mut answered = m.begin_revoke(&env, &[0], seconds(20));
                env.sleep(Duration::from_millis(20)).await;
                let (before, slow) = (started(&world, 1), started(&world, 0));
                env.sleep(seconds(2)).await;
                // By key or without order, up to four slow handlers of partition 0 take all the room there is.
                if order == Order::Partition {
                    assert!(started(&world, 1) > before + 100, "{order:?}: {before} {}", started(&world, 1));
                    assert!(lock(&world).committed[&tp(1)].offset > before as i64, "commits go on");
                    m.assign(&world, &[2]);
                    env.sleep(seconds(2)).await;
                    assert!(started(&world, 2) > 100, "what is assigned meanwhile begins");
                }
                assert!(answered.try_recv().is_err(), "handlers still run");
                env.sleep(seconds(7)).await;
                assert_eq!(answered.try_recv(), Ok(()));
                assert_eq!(started(&world, 0), slow, "nothing new of what is taken away");
                let finished = (0..).find(|offset| !lock(&world).is_finished(&tp(0), *offset)).unwrap_or(0);
                assert_eq!(lock(&world).committed[&tp(0)].offset, finished, "and what has ended is committed");
                assert_eq!(m.handle.stop().await.expect("stopped").left, 0);
            },
            17,
        );
    }
}

#[test]
fn two_revocations_do_not_wait_for_each_other() {
    simulate(
        async |env, mut rng| {
            let world = world(2, 50, 0, &mut rng);
            let m = slow_at_0(&world, &env, &config(Order::Partition, 4), |_| seconds(8));
            m.assign(&world, &[0, 1]);
            env.sleep(Duration::from_millis(105)).await;
            let mut slow = m.begin_revoke(&env, &[0], seconds(20));
            env.sleep(seconds(1)).await;
            m.revoke(&env, &[1], Duration::from_millis(100)).await;
            assert!(slow.try_recv().is_err());
            env.sleep(seconds(8)).await;
            assert_eq!(slow.try_recv(), Ok(()));
            m.handle.stop().await.expect("clean");
        },
        18,
    );
}

#[test]
fn what_is_lost_while_it_drains_is_not_committed_and_the_rest_of_its_revocation_is() {
    simulate(
        async |env, mut rng| {
            let world = world(3, 50, 0, &mut rng);
            let m = slow_at_0(&world, &env, &config(Order::Partition, 4), |_| seconds(3));
            m.assign(&world, &[0, 1, 2]);
            env.sleep(Duration::from_millis(100)).await;
            let mut answered = m.begin_revoke(&env, &[0, 1], seconds(20));
            env.sleep(Duration::from_millis(100)).await;
            m.lose(&[0]);
            env.sleep(Duration::from_millis(100)).await;
            assert_eq!(answered.try_recv(), Ok(()), "nothing is left to wait for");
            env.sleep(seconds(5)).await;
            assert_eq!(lock(&world).committed.get(&tp(0)), None, "O: the late completion counts for nothing");
            let ended = lock(&world).committed[&tp(1)].offset;
            assert_eq!(ended, started(&world, 1) as i64);
            assert_eq!(started(&world, 2), 50);
            m.handle.stop().await.expect("clean");
        },
        19,
    );
}

#[test]
fn a_partition_that_comes_back_at_once_is_not_concerned_by_what_still_runs_of_before() {
    for order in ORDERS {
        simulate(
            async |env, mut rng| {
                let world = world(1, 10, 0, &mut rng);
                let config = ConsumerConfig { drain_timeout: Duration::from_millis(100), ..config(order, 1) };
                // The first run of offset 0 ends long after the partition came back; the second hangs for longer.
                let runs = std::sync::atomic::AtomicU64::new(0);
                let m = slow_at_0(&world, &env, &config, move |offset| match offset {
                    0 => seconds(5 + 15 * runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed)),
                    _ => Duration::ZERO,
                });
                m.assign(&world, &[0]);
                env.sleep(Duration::from_millis(10)).await;
                m.revoke(&env, &[0], seconds(1)).await;
                m.assign(&world, &[0]);
                env.sleep(seconds(10)).await;
                let seen = lock(&world).seen.clone();
                assert!(seen[0].end.is_some() && seen.len() == 2, "{seen:?}");
                assert_eq!(lock(&world).committed.get(&tp(0)), None, "O: offset 0 is being handled again");
                m.lose(&[0]);
                env.sleep(Duration::from_millis(10)).await;
                m.handle.stop().await.expect("clean");
            },
            20,
        );
    }
}

#[test]
fn a_stop_during_a_revocation_counts_its_handlers_and_keeps_its_limit() {
    simulate(
        async |env, mut rng| {
            let world = world(2, 50, 0, &mut rng);
            let config = ConsumerConfig { stop_timeout: seconds(3), ..config(Order::Partition, 4) };
            let m = slow_at_0(&world, &env, &config, |_| seconds(3_600));
            m.assign(&world, &[0, 1]);
            env.sleep(seconds(2)).await;
            let mut answered = m.begin_revoke(&env, &[0], seconds(20));
            env.sleep(seconds(1)).await;
            let began = env.now();
            assert_eq!(m.handle.stop().await.expect("stopped").left, 1);
            assert!(env.now() - began < seconds(4), "{:?}", env.now() - began);
            assert_eq!(answered.try_recv(), Ok(()));
            assert_eq!(lock(&world).committed[&tp(1)].offset, 50);
        },
        21,
    );
}

#[test]
fn a_revocation_whose_commit_is_not_answered_is_answered_at_its_deadline_and_a_stop_tells() {
    simulate(
        async |env, mut rng| {
            let world = world(2, 50, 0, &mut rng);
            let m = slow_at_0(&world, &env, &config(Order::Partition, 4), |_| Duration::from_millis(100));
            m.assign(&world, &[0, 1]);
            env.sleep(Duration::from_millis(350)).await;
            lock(&world).deaf = true;
            m.revoke(&env, &[0], seconds(2)).await;
            assert!(started(&world, 1) == 50, "the other goes on");
            let answered = m.begin_revoke(&env, &[1], seconds(2));
            let began = env.now();
            let error = m.handle.stop().await.expect_err("not committed");
            assert_eq!(error.kind(), ErrorKind::Timeout);
            assert!(error.to_string().contains("may come again"), "{error}");
            assert!(env.now() - began <= seconds(15), "{:?}", env.now() - began);
            answered.await.expect("answered");
            let errors = errors(&m).await;
            assert_eq!(errors.iter().filter(|e| e.contains("may come again")).count(), 2, "{errors:?}");
        },
        22,
    );
}

#[test]
fn partitions_lost_while_the_consumer_stops_are_told() {
    simulate(
        async |env, mut rng| {
            let world = world(2, 50, 0, &mut rng);
            let m = slow_at_0(&world, &env, &config(Order::Partition, 4), |_| seconds(3));
            m.assign(&world, &[0, 1]);
            env.sleep(Duration::from_millis(100)).await;
            let _answered = m.begin_revoke(&env, &[0], seconds(20));
            env.sleep(Duration::from_millis(100)).await;
            m.handle.request_stop();
            env.sleep(Duration::from_millis(100)).await;
            m.lose(&[0, 1]);
            let error = m.handle.join().await.expect_err("some may come again");
            assert_eq!(error.kind(), ErrorKind::Group);
        },
        23,
    );
}

#[test]
fn where_brokers_take_no_metadata_a_last_commit_is_made_again_without() {
    for stop in [false, true] {
        simulate(
            async |env, mut rng| {
                let world = world(1, 20, 0, &mut rng);
                lock(&world).no_metadata = true;
                let m = slow_at_0(&world, &env, &config(Order::Partition, 4), |_| Duration::from_millis(10));
                m.assign(&world, &[0]);
                env.sleep(Duration::from_millis(500)).await;
                if !stop {
                    m.revoke(&env, &[0], seconds(2)).await;
                }
                m.handle.stop().await.expect("clean");
                assert_eq!(lock(&world).committed[&tp(0)].offset, 20, "{stop}");
            },
            24,
        );
    }
}
