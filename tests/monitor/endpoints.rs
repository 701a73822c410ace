//! What programs get: JSON, metrics, and the Go dispatcher's number.

use dispatcher::{Dispatcher, ErrorKind, StatusSource};
use serde_json::Value;

use super::scene::shared;

#[test]
fn groups_are_growing_draining_stuck_and_abandoned() {
    let (_, monitor) = shared();
    let growing = monitor.wait_for("growing:clicks", "growing");
    assert!(growing["produced_per_s"].as_f64() > growing["consumed_per_s"].as_f64(), "{growing}");
    assert_eq!(growing["drained_in_s"], Value::Null);
    assert_eq!(growing["members"], 1);

    let draining = monitor.wait_for("draining:orders", "draining");
    assert!(draining["drained_in_s"].as_f64() > Some(0.0), "{draining}");

    let stuck = monitor.wait_for("stuck:mails", "stuck");
    assert_eq!((&stuck["stuck"], &stuck["partitions"], &stuck["total_lag"]), (&1.into(), &2.into(), &47.into()));
    assert_eq!(stuck["drained_in_s"], Value::Null, "not at any pace");
    let detail = monitor.json("/api/groups/stuck:mails");
    let partition = &detail["topics"][0]["partitions"][0];
    assert_eq!((&partition["status"], &partition["at_offset"]), (&"held".into(), &3.into()), "{partition}");
    assert_eq!((&partition["committed"], &partition["log_end"]), (&3.into(), &50.into()), "{partition}");
    assert!(partition["client_id"] == "scene" && partition["unmoved_ms"].as_i64() >= Some(4_000), "{partition}");
    assert_eq!(detail["topics"][0]["partitions"][1]["status"], "caught_up");
    assert!(detail["history"].as_array().unwrap().len() > 2);

    let abandoned = monitor.wait_for("abandoned:old", "no_owner");
    assert_eq!((&abandoned["total_lag"], &abandoned["members"]), (&20.into(), &0.into()), "{abandoned}");
    let all = monitor.json("/api/groups");
    assert_eq!((&all["v"], &all["stale"], &all["look_error"]), (&1.into(), &false.into(), &Value::Null));
    // Those with trouble come first.
    let first: Vec<_> = all["groups"].as_array().unwrap()[..2].iter().map(|g| g["group"].as_str().unwrap()).collect();
    assert_eq!(first, ["stuck:mails", "abandoned:old"]);
}

