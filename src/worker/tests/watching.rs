//! Events, stalls and pauses.

use super::revoke::{errors, seconds, slow_at_0, started};
use super::*;
use crate::worker::SubscriptionEvent::{self as Event, *};

async fn events(m: &Member) -> Vec<Event> {
    let (events, mut all) = (m.handle.events(), Vec::new());
    while let Some(event) = std::future::poll_fn(|cx| events.ring().poll_next(cx)).await {
        all.push(event);
    }
    all
}

fn named(partitions: &[i32]) -> Vec<(Arc<str>, i32)> {
    partitions.iter().map(|p| (TOPIC.into(), *p)).collect()
}

fn caught_up(partition: i32, offset: i64) -> Event {
    CaughtUp { topic: TOPIC.into(), partition, offset }
}

#[test]
fn events_come_in_their_order_and_a_partition_catches_up_once_an_assignment_and_after_a_resume() {
    simulate(
        async |env, _| {
            let logs = vec![vec![None; 30], Vec::new()];
            let world = Arc::new(Mutex::new(World { logs, topic_id: ID, ..World::default() }));
            let m = slow_at_0(&world, &env, &config(Order::Partition, 2), |_| Duration::from_millis(5));
            m.handle.events();
            m.assign(&world, &[0, 1]);
            env.sleep(seconds(1)).await;
            m.handle.pause();
            m.handle.pause();
            env.sleep(seconds(1)).await;
            m.handle.resume();
            env.sleep(seconds(1)).await;
            m.revoke(&env, &[0], seconds(1)).await;
            m.lose(&[1]);
            m.assign(&world, &[1]);
            env.sleep(seconds(1)).await;
            m.handle.stop().await.expect("clean");
            let expected = [
                Assigned { partitions: named(&[0, 1]) },
                caught_up(1, 0),
                caught_up(0, 30),
                Paused,
                Resumed,
                caught_up(0, 30),
                caught_up(1, 0),
                Revoked { partitions: named(&[0]) },
                Lost { partitions: named(&[1]) },
                Assigned { partitions: named(&[1]) },
                caught_up(1, 0),
                Revoked { partitions: named(&[1]) },
            ];
            assert_eq!(events(&m).await, expected);
        },
        31,
    );
}

#[test]
fn whoever_asks_late_learns_what_went_before_and_of_catching_up_from_then_on() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 30, 3, &mut rng);
            let m = slow_at_0(&world, &env, &config(Order::Key, 4), |_| Duration::from_millis(5));
            m.assign(&world, &[0]);
            env.sleep(seconds(5)).await;
            let events = m.handle.events();
            let next = async || std::future::poll_fn(|cx| events.ring().poll_next(cx)).await;
            assert_eq!(next().await, Some(Assigned { partitions: named(&[0]) }));
            assert_eq!(next().await, Some(caught_up(0, 30)));
            drop(m);
            assert_eq!(next().await, None);
        },
        32,
    );
}

#[test]
fn a_stalled_handler_is_told_once_though_others_failed_and_are_held_below_it() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 30, 0, &mut rng);
            let (by, handler_env) = (world.clone(), env.clone());
            let handler = move |record: super::super::Record<FetchedBatch>| {
                let (world, env) = (by.clone(), handler_env.clone());
                async move {
                    let index = seen(&world, 0, &record);
                    let time = if record.offset() == 7 { seconds(200) } else { Duration::from_millis(3) };
                    env.sleep(time).await;
                    let ok = record.offset() != 2 && record.offset() != 4;
                    ended(&world, index, ok);
                    if ok { Ok(()) } else { Err(HandlerError::new("as told")) }
                }
            };
            let config = ConsumerConfig { on_failure: OnFailure::Hold, ..config(Order::None, 3) };
            let m = member_with(&world, &env, 0, &config, handler);
            m.handle.events();
            m.assign(&world, &[0]);
            env.sleep(seconds(150)).await;
            assert_eq!(started(&world, 0), 30);
            env.sleep(seconds(100)).await;
            m.handle.stop().await.expect("clean");
            let events = events(&m).await;
            let stalls = |e: &&Event| matches!(e, Stalled { partition: 0, offset: 7, running_for, .. } if *running_for >= seconds(60));
            assert_eq!(events.iter().filter(stalls).count(), 1, "{events:?}");
            assert_eq!(
                events.iter().filter(|e| **e == caught_up(0, 30)).count(),
                1,
                "held ones have ended: {events:?}"
            );
            let errors = errors(&m).await;
            assert_eq!(errors.iter().filter(|e| e.contains("stall_after")).count(), 1, "{errors:?}");
        },
        33,
    );
}

