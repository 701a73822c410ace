//! Ends and starts: what `until_end` counts as ended when partitions come and go, what is committed at once,
//! and what one partition's trouble is to the others.

use super::revoke::{seconds, slow_at_0, started};
use super::*;

fn until_end() -> ConsumerConfig {
    ConsumerConfig { until_end: true, ..config(Order::Partition, 4) }
}

#[test]
fn until_end_goes_on_after_a_loss_and_ends_where_the_log_ended_at_first() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 98, 0, &mut rng);
            let m = slow_at_0(&world, &env, &until_end(), |_| Duration::from_millis(100));
            m.assign(&world, &[0]);
            env.sleep(seconds(2)).await;
            m.lose(&[0]);
            env.sleep(seconds(60)).await;
            assert!(!m.handle.is_ended());
            lock(&world).logs[0].extend(vec![None; 20]);
            m.assign(&world, &[0]);
            env.timeout(seconds(30), m.handle.join()).await.expect("in time").expect("clean");
            assert!((0..98).all(|offset| lock(&world).is_finished(&tp(0), offset)));
            assert_eq!(lock(&world).handled(&tp(0), 98), 0, "what came later is no part of it");
        },
        41,
    );
}

#[test]
fn until_end_goes_on_when_what_was_revoked_comes_back() {
    simulate(
        async |env, mut rng| {
            let world = world(2, 100, 0, &mut rng);
            let m = slow_at_0(&world, &env, &until_end(), |_| Duration::from_millis(500));
            m.assign(&world, &[0, 1]);
            env.sleep(seconds(5)).await;
            assert_eq!(started(&world, 1), 100);
            m.revoke(&env, &[0, 1], seconds(5)).await;
            env.sleep(seconds(60)).await;
            assert!(!m.handle.is_ended(), "the group has not said what is ours now");
            m.assign(&world, &[0]);
            env.timeout(seconds(60), m.handle.join()).await.expect("in time").expect("clean");
            assert_eq!(lock(&world).committed[&tp(0)].offset, 100);
        },
        42,
    );
}

#[test]
fn until_end_does_not_take_a_partition_that_drains_for_one_that_has_ended() {
    simulate(
        async |env, mut rng| {
            let world = world(2, 20, 0, &mut rng);
            let m = slow_at_0(&world, &env, &until_end(), |_| seconds(3));
            m.assign(&world, &[0, 1]);
            env.sleep(seconds(1)).await;
            m.revoke(&env, &[0], seconds(8)).await;
            // The other one has ended: that is all there is to do here.
            env.timeout(seconds(1), m.handle.join()).await.expect("in time").expect("clean");
            assert_eq!((started(&world, 0), lock(&world).committed[&tp(0)].offset), (1, 1));
        },
        43,
    );
}

#[test]
fn until_end_waits_for_what_others_must_drain_first_and_ends_if_nothing_comes() {
    for comes in [false, true] {
        simulate(
            async |env, mut rng| {
                let world = world(1, 10, 0, &mut rng);
                let m = slow_at_0(&world, &env, &until_end(), |_| Duration::from_millis(100));
                m.assign(&world, &[]);
                env.sleep(seconds(12)).await;
                assert!(!m.handle.is_ended());
                if comes {
                    m.assign(&world, &[0]);
                }
                env.timeout(seconds(4), m.handle.join()).await.expect("in time").expect("clean");
                assert_eq!(started(&world, 0), if comes { 10 } else { 0 });
            },
            44,
        );
    }
}

