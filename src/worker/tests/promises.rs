//! Nothing is lost, passed over or repeated beyond what a loss allows, and the order is kept, whatever happens meanwhile.

use super::*;

#[test]
fn clean_hand_overs_lose_nothing_repeat_nothing_and_keep_the_order() {
    for seed in 0..60 {
        let order = ORDERS[seed as usize % 3];
        simulate(
            async |env, mut rng| {
                let (partitions, records) = (4, 60);
                let world = world(partitions, records, 6, &mut rng);
                let config = config(order, rng.usize(1..12));
                let behaviour = Behaviour { max_ms: 30, fail: 3, panic: 1 };
                let members: Vec<_> = (0..2).map(|n| member(&world, &env, n, &config, behaviour)).collect();
                let mut owner = [0usize; 4];
                members[0].assign(&world, &[0, 1, 2, 3]);
                for _ in 0..rng.u32(2..9) {
                    env.sleep(Duration::from_millis(rng.u64(0..120))).await;
                    let moved: Vec<i32> = (0..4).filter(|_| rng.bool()).collect();
                    for m in &members {
                        let theirs: Vec<i32> =
                            moved.iter().copied().filter(|p| owner[*p as usize] == m.number).collect();
                        m.revoke(&env, &theirs, Duration::from_secs(20)).await;
                    }
                    for p in moved {
                        owner[p as usize] = rng.usize(0..2);
                        members[owner[p as usize]].assign(&world, &[p]);
                    }
                }
                all_finished(&env, &world, partitions, records).await;
                for m in &members {
                    assert_eq!(m.handle.stop().await.map(|e| e.left).expect("clean"), 0, "seed {seed}");
                }
                let world = lock(&world);
                world.check_order(order);
                for p in 0..4 {
                    assert_eq!(world.committed[&tp(p)].offset, records as i64, "seed {seed}");
                    for offset in 0..records as i64 {
                        assert_eq!(world.handled(&tp(p), offset), 1, "D: seed {seed} {} {offset}", tp(p));
                    }
                }
            },
            seed,
        );
    }
}

#[test]
fn losses_and_late_handlers_repeat_some_but_lose_none() {
    for seed in 1_000..1_060 {
        let order = ORDERS[seed as usize % 3];
        simulate(
            async |env, mut rng| {
                let (partitions, records) = (2, 50);
                let world = world(partitions, records, 4, &mut rng);
                let config =
                    ConsumerConfig { drain_timeout: Duration::from_millis(15), ..config(order, rng.usize(1..9)) };
                let behaviour = Behaviour { max_ms: 60, fail: 5, panic: 0 };
                let members: Vec<_> = (0..2).map(|n| member(&world, &env, n, &config, behaviour)).collect();
                let mut owner = 0;
                members[0].assign(&world, &[0, 1]);
                for _ in 0..rng.u32(2..9) {
                    env.sleep(Duration::from_millis(rng.u64(0..200))).await;
                    if rng.bool() {
                        // Shorter than handlers take: late completions must count for nothing (O).
                        members[owner].revoke(&env, &[0, 1], Duration::from_millis(rng.u64(1..80))).await;
                    } else {
                        members[owner].lose(&[0, 1]);
                    }
                    owner = rng.usize(0..2);
                    members[owner].assign(&world, &[0, 1]);
                }
                all_finished(&env, &world, partitions, records).await;
                // The last owner may be handling some of them again.
                env.sleep(Duration::from_secs(10)).await;
                members[owner].handle.stop().await.expect("clean");
                let world = lock(&world);
                for p in 0..2 {
                    assert_eq!(world.committed[&tp(p)].offset, records as i64, "seed {seed}");
                }
            },
            seed,
        );
    }
}

