//! The Go dispatcher's `GetConsumeStatusByGroupID`, `ConsumerMonitorLagCount` and `InitSetMonitorHost` on real Kafka: consume
//! status from the cluster, at intervals, and through a `dispatcher monitor` process.
#![cfg(feature = "cli")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{KAFKA_4, eventually, ours, tools, unique};
use dispatcher::{Dispatcher, Message, StatusSource};
use dispatcher_testcontainers::Kafka;

/// A `dispatcher monitor` and its address.
struct Monitor(Child, String);

impl Monitor {
    fn start(bootstrap: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dispatcher"))
            .args(["-b", bootstrap, "monitor", "--listen", "127.0.0.1:0", "--interval", "1s"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self(child, url.trim().to_owned())
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_is_the_same_from_kafka_at_intervals_and_through_a_monitor() {
    let Some(kafka) = Kafka::builder().version(KAFKA_4).shared_or_skip() else { return };
    let (topic, group) = (unique("monitor"), unique("monitor"));
    tools::create_topic(kafka.tools(), kafka.bootstrap(), &topic, 2, 1, &[]);
    let dispatcher = ours::connect(kafka.bootstrap()).await;
    for i in 0..40 {
        dispatcher.send(&topic, format!("{i}")).partition(i % 2).await.unwrap();
    }
    let monitor = Monitor::start(kafka.bootstrap());
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let handler = async |message: Message| match (message.partition(), message.offset()) {
        (0, 5) => Err("held"),
        _ => Ok(()),
    };
    let subscription = dispatcher
        .subscribe(&topic, handler)
        .group(&group)
        .hold_on_error()
        .monitor_lag(Duration::from_secs(1), move |status| {
            let _ = told.send(status.total_lag());
            std::future::ready(())
        })
        .start()
        .await
        .unwrap();
    let limit = Duration::from_secs(60);
    let mut lags = Vec::new();
    eventually("monitor_lag sees what is held", limit, async || {
        lags.extend(heard.recv().await);
        lags.last() == Some(&15)
    })
    .await;

    let status = dispatcher.consume_status(&topic, &group).await.unwrap();
    assert_eq!((status.total_lag(), status.state()), (15, Some("Stable")));
    let held = &status.partitions()[0];
    assert_eq!((held.committed(), held.finished_ahead()), (Some(5), &[(6, 20)][..]));

    let host = &monitor.1;
    let through = Dispatcher::builder(kafka.bootstrap().split(',')).monitor_host(host).connect().await.unwrap();
    eventually("the monitor sees it too", limit, async || {
        through.consume_status(&topic, &group).await.is_ok_and(|status| {
            assert_eq!(status.source(), StatusSource::MonitorHost);
            status.total_lag() == 15
        })
    })
    .await;
    subscription.stop().await.unwrap();
}
