//! What a cluster promises to those who test with it.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dispatcher_testcontainers::{Kafka, Listener, certificates};

fn refuses(address: &str) -> bool {
    TcpStream::connect_timeout(&address.parse().unwrap(), Duration::from_secs(1)).is_err()
}

fn eventually(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn three_brokers_survive_kill_pause_and_restart_of_one() {
    let Some(kafka) = Kafka::builder().brokers(3).property("num.partitions", 3).start_or_skip() else { return };
    let second = kafka.broker(1);
    second.pause();
    second.resume();
    second.kill();
    assert!(refuses(second.address()));
    second.restart();
    assert!(!refuses(second.address()));
    let address = second.address().to_owned();
    let data = second.data_dir().to_owned();
    let output = kafka.tool(
        "org.apache.kafka.tools.TopicCommand",
        &["--bootstrap-server", &kafka.bootstrap(), "--create", "--topic", "t", "--replication-factor", "3"],
    );
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    drop(kafka);
    assert!(refuses(&address));
    assert!(!data.exists());
}

#[test]
fn a_killed_process_leaves_no_broker() {
    // The helper is this very binary, running the test below.
    let mut helper = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper_starts_and_waits", "--nocapture"])
        .env("TESTCONTAINERS_HELPER", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(helper.stdout.take().unwrap()).lines();
    let started = lines.map_while(Result::ok).find_map(|line| line.split_once("bootstrap=").map(|(_, b)| b.to_owned()));
    helper.kill().unwrap();
    helper.wait().unwrap();
    if let Some(address) = started {
        eventually("the broker is gone", Duration::from_secs(10), || refuses(&address));
    }
}

#[test]
fn helper_starts_and_waits() {
    if std::env::var_os("TESTCONTAINERS_HELPER").is_none() {
        return;
    }
    let Some(kafka) = Kafka::builder().start_or_skip() else { return };
    println!("bootstrap={}", kafka.bootstrap());
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_shared_cluster_is_found_again() {
    let Some(one) = Kafka::builder().shared_or_skip() else { return };
    let found = Instant::now();
    let other = Kafka::builder().shared().unwrap();
    assert_eq!(one.bootstrap(), other.bootstrap());
    assert!(found.elapsed() < Duration::from_secs(3), "{:?}", found.elapsed());
    assert!(other.bootstrap().split(',').all(|broker| !refuses(broker)));
}

#[test]
fn listeners_with_tls_and_sasl_come_up_with_their_users() {
    let builder = Kafka::builder()
        .secured(Listener::ssl("TLS"))
        .secured(Listener::ssl("MTLS").client_certificates(certificates::CA))
        .secured(Listener::ssl("EXPIRED").certificate(certificates::EXPIRED))
        .secured(Listener::sasl_ssl("BOTH").reauthenticate_after(60_000))
        .secured(Listener::sasl_plaintext("SASL"))
        .user("alice", "alice-secret");
    let Some(kafka) = builder.start_or_skip() else { return };
    for name in ["TLS", "MTLS", "EXPIRED", "BOTH", "SASL"] {
        assert!(!refuses(kafka.broker(0).listener(name)), "{name}");
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let truststore = directory.join("ca.pem");
    std::fs::write(&truststore, certificates::CA).unwrap();
    for (listener, protocol, mechanism) in [
        ("SASL", "SASL_PLAINTEXT", "PLAIN"),
        ("SASL", "SASL_PLAINTEXT", "SCRAM-SHA-256"),
        ("BOTH", "SASL_SSL", "SCRAM-SHA-512"),
    ] {
        let module = if mechanism == "PLAIN" { "plain.PlainLoginModule" } else { "scram.ScramLoginModule" };
        let properties = format!(
            "security.protocol={protocol}\nsasl.mechanism={mechanism}\nssl.truststore.type=PEM\n\
             ssl.truststore.location={}\nsasl.jaas.config=org.apache.kafka.common.security.{module} required \
             username=\"alice\" password=\"alice-secret\";\n",
            truststore.display()
        );
        let file = directory.join(format!("{mechanism}.properties"));
        std::fs::write(&file, properties).unwrap();
        let (address, file) = (kafka.broker(0).listener(listener), file.display().to_string());
        let arguments = ["--bootstrap-server", address, "--command-config", &file, "--list"];
        let output = kafka.tool("org.apache.kafka.tools.TopicCommand", &arguments).unwrap();
        assert!(output.status.success(), "{mechanism}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