#[test]
fn held_records_are_never_passed_and_exactly_they_come_again() {
    for seed in 2_000..2_040 {
        let order = ORDERS[seed as usize % 3];
        simulate(
            async |env, mut rng| {
                let world = world(3, 80, 5, &mut rng);
                let config = ConsumerConfig { on_failure: OnFailure::Hold, until_end: true, ..config(order, 8) };
                let first = member(&world, &env, 0, &config, Behaviour { max_ms: 10, fail: 10, panic: 2 });
                first.assign(&world, &[0, 1, 2]);
                first.handle.join().await.expect("until_end");
                let failed: Vec<_> = {
                    let world = lock(&world);
                    world.seen.iter().filter(|s| !s.finished).map(|s| (s.tp.clone(), s.offset)).collect()
                };
                assert_eq!(lock(&world).seen.len(), 240);
                let second = member(&world, &env, 1, &config, Behaviour { max_ms: 10, fail: 0, panic: 0 });
                second.assign(&world, &[0, 1, 2]);
                second.handle.join().await.expect("until_end");
                let world = lock(&world);
                let again: std::collections::BTreeSet<_> =
                    world.seen[240..].iter().map(|s| (s.tp.clone(), s.offset)).collect();
                assert_eq!(again, failed.into_iter().collect(), "seed {seed}");
                assert!((0..3).all(|p| world.committed[&tp(p)].offset == 80));
            },
            seed,
        );
    }
}

#[test]
fn stop_on_failure_commits_what_came_before_and_nothing_at_or_past_it() {
    for seed in 3_000..3_030 {
        simulate(
            async |env, mut rng| {
                let world = world(2, 60, 5, &mut rng);
                let order = ORDERS[seed as usize % 3];
                let config = ConsumerConfig { on_failure: OnFailure::Stop, ..config(order, 6) };
                let m = member(&world, &env, 0, &config, Behaviour { max_ms: 10, fail: 4, panic: 0 });
                m.assign(&world, &[0, 1]);
                let error = m.handle.join().await.expect_err("some handler fails");
                assert_eq!(error.kind(), crate::ErrorKind::Handler);
                let world = lock(&world);
                assert!(world.seen.iter().all(|s| s.end.is_some()), "running handlers finish");
                for p in 0..2 {
                    let lowest = (0..60).find(|o| !world.is_finished(&tp(p), *o)).unwrap_or(60);
                    assert_eq!(world.committed.get(&tp(p)).map_or(0, |c| c.offset), lowest, "seed {seed}");
                }
            },
            seed,
        );
    }
}

#[test]
fn handlers_in_tasks_of_their_own_keep_the_same_promises() {
    simulate(
        async |env, mut rng| {
            let world = world(2, 40, 3, &mut rng);
            let config = ConsumerConfig { spawn_each: true, until_end: true, ..config(Order::Key, 4) };
            let m = member(&world, &env, 0, &config, Behaviour { max_ms: 9, fail: 5, panic: 5 });
            m.assign(&world, &[0, 1]);
            m.handle.join().await.expect("clean");
            let world = lock(&world);
            world.check_order(Order::Key);
            assert_eq!(world.seen.len(), 80);
            assert!((0..2).all(|p| world.committed[&tp(p)].offset == 40));
        },
        5,
    );
}

#[test]
fn a_batch_that_cannot_be_read_ends_the_consumer_after_what_came_before_it() {
    for order in ORDERS {
        simulate(
            async |env, mut rng| {
                let world = world(2, 40, 3, &mut rng);
                let m = member(&world, &env, 0, &config(order, 4), Behaviour { max_ms: 50, fail: 0, panic: 0 });
                m.assign(&world, &[0]);
                env.sleep(Duration::from_millis(1)).await;
                let (epoch, fault) = (AssignmentEpoch(1), FetchFault::BadBatch { offset: 40 });
                let error = crate::Error::new(crate::ErrorKind::CorruptBatch, "orders-0 at offset 40");
                let error = FetchError { tp: Arc::new(tp(0)), epoch, fault, error };
                m.feed.send(FetchEvent::Error(error)).expect("it runs");
                let ended = m.handle.join().await.expect_err("it cannot go on");
                assert_eq!(ended.kind(), crate::ErrorKind::CorruptBatch);
                let world = lock(&world);
                assert_eq!(world.seen.len(), 40);
                assert_eq!(world.committed[&tp(0)].offset, 40);
            },
            11,
        );
    }
}