#[test]
fn a_start_that_a_later_owner_would_not_find_is_committed_at_once() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 100, 0, &mut rng);
            // The checks need not know that what lies before is skipped.
            lock(&world).seen = (0..100)
                .map(|offset| Seen { member: 9, tp: tp(0), offset, key: None, start: 0, end: Some(0), finished: true })
                .collect();
            let config = ConsumerConfig {
                start_at: StartAt::Newest,
                commit_interval: seconds(60),
                ..config(Order::Partition, 4)
            };
            let m = slow_at_0(&world, &env, &config, |_| Duration::from_millis(100));
            m.assign(&world, &[0]);
            env.sleep(seconds(1)).await;
            assert_eq!(lock(&world).committed.get(&tp(0)).map(|c| c.offset), Some(100));
            m.handle.stop().await.expect("clean");
        },
        45,
    );
}

/// One of an open transaction, another without a leader: both are told when that lasts, and not again and again.
#[test]
fn a_partition_whose_committed_offset_is_not_to_be_had_holds_up_no_other() {
    simulate(
        async |env, mut rng| {
            let world = world(3, 10, 0, &mut rng);
            lock(&world).unstable = vec![1];
            lock(&world).leaderless = vec![2];
            let m = slow_at_0(&world, &env, &config(Order::Partition, 4), |_| Duration::from_millis(10));
            m.assign(&world, &[0, 1, 2]);
            env.sleep(Duration::from_millis(400)).await;
            assert_eq!((started(&world, 0), started(&world, 1), started(&world, 2)), (10, 0, 0));
            env.sleep(seconds(45)).await;
            lock(&world).unstable.clear();
            lock(&world).leaderless.clear();
            env.sleep(seconds(1)).await;
            assert_eq!((started(&world, 0), started(&world, 1), started(&world, 2)), (10, 10, 10));
            m.handle.stop().await.expect("clean");
            let told: Vec<_> = super::revoke::errors(&m).await.iter().map(|error| error.to_string()).collect();
            assert!((1..=4).contains(&told.len()), "{told:?}");
        },
        47,
    );
}

#[test]
fn a_partition_whose_start_is_not_found_holds_up_no_other_and_is_told_as_lost() {
    simulate(
        async |env, mut rng| {
            let world = world(3, 10, 0, &mut rng);
            lock(&world).leaderless = vec![1, 2];
            let m = slow_at_0(&world, &env, &config(Order::Partition, 4), |_| seconds(3));
            m.handle.events();
            m.assign(&world, &[0, 1, 2]);
            env.sleep(seconds(2)).await;
            assert_eq!((started(&world, 0), started(&world, 1)), (1, 0));
            lock(&world).leaderless = vec![2];
            env.sleep(seconds(2)).await;
            assert_eq!(started(&world, 1), 10, "asked again");
            // Of the one that had not started, only the revocation knows.
            let _answered = m.begin_revoke(&env, &[0, 2], seconds(8));
            env.sleep(Duration::from_millis(10)).await;
            m.lose(&[2]);
            env.sleep(seconds(5)).await;
            m.handle.stop().await.expect("clean");
            let (events, mut lost) = (m.handle.events(), Vec::new());
            while let Some(event) = std::future::poll_fn(|cx| events.ring().poll_next(cx)).await {
                if let crate::worker::SubscriptionEvent::Lost { partitions } = event {
                    lost.extend(partitions);
                }
            }
            assert_eq!(lost, [(TOPIC.into(), 2)]);
        },
        46,
    );
}

#[test]
fn a_committed_offset_is_not_believed_before_it_is_known_where_its_log_ends() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 10, 0, &mut rng);
            // Of a log that was longer.
            let beyond = Committed { offset: 50, leader_epoch: -1, metadata: String::new() };
            lock(&world).committed.insert(tp(0), beyond);
            lock(&world).left_out = vec![0];
            let m = slow_at_0(&world, &env, &config(Order::Partition, 4), |_| Duration::from_millis(10));
            m.assign(&world, &[0]);
            env.sleep(seconds(5)).await;
            assert_eq!(started(&world, 0), 0);
            lock(&world).left_out.clear();
            env.sleep(seconds(2)).await;
            assert_eq!(started(&world, 0), 10, "from the log's beginning");
        },
        48,
    );
}
