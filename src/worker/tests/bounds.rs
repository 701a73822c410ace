//! What bounds a consumer: a count, time, handlers that hang, and records that are held.

use super::*;

#[test]
fn a_count_hands_out_no_record_more_and_commits_them_all() {
    for seed in 4_000..4_030 {
        simulate(
            async |env, mut rng| {
                let world = world(3, 50, 5, &mut rng);
                let count = rng.u64(1..100);
                let order = ORDERS[seed as usize % 3];
                let config = ConsumerConfig { count: Some(count), ..config(order, 5) };
                let m = member(&world, &env, 0, &config, Behaviour { max_ms: 10, fail: 10, panic: 0 });
                m.assign(&world, &[0, 1, 2]);
                m.handle.join().await.expect("ends by itself");
                assert_eq!(lock(&world).seen.len() as u64, count);
                // The next owner handles exactly the rest.
                let config = ConsumerConfig { count: None, until_end: true, ..config };
                let m = member(&world, &env, 1, &config, Behaviour { max_ms: 10, fail: 10, panic: 0 });
                m.assign(&world, &[0, 1, 2]);
                m.handle.join().await.expect("ends by itself");
                let world = lock(&world);
                assert_eq!(world.seen.len(), 150, "seed {seed}");
            },
            seed,
        );
    }
}

#[test]
fn an_idle_consumer_commits_nothing_and_sets_no_timer() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 5, 0, &mut rng);
            let m = member(&world, &env, 0, &config(Order::None, 2), Behaviour { max_ms: 0, fail: 0, panic: 0 });
            m.assign(&world, &[0]);
            env.sleep(Duration::from_secs(3)).await;
            assert_eq!(lock(&world).commits, 1);
            env.sleep(Duration::from_secs(3_600)).await;
            assert_eq!(lock(&world).commits, 1);
            m.handle.stop().await.expect("clean");
            assert_eq!(lock(&world).commits, 1, "nothing new");
        },
        1,
    );
}

#[test]
fn a_hung_handler_delays_stop_by_stop_timeout_only_and_is_counted() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 5, 0, &mut rng);
            let m = member_with(&world, &env, 0, &config(Order::None, 2), |_| std::future::pending());
            m.assign(&world, &[0]);
            env.sleep(Duration::from_secs(1)).await;
            let began = env.now();
            assert_eq!(m.handle.stop().await.expect("stopped").left, 2);
            assert_eq!(env.now() - began, Duration::from_secs(30));
            assert!(lock(&world).committed.is_empty());
        },
        1,
    );
}

#[test]
fn a_handler_timeout_ends_a_hung_handler_and_counts_as_its_failure() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 5, 0, &mut rng);
            let config = ConsumerConfig {
                handler_timeout: Some(Duration::from_millis(200)),
                until_end: true,
                on_failure: OnFailure::Hold,
                ..config(Order::None, 2)
            };
            let m = member_with(&world, &env, 0, &config, |_| std::future::pending());
            let failures = m.handle.failures();
            m.assign(&world, &[0]);
            m.handle.join().await.expect("ended");
            let mut count = 0;
            while let Some(failure) = std::future::poll_fn(|cx| failures.poll_next(cx)).await {
                assert!(failure.error.to_string().contains("handler_timeout"));
                count += 1;
            }
            assert_eq!(count, 5);
        },
        1,
    );
}

#[test]
fn one_hot_key_does_not_stop_the_others() {
    simulate(
        async |env, _| {
            // Nine records of ten have one key; the others are spread behind them.
            let keys = (0..200).map(|i| Some(if i % 10 == 9 { format!("cold-{i}") } else { "hot".into() })).collect();
            let world = Arc::new(Mutex::new(World { logs: vec![keys], topic_id: ID, ..World::default() }));
            let m = member(&world, &env, 0, &config(Order::Key, 8), Behaviour { max_ms: 20, fail: 0, panic: 0 });
            m.assign(&world, &[0]);
            env.sleep(Duration::from_millis(300)).await;
            let world = lock(&world);
            let cold = world.seen.iter().filter(|s| s.finished && s.key.as_deref() != Some(b"hot")).count();
            assert_eq!(cold, 20);
            assert!(world.seen.len() < 200, "the hot key is still at it");
        },
        7,
    );
}

#[test]
fn intake_pauses_at_max_held_and_an_event_names_the_offset() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 60, 3, &mut rng);
            let config = ConsumerConfig { on_failure: OnFailure::Hold, max_held: 10, ..config(Order::None, 4) };
            let m = member(&world, &env, 0, &config, Behaviour { max_ms: 5, fail: 100, panic: 0 });
            m.assign(&world, &[0]);
            env.sleep(Duration::from_secs(5)).await;
            assert_eq!(lock(&world).seen.len(), 10);
            let failures = m.handle.failures();
            m.handle.stop().await.expect("clean");
            let mut texts = Vec::new();
            while let Some(failure) = std::future::poll_fn(|cx| failures.poll_next(cx)).await {
                texts.push(failure.error.to_string());
            }
            assert!(texts.iter().any(|t| t.contains("orders-0 is paused") && t.contains("offset 0")), "{texts:?}");
        },
        3,
    );
}
