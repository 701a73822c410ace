//! The command-line tool without a cluster: usage errors are exit status 2 with a clear message, failures 1.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::process::{Command, Output, Stdio};

fn run(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dispatcher"))
        .args(line.split_whitespace())
        .env_remove("KAFKA_BROKERS")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Exit status and stderr; stdout must be empty.
fn fails(line: &str) -> (i32, String) {
    let output = run(line);
    assert!(output.stdout.is_empty(), "{line}: {:?}", String::from_utf8_lossy(&output.stdout));
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn wrong_usage_is_2_and_says_what_is_wrong() {
    for (line, says) in [
        ("send", "TOPIC"),
        ("send t", "--brokers"),
        ("-b h:1 send t --key a --key-delimiter b", "--key"),
        ("-b h:1 send t --null", "--key"),
        ("-b h:1 send t --null --key k --file f", "--file"),
        ("-b h:1 send t --null --key k --envelope go-json", "go-json"),
        ("-b h:1 send t --header a=b --envelope go-json", "--header"),
        ("-b h:1 send t --partitions 3", "--create"),
        ("-b h:1 subscribe t", "--group"),
        ("-b h:1 subscribe t --group g --group-exact h", "--group"),
        ("-b h:1 subscribe t --group g --count 0", "--count"),
        ("-b h:1 subscribe t --group g --on-failure never", "skip, hold, stop"),
        ("-b h:1 groups reset g t --to yesterday", "--to"),
        ("-b h:1 topics delete t", "--yes"),
        ("-b h:1 --timeout soon topics list", "--timeout"),
        ("-b h:1 --command-config /no/such/file topics list", "/no/such/file"),
        ("fly", "fly"),
        ("--embedded -b h:1 topics list", "--brokers"),
        ("topics list --brokers h:1 --embedded", "--brokers"),
        ("--embedded embedded", "--embedded"),
        ("embedded --topic orders", "orders:12"),
        ("embedded --topic orders:0", "partitions"),
        ("embedded --topic orders:many", "many"),
        ("embedded --listen 127.0.0.1:0 --topic a/b:1", "a/b"),
        ("embedded --listen 127.0.0.1:0 --topic o:1 --topic o:1", "exists"),
        ("embedded --brokers 0", "1 to 100"),
        ("embedded --brokers h:1", "1 to 100"),
        ("embedded --listen here", "host:port"),
        ("embedded --kafka-version 1.0", "4.2"),
    ] {
        let (code, stderr) = fails(line);
        assert_eq!(code, 2, "{line}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(says), "{line}: {stderr}");
    }
}

#[test]
fn what_comes_later_is_refused_by_name_before_anything_is_done() {
    for (line, names) in [
        ("-b h:1 subscribe t --group g --protocol consumer", "--protocol"),
        ("-b h:1 subscribe t --group g --start-at yesterday", "how long ago"),
        ("-b h:1 subscribe t --group g --start-at oldest --skip-existing", "--skip-existing"),
        ("-b h:1 --backend rskafka send t --compression lz4", "rskafka"),
    ] {
        let (code, stderr) = fails(line);
        assert_eq!(code, 2, "{line}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(names), "{line}: {stderr}");
    }
}

#[test]
fn a_failure_is_1_with_one_line_that_names_the_peer() {
    // Bound and not listening on: connections are refused.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (code, stderr) = fails(&format!("-b 127.0.0.1:{port} --timeout 3s topics list"));
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.contains(&port.to_string()), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn a_silent_broker_is_given_up_within_the_timeout() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let started = std::time::Instant::now();
    let (code, stderr) = fails(&format!("-b 127.0.0.1:{port} --timeout 1s topics list"));
    assert_eq!(code, 1, "{stderr}");
    assert!(started.elapsed() < std::time::Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn help_and_version_are_no_failures() {
    for line in ["--help", "--version", "send --help", "help subscribe"] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(0), "{line}");
        assert!(!output.stdout.is_empty());
    }
}

#[test]
fn a_properties_file_is_checked_and_what_it_does_not_mean_is_warned_of() {
    let dir = std::env::temp_dir().join(format!("dispatcher-cli-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    for (text, names) in [("linger.ms=soon", "linger.ms"), ("noassignment", "line 1"), ("sasl.mechanism=PLAIN", "sasl")]
    {
        let path = write("broken.properties", text);
        let (code, stderr) = fails(&format!("-b h:1 --command-config {path} topics list"));
        assert_eq!(code, 2, "{text}: {stderr}");
        assert!(stderr.contains(names), "{text}: {stderr}");
    }
    let path = write("odd.properties", "bootstrap.servers=127.0.0.1:1\nmade.up=1\n");
    let (code, stderr) = fails(&format!("--command-config {path} --timeout 2s topics list"));
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("warning: ") && stderr.contains("made.up"), "{stderr}");
    std::fs::remove_dir_all(dir).unwrap();
}