#[test]
fn a_retry_topic_whose_messages_wait_for_their_time_is_delayed_and_not_stuck() {
    let (_, monitor) = shared();
    monitor.wait_for("patient:bills", "delayed");
    // Longer than --stuck-after.
    let began = std::time::Instant::now();
    let patient = loop {
        let detail = monitor.json("/api/groups/patient:bills");
        let topics = detail["topics"].as_array().unwrap();
        let waits: Vec<_> = topics.iter().flat_map(|t| t["partitions"].as_array().unwrap()).cloned().collect();
        let waits: Vec<_> = waits.into_iter().filter(|p| p["lag"].as_i64() > Some(0)).collect();
        if !waits.is_empty() && waits.iter().all(|p| p["unmoved_ms"].as_i64() >= Some(6_000)) {
            assert!(waits.iter().all(|p| p["status"] == "delayed" && p["at_offset"].is_null()), "{waits:?}");
            let (now, due) = (detail["now_ms"].as_i64().unwrap(), waits[0]["delayed_until_ms"].as_i64().unwrap());
            assert!((now + 500_000..now + 600_000).contains(&due), "{now} {due}");
            break detail;
        }
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "{waits:?}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    };
    assert_eq!(
        (&patient["status"], &patient["stuck"], &patient["total_lag"]),
        (&"delayed".into(), &0.into(), &20.into())
    );
    assert_eq!(patient["drained_in_s"], Value::Null);
    let (_, _, metrics) = monitor.get("/metrics");
    let mut of = metrics.lines().filter(|l| l.starts_with("kafka_consumergroup_stuck{group=\"patient:bills\""));
    assert!(of.all(|line| line.ends_with(" 0")), "{metrics}");
}

#[test]
fn a_go_dispatcher_gets_a_plain_number() {
    let (_, monitor) = shared();
    monitor.wait_for("stuck:mails", "stuck");
    // What Go's net/http sends.
    let ask = |query: &str| {
        monitor.ask(&format!(
            "GET /monitor/kafka/lags{query} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\
             Connection: close\r\n\r\n",
            monitor.address
        ))
    };
    let (status, head, body) = ask("?group_id=stuck%3Amails&topic=mails");
    assert_eq!((status, &*body), (200, "47"), "{head}");
    assert!(!head.contains("content-encoding"), "{head}");
    for (query, says) in [("", "group_id and topic"), ("?group_id=none%3At&topic=t", "no group")] {
        let (status, _, body) = ask(query);
        assert!(status == 400 && body.contains(says), "{status} {body}");
    }
}

#[tokio::test]
async fn our_client_reads_the_same_from_the_monitor_as_from_kafka() {
    let (scene, monitor) = tokio::task::spawn_blocking(shared).await.unwrap();
    tokio::task::spawn_blocking(|| monitor.wait_for("stuck:mails", "stuck")).await.unwrap();
    let native = Dispatcher::builder(&scene.brokers[..]).connect().await.unwrap();
    let through = Dispatcher::builder(&scene.brokers[..]).monitor_host(&monitor.address).connect().await.unwrap();
    let kafka = native.consume_status("mails", "stuck").await.unwrap();
    let said = through.consume_status("mails", "stuck").await.unwrap();
    assert_eq!((said.total_lag(), said.group()), (47, Some("stuck:mails")));
    assert_eq!((kafka.total_lag(), kafka.source()), (47, StatusSource::Cluster));
    assert_eq!((said.source(), said.state(), said.partitions().len()), (StatusSource::MonitorHost, None, 0));
    // What is handled behind the held message is known from outside.
    assert_eq!(kafka.partitions()[0].finished_ahead(), [(4, 50)]);
    assert_eq!(kafka.partitions()[1].finished_ahead(), []);
    let refused = through.consume_status("mails", "nobody").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    assert!(refused.to_string().contains("there is no group \"nobody:mails\""), "{refused}");
}

#[test]
fn prometheus_gets_its_format() {
    let (_, monitor) = shared();
    monitor.wait_for("stuck:mails", "stuck");
    let (status, head, body) = monitor.get("/metrics");
    assert!(status == 200 && head.contains("text/plain; version=0.0.4"), "{head}");
    for line in [
        "dispatcher_monitor_up 1",
        r#"kafka_consumergroup_lag{group="stuck:mails",topic="mails",partition="0"} 47"#,
        r#"kafka_consumergroup_current_offset{group="stuck:mails",topic="mails",partition="0"} 3"#,
        r#"kafka_consumergroup_stuck{group="stuck:mails",topic="mails",partition="0"} 1"#,
        r#"kafka_consumergroup_stuck{group="stuck:mails",topic="mails",partition="1"} 0"#,
        r#"kafka_consumergroup_held_offset{group="stuck:mails",topic="mails",partition="0"} 3"#,
        r#"kafka_consumergroup_members{group="stuck:mails"} 1"#,
        r#"kafka_topic_partition_current_offset{topic="mails",partition="0"} 50"#,
    ] {
        assert!(body.lines().any(|l| l == line), "{line}\n{body}");
    }
    // Each series once, each metric in one block behind its type.
    let mut series: Vec<_> = body.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.rsplit_once(' ')).collect();
    let count = series.len();
    series.sort_unstable();
    series.dedup_by_key(|(name, _)| *name);
    assert_eq!(series.len(), count);
    assert!(series.iter().all(|(_, value)| value.parse::<f64>().is_ok()));
}
