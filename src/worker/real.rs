//! A consumer on a real broker, run by hand: `BROKER=127.0.0.1:9092 TOPIC=… cargo test --lib worker::real -- --ignored`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::config::{ConsumerConfig, Order};
use super::failure::HandlerError;
use super::live::{Source, start};
use crate::client::admin::{ClusterAdmin, NativeAdmin};
use crate::client::fetch::{FetchConfig, Fetcher, ReadOptions};
use crate::client::{ClientConfig, Cluster};
use crate::env::Env;
use crate::group::{Group, GroupConfig};

#[test]
#[ignore = "needs a broker and a topic by name"]
fn a_group_handles_a_whole_topic_and_its_lag_is_zero() {
    let _ = tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).try_init();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let var = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
        let (broker, topic) = (var("BROKER", "127.0.0.1:29092"), var("TOPIC", "w-real"));
        let env = Env::system();
        let config = ClientConfig { brokers: vec![broker], ..ClientConfig::default() };
        let cluster = Cluster::connect(config, env.clone()).await.expect("connect");
        let fetcher = Fetcher::start(cluster.clone(), FetchConfig::default());
        let admin: Arc<dyn ClusterAdmin> = Arc::new(NativeAdmin::new(cluster.clone()));
        let source = Source { cluster: cluster.clone(), fetcher, admin: admin.clone() };
        for order in [Order::None, Order::Key, Order::Partition] {
            let group = format!("w-{}-{order:?}", env.wall_ms());
            let handled = Arc::new(AtomicU64::new(0));
            let began = env.now();
            let members: Vec<_> = (0..2)
                .map(|_| {
                    let member =
                        Group::start(cluster.clone(), GroupConfig::new(group.as_str(), [Arc::from(topic.as_str())]));
                    let config =
                        ConsumerConfig { concurrency: 32, order: Some(order), until_end: true, ..Default::default() };
                    let handled = handled.clone();
                    start(source.clone(), member, config, ReadOptions::default(), move |record| {
                        let handled = handled.clone();
                        async move {
                            handled.fetch_add(u64::from(record.value().is_some()), Ordering::Relaxed);
                            Ok::<(), HandlerError>(())
                        }
                    })
                })
                .collect();
            for member in members {
                let failures = member.failures();
                let ended = env.timeout(Duration::from_secs(120), member.join()).await;
                println!("{order:?}: {ended:?} after {:?}", env.now() - began);
                while let Some(f) = std::future::poll_fn(|cx| failures.poll_next(cx)).await {
                    println!("  failure: {}", f.error);
                }
            }
            let committed = admin.committed_offsets(&group, None, true).await.expect("offsets");
            let total: i64 =
                committed.iter().map(|(_, c)| c.as_ref().ok().and_then(Option::as_ref).map_or(0, |c| c.offset)).sum();
            println!("{order:?}: handled {}, committed {total}", handled.load(Ordering::Relaxed));
        }
    });
}
