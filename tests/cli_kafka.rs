//! The command-line tool on a real broker: what scripts rely on. `DISPATCHER_PROGRAM` names another program than this
//! build's, with the words before it: one for another machine, under what runs it here (`.ci/cross`).
#![cfg(all(feature = "cli", feature = "tls"))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::io::Write as _;
#[cfg(unix)]
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use dispatcher_testcontainers::{Kafka, Listener, SharedKafka, certificates};
use serde_json::Value;

struct Cli {
    kafka: SharedKafka,
    topic: String,
}

/// The program under test.
fn dispatcher() -> Command {
    let Ok(line) = std::env::var("DISPATCHER_PROGRAM") else { return Command::new(env!("CARGO_BIN_EXE_dispatcher")) };
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
}

/// A topic of its own with 3 partitions; None where there is no Kafka.
fn cli(name: &str) -> Option<Cli> {
    let kafka = Kafka::builder().shared_or_skip()?;
    let cli = Cli { kafka, topic: format!("cli-{name}-{}", std::process::id()) };
    cli.ok("topics create TOPIC --partitions 3 --replicas 1", b"");
    Some(cli)
}

impl Cli {
    fn spawn(&self, line: &str) -> Child {
        dispatcher()
            .args(line.split_whitespace().map(|word| word.replace("TOPIC", &self.topic)))
            .env("KAFKA_BROKERS", self.kafka.bootstrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn run(&self, line: &str, stdin: &[u8]) -> Output {
        let mut child = self.spawn(line);
        let mut input = child.stdin.take().unwrap();
        let bytes = stdin.to_vec();
        let feeding = std::thread::spawn(move || drop(input.write_all(&bytes)));
        let output = child.wait_with_output().unwrap();
        feeding.join().unwrap();
        output
    }

    /// Runs a command that must succeed; its rows.
    fn ok(&self, line: &str, stdin: &[u8]) -> Vec<Value> {
        let output = self.run(&format!("{line} --json"), stdin);
        assert_eq!(output.status.code(), Some(0), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        rows(&output)
    }
}

fn rows(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .inspect(|row: &Value| assert_eq!(row["v"], 1))
        .collect()
}

#[test]
fn bytes_keys_headers_and_tombstones_come_out_as_they_went_in() {
    let Some(cli) = cli("bytes") else { return };
    let sent = cli.ok("send TOPIC --key-delimiter \\t --header h=1 --header h=2", b"k\tv\r\n\n\xff\x00\nlast");
    assert_eq!(sent.iter().map(|row| row["line"].as_u64().unwrap()).max(), Some(4));
    cli.ok("send TOPIC --key k --null", b"ignored");
    cli.ok("send TOPIC --envelope raw --timestamp 1234", b"raw\n");
    cli.ok("send TOPIC --envelope go-json --compression lz4 --key go", b"from go\n");
    let got = cli.ok("subscribe TOPIC --group g --until-end", b"");
    let one =
        |value: Value| got.iter().find(|row| row["value"] == value).unwrap_or_else(|| panic!("{value}: {got:#?}"));
    assert_eq!(got.len(), 7);
    let first = one("v\r".into());
    assert_eq!((&first["key"], &first["headers"]), (&"k".into(), &serde_json::json!([["h", "1"], ["h", "2"]])));
    assert_eq!(first["attempt"], 1);
    assert!(sent.iter().any(|row| row["id"] == first["id"] && row["offset"] == first["offset"]));
    assert_eq!(one("".into())["key"], Value::Null);
    one(serde_json::json!({"base64": "/wA="}));
    one("last".into());
    assert_eq!(one(Value::Null)["key"], "k");
    let raw = one("raw".into());
    assert_eq!((&raw["id"], &raw["timestamp_ms"]), (&Value::Null, &1234.into()));
    let go = one("from go".into());
    assert_eq!((go["id"].as_str().map(str::len), &go["key"]), (Some(36), &"go".into()));
    let status = cli.ok("status TOPIC g", b"").remove(0);
    assert_eq!((&status["total_lag"], &status["state"]), (&0.into(), &"Empty".into()));
    assert_eq!(status["group"], format!("g:{}", cli.topic));
}

#[test]
fn a_properties_file_takes_every_command_to_brokers_that_want_tls_and_a_password() {
    const PASSWORD: &str = "one espresso";
    let kafka = Kafka::builder().secured(Listener::sasl_ssl("DOOR")).user("alice", PASSWORD).shared_or_skip();
    let Some(kafka) = kafka else { return };
    let topic = format!("cli-door-{}", std::process::id());
    let dir = std::env::temp_dir().join(&topic);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("ca.pem"), certificates::CA).unwrap();
    // A forward slash is one on Windows too.
    let properties = |password: &str| {
        format!(
            "bootstrap.servers={}\nsecurity.protocol=SASL_SSL\nssl.truststore.type=PEM\nssl.truststore.location={}/ca.pem\n\
             sasl.mechanism=SCRAM-SHA-512\nsasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
             username=\"alice\" password=\"{password}\";\n",
            kafka.listener("DOOR"),
            dir.display(),
        )
    };
    let run = |line: &str, password: &str, stdin: &str| {
        std::fs::write(dir.join("client.properties"), properties(password)).unwrap();
        std::fs::write(dir.join("stdin"), stdin).unwrap();
        dispatcher()
            // Handshakes take their time on a busy machine, and more so in an emulator.
            .args(["--timeout", "60s", "--command-config", dir.join("client.properties").to_str().unwrap()])
            .args(line.split_whitespace().map(|word| word.replace("TOPIC", &topic)))
            .env_remove("KAFKA_BROKERS")
            .stdin(std::fs::File::open(dir.join("stdin")).unwrap())
            .output()
            .unwrap()
    };
    let ok = |line: &str, stdin: &str| {
        let output = run(&format!("{line} --json"), PASSWORD, stdin);
        assert_eq!(output.status.code(), Some(0), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        rows(&output)
    };
    let sent = ok("send TOPIC --create --partitions 3 --replicas 1 --key k", "one\ntwo\nthree\n");
    assert_eq!(sent.len(), 3);
    let got = ok("subscribe TOPIC --group g --until-end", "");
    assert_eq!(got.iter().map(|row| row["value"].as_str().unwrap()).collect::<Vec<_>>(), ["one", "two", "three"]);
    let status = ok("status TOPIC g", "").remove(0);
    assert_eq!((&status["total_lag"], &status["state"]), (&0.into(), &"Empty".into()));

    let refused = run("status TOPIC g", "two espressos", "");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("alice") && !said.contains("espresso"), "{said}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_failed_line_is_reported_and_the_others_are_sent() {
    let Some(cli) = cli("failed") else { return };
    let output = cli.run("send TOPIC --partition 7 --json", b"a\nb\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(rows(&output).len(), 2);
    assert!(rows(&output).iter().all(|row| row["outcome"] == "not_written" && row["error"].is_string()));
    let missing = cli.run("send TOPIC-missing", b"a\n");
    assert_eq!(missing.status.code(), Some(1));
    assert!(missing.stdout.is_empty() && String::from_utf8_lossy(&missing.stderr).contains("--create"));
}

#[test]
fn count_hands_out_no_more_and_commits_what_it_handled() {
    let Some(cli) = cli("count") else { return };
    let lines: String = (0..100).map(|i| format!("{i}\n")).collect();
    cli.ok("send TOPIC", lines.as_bytes());
    let first = cli.ok("subscribe TOPIC --group g --count 30 --concurrency 8", b"");
    assert_eq!(first.len(), 30);
    assert_eq!(cli.ok("status TOPIC g", b"")[0]["total_lag"], 70);
    let rest = cli.ok("subscribe TOPIC --group g --until-end --concurrency 8 --order none", b"");
    assert_eq!(rest.len(), 70);
    let mut all: Vec<_> = first.iter().chain(&rest).map(|row| row["value"].as_str().unwrap()).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 100);
}

#[cfg(unix)]
#[test]
fn a_program_handles_messages_and_its_failures_are_errors() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(cli) = cli("program") else { return };
    let script = std::env::temp_dir().join(&cli.topic);
    std::fs::write(&script, "#!/bin/sh\nread line\ntest \"$DISPATCHER_KEY\" = k || exit 9\ntest $line != bad || { echo oh no >&2; exit 3; }\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = script.to_str().unwrap();
    cli.ok("send TOPIC --key k", b"good\nbad\nlate\n");
    let got = cli.ok_program(&format!("subscribe TOPIC --group g --until-end --json -- {program}"), 0);
    assert_eq!(got.len(), 3);
    assert_eq!(got[1]["error"], "oh no");
    assert!(got[0].get("error").is_none() && got[2].get("error").is_none());
    // Skipped messages are committed; with stop the failed one and what follows is not.
    assert_eq!(cli.ok("status TOPIC g", b"")[0]["total_lag"], 0);
    let got = cli.ok_program(&format!("subscribe TOPIC --group s --on-failure stop --json -- {program}"), 1);
    assert_eq!(got.len(), 2);
    assert_eq!(cli.ok("status TOPIC s", b"")[0]["total_lag"], 2);
    let held =
        cli.ok_program(&format!("subscribe TOPIC --group h --on-failure hold --until-end --json -- {program}"), 0);
    assert_eq!(held.len(), 3);
    assert_eq!(cli.ok("status TOPIC h", b"")[0]["total_lag"], 2);
    let missing = cli.run("subscribe TOPIC --group m -- /no/such/program", b"");
    assert_eq!(missing.status.code(), Some(1));
    std::fs::remove_file(script).unwrap();
}

#[test]
fn a_program_is_found_in_path_and_its_status_counts() {
    let Some(cli) = cli("status") else { return };
    cli.ok("send TOPIC --key k", b"1\n2\n");
    let windows = std::env::var("DISPATCHER_PROGRAM").is_ok_and(|line| line.ends_with(".exe"));
    let (fails, works) = if windows { ("cmd /c exit 3", "cmd /c exit 0") } else { ("false", "true") };
    let failed = rows(&cli.run(&format!("subscribe TOPIC --group f --until-end --json -- {fails}"), b""));
    assert!(failed.len() == 2 && failed.iter().all(|row| row["error"].as_str().unwrap().contains("exit status")));
    let run = cli.run(&format!("subscribe TOPIC --group w --until-end --json -- {works}"), b"");
    let worked = rows(&run);
    assert!(worked.len() == 2 && worked.iter().all(|row| row["error"].is_null()), "{worked:?}, {run:?}");
    assert_eq!(cli.ok("status TOPIC w", b"")[0]["total_lag"], 0);
}

impl Cli {
    /// A command line with a program must end in it, so `--json` stands where the caller put it.
    #[cfg(unix)]
    fn ok_program(&self, line: &str, code: i32) -> Vec<Value> {
        let output = self.run(line, b"");
        assert_eq!(output.status.code(), Some(code), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        rows(&output)
    }
}

#[cfg(unix)]
#[test]
fn a_signal_ends_a_subscription_in_order_and_a_closed_pipe_quietly() {
    let Some(cli) = cli("signal") else { return };
    cli.ok("send TOPIC", b"a\nb\n");
    let mut child = cli.spawn("subscribe TOPIC --group g --json");
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        assert!(out.next().unwrap().unwrap().contains("\"attempt\":1"));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let status = cli.ok("status TOPIC g", b"").remove(0);
    assert_eq!((&status["total_lag"], &status["members"]), (&0.into(), &serde_json::json!([])));

    let mut child = cli.spawn("subscribe TOPIC --group closed");
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(cli.ok("status TOPIC closed", b"")[0]["total_lag"], 2);
}

#[test]
fn groups_are_listed_described_reset_and_deleted() {
    let Some(cli) = cli("groups") else { return };
    cli.ok("send TOPIC", b"a\nb\nc\n");
    cli.ok("subscribe TOPIC --group-exact TOPIC-g --until-end", b"");
    let listed = cli.ok("groups list", b"");
    assert!(listed.iter().any(|row| row["group"] == format!("{}-g", cli.topic)));
    let reset = cli.ok("groups reset TOPIC-g TOPIC --to oldest", b"");
    assert!(reset.len() == 3 && reset.iter().all(|row| row["committed"] == 0));
    assert_eq!(cli.ok("groups describe TOPIC-g", b"")[0]["topics"][0]["total_lag"], 3);
    assert_eq!(cli.ok("groups delete TOPIC-g", b"")[0]["deleted"], true);
    let status = cli.ok("status TOPIC --group-exact TOPIC-g", b"").remove(0);
    assert_eq!((&status["state"], &status["partitions"][0]["committed"]), (&"Dead".into(), &Value::Null));
}

#[test]
fn every_workload_of_bench_measures() {
    let Some(cli) = cli("bench") else { return };
    for line in [
        "bench produce --messages 2000 --partitions 3",
        "bench consume --messages 2000 --partitions 3",
        "bench latency --messages 100 --rate 500",
        "bench dispatch --messages 500 --work 0-1ms --order none",
    ] {
        let row = cli.ok(line, b"").remove(0);
        assert_eq!((&row["ok"], &row["done"]), (&true.into(), &row["params"]["messages"]), "{line}: {row}");
        assert!(row["wall_s"].as_f64().unwrap() > 0.0, "{line}: {row}");
    }
}