#[test]
fn paused_no_handler_starts_what_runs_ends_and_is_committed_and_what_is_assigned_waits() {
    for order in ORDERS {
        simulate(
            async |env, mut rng| {
                let world = world(2, 200, 5, &mut rng);
                let m = slow_at_0(&world, &env, &config(order, 4), |_| Duration::from_millis(10));
                m.assign(&world, &[0]);
                env.sleep(Duration::from_millis(55)).await;
                m.handle.pause();
                assert!(m.handle.is_paused());
                let before = started(&world, 0);
                env.sleep(seconds(5)).await;
                m.assign(&world, &[1]);
                env.sleep(seconds(60)).await;
                assert!((5..200).contains(&before), "{before}");
                assert_eq!((started(&world, 0), started(&world, 1)), (before, 0));
                let finished = (0..).find(|offset| !lock(&world).is_finished(&tp(0), *offset)).unwrap_or(0);
                assert_eq!(lock(&world).committed[&tp(0)].offset, finished);
                m.revoke(&env, &[0], seconds(1)).await;
                m.handle.resume();
                m.assign(&world, &[0]);
                all_finished(&env, &world, 2, 200).await;
                m.handle.pause();
                m.handle.stop().await.expect("a paused one stops");
                let world = lock(&world);
                world.check_order(order);
                assert_eq!(world.seen.len(), 400, "none twice");
            },
            34,
        );
    }
}

#[test]
fn a_paused_subscription_stops_with_messages_waiting() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 200, 5, &mut rng);
            let m = slow_at_0(&world, &env, &config(Order::None, 4), |_| Duration::from_millis(10));
            m.handle.pause();
            m.assign(&world, &[0]);
            env.sleep(seconds(1)).await;
            assert_eq!(started(&world, 0), 0);
            m.handle.stop().await.expect("clean");
            assert_eq!(lock(&world).committed.get(&tp(0)), None);
        },
        35,
    );
}

#[test]
fn a_record_that_no_dead_letter_topic_takes_is_not_told_as_a_handler_that_runs() {
    /// Nobody is there.
    #[derive(Debug)]
    struct Nowhere;
    impl crate::worker::Forward<FetchedBatch> for Nowhere {
        fn attempts_before(&self, _: &super::super::Record<FetchedBatch>) -> Option<u32> {
            None
        }

        fn forward(
            &self,
            _: super::super::Record<FetchedBatch>,
            _: crate::worker::Destination,
            _: crate::Error,
        ) -> futures_util::future::BoxFuture<'static, Result<()>> {
            Box::pin(std::future::ready(Err(crate::Error::new(crate::ErrorKind::NotWritten, "nobody is there"))))
        }
    }
    simulate(
        async |env, mut rng| {
            let world = world(1, 1, 0, &mut rng);
            let config =
                ConsumerConfig { on_failure: OnFailure::DeadLetter("dead".into()), ..config(Order::Partition, 1) };
            let seams = Seams { forward: Some(Arc::new(Nowhere)), ..Seams::default() };
            let m =
                member_tended(&world, &env, 0, &config, seams, |_| std::future::ready(Err(HandlerError::new("bad"))));
            m.assign(&world, &[0]);
            env.sleep(seconds(100)).await;
            m.handle.stop().await.expect("clean");
            let errors = errors(&m).await;
            let stalls: Vec<_> = errors.iter().filter(|e| e.contains("stall_after")).collect();
            let [stall] = &stalls[..] else { panic!("{errors:?}") };
            assert!(stall.contains("orders-0 offset 0 failed") && !stall.contains("handler"), "{stall}");
        },
        36,
    );
}
