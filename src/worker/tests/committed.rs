//! Which committed offsets are believed, and for which topic any are written.

use super::*;

#[test]
fn a_committed_offset_beyond_the_logs_end_is_not_believed() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 20, 3, &mut rng);
            let committed = Committed { offset: 500, leader_epoch: 0, metadata: String::new() };
            let config = ConsumerConfig { until_end: true, start_at: StartAt::Newest, ..config(Order::None, 4) };
            let m = member(&world, &env, 0, &config, Behaviour { max_ms: 5, fail: 0, panic: 0 });
            // Put there behind the checks' back.
            lock(&world).committed.insert(tp(0), committed);
            m.assign(&world, &[0]);
            m.handle.join().await.expect("clean");
            let world = lock(&world);
            assert_eq!((world.seen.len(), world.committed[&tp(0)].offset), (20, 20));
        },
        3,
    );
}

/// Found by the simulation: once the log had grown past it, the next owner believed what the last one had not.
#[test]
fn where_a_committed_offset_is_not_believed_the_right_one_is_committed_at_once() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 0, 3, &mut rng);
            let committed = Committed { offset: 500, leader_epoch: 0, metadata: String::new() };
            let m = member(&world, &env, 0, &config(Order::None, 4), Behaviour { max_ms: 5, fail: 0, panic: 0 });
            lock(&world).committed.insert(tp(0), committed);
            m.assign(&world, &[0]);
            env.sleep(Duration::from_secs(2)).await;
            assert_eq!(lock(&world).committed[&tp(0)].offset, 0);
            m.handle.stop().await.expect("clean");
        },
        3,
    );
}

/// Found by the simulation: brokers before 4.1 take commits by name, and one for the former topic skipped the new one's.
#[test]
fn what_was_committed_for_a_former_topic_of_the_name_is_not_believed() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 20, 3, &mut rng);
            let log = LogId { cluster: 1, topic: crate::wire::Uuid([8; 16]) };
            let metadata = Finished { log, base: 15, leader_epoch: -1, runs: Vec::new() }.encode();
            let config = ConsumerConfig { until_end: true, ..config(Order::None, 4) };
            let m = member(&world, &env, 0, &config, Behaviour { max_ms: 5, fail: 0, panic: 0 });
            lock(&world).committed.insert(tp(0), Committed { offset: 15, leader_epoch: 0, metadata });
            m.assign(&world, &[0]);
            m.handle.join().await.expect("clean");
            assert_eq!(lock(&world).seen.len(), 20);
        },
        3,
    );
}

#[test]
fn nothing_is_committed_for_a_topic_that_was_made_again_meanwhile() {
    simulate(
        async |env, mut rng| {
            let world = world(1, 20, 3, &mut rng);
            let m = member(&world, &env, 0, &config(Order::None, 4), Behaviour { max_ms: 5, fail: 0, panic: 0 });
            m.assign(&world, &[0]);
            env.sleep(Duration::from_millis(1)).await;
            lock(&world).topic_id = crate::wire::Uuid([8; 16]);
            m.handle.stop().await.expect("clean");
            assert_eq!(lock(&world).committed.get(&tp(0)), None);
        },
        3,
    );
}
