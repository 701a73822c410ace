//! What dispatching costs without any broker: `cargo test --release --lib worker::bench -- --ignored --nocapture`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::config::{ConsumerConfig, Order};
use super::failure::{Failures, HandlerError};
use super::part::Prepared;
use super::pool::{LaneRules, Pool, Shared};
use super::record::{Assignment, Record};
use super::scheduler::{Rules, Scheduler};
use super::testkit::{Fake, block_from};
use crate::client::types::{AssignmentEpoch, TopicPartition};
use crate::env::Env;

struct Run {
    order: Order,
    keys: usize,
    concurrency: usize,
    blocks: usize,
    per_block: usize,
    lanes: usize,
}

/// Dispatches all blocks of one partition; returns wall time.
async fn dispatch(run: &Run, work: Option<u64>) -> Duration {
    let env = Env::system();
    let keys: Vec<_> =
        (0..run.per_block).map(|i| (run.keys > 0).then(|| format!("key-{}", i * 7919 % run.keys))).collect();
    let mut blocks: Vec<_> =
        (0..run.blocks).map(|i| block_from((i * run.per_block) as i64, &keys, 0)).collect::<Vec<Arc<Fake>>>();
    let rules = Rules { order: run.order, lanes: run.lanes as u32, max_held: 10_000, count: None };
    let shared = Shared::new(Scheduler::new(rules), run.lanes, Failures::default());
    let handled = Arc::new(AtomicU64::new(0));
    let (counter, timer) = (handled.clone(), env.clone());
    let handler = move |record: Record<Fake>| {
        let (counter, env) = (counter.clone(), timer.clone());
        async move {
            if let Some(max) = work {
                let micros = env.random(|rng| rng.u64(0..=max));
                env.sleep(Duration::from_micros(micros)).await;
            }
            counter.fetch_add(u64::from(record.value().is_some()), Ordering::Relaxed);
            Ok::<(), HandlerError>(())
        }
    };
    let lane_rules = LaneRules {
        on_failure: Default::default(),
        handler_timeout: None,
        spawn_each: false,
        serial: run.order == Order::Partition,
    };
    let id = shared.with(|s| {
        let assignment = Assignment::new(TopicPartition::new("t", 0), AssignmentEpoch(1));
        s.attach(assignment, 0, 0, Vec::new(), Some((run.blocks * run.per_block) as i64))
    });
    let pool = Pool::start(&env, &shared, lane_rules, run.concurrency, handler);
    let began = env.now();
    for block in blocks.drain(..) {
        let next = block.batch_end();
        let prepared = Prepared::new(block).expect("records").expect("some");
        shared.with(|s| s.push(id, vec![prepared], next));
        tokio::task::yield_now().await;
    }
    while !shared.with(|s| s.is_ended(id)) {
        shared.signal.notified().await;
    }
    let wall = env.now() - began;
    assert_eq!(handled.load(Ordering::Relaxed), (run.blocks * run.per_block) as u64);
    assert_eq!(shared.with(|s| s.watermark(id)), Some((run.blocks * run.per_block) as i64));
    drop(pool);
    wall
}

#[test]
#[ignore = "a measurement, for release builds"]
fn dispatch_costs() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for (order, keys) in
            [(Order::None, 0), (Order::Key, 1_000), (Order::Key, 1), (Order::Key, 0), (Order::Partition, 0)]
        {
            for lanes in [1, 2] {
                let run = Run { order, keys, concurrency: 100, blocks: 200, per_block: 5_000, lanes };
                let mut best = Duration::MAX;
                for _ in 0..3 {
                    best = best.min(dispatch(&run, None).await);
                }
                println!("{order:?} keys {keys} lanes {lanes}: {:.1} ns per message", best.as_nanos() as f64 / 1e6);
            }
        }
        for (order, keys) in [(Order::None, 0), (Order::Key, 1_000), (Order::Key, 10)] {
            let run = Run { order, keys, concurrency: 100, blocks: 10, per_block: 1_000, lanes: 2 };
            let wall = dispatch(&run, Some(5_000)).await;
            println!("{order:?} keys {keys}, 10,000 of 0-5 ms, concurrency 100: {wall:?}");
        }
    });
}

/// Keeps the default configuration honest about its bounds.
#[test]
fn the_defaults_are_those_of_the_documents() {
    let config = ConsumerConfig::default();
    assert_eq!((config.commit_interval, config.drain_timeout), (Duration::from_secs(1), Duration::from_secs(10)));
    assert_eq!((config.stop_timeout, config.stall_after), (Duration::from_secs(30), Duration::from_secs(60)));
    assert_eq!((config.max_held, config.concurrency), (10_000, 1));
    assert_eq!(config.effective_order(), Order::Partition);
    assert_eq!(ConsumerConfig { concurrency: 2, ..config }.effective_order(), Order::Key);
}
