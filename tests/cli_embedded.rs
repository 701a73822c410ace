//! The command-line tool over a cluster in a process: `dispatcher embedded` for other processes, `--embedded` for a
//! command alone. No Kafka is needed.
#![cfg(all(feature = "cli", unix))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

fn dispatcher(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dispatcher"));
    command.args(line.split_whitespace()).env_remove("KAFKA_BROKERS");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(mut command: Command, stdin: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = stdin.to_vec();
    let feeding = std::thread::spawn(move || drop(input.write_all(&bytes)));
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap();
    output
}

/// Rows of a command that must succeed.
fn ok(command: Command, stdin: &[u8]) -> Vec<Value> {
    let what = format!("{command:?}");
    let output = run(command, stdin);
    assert_eq!(output.status.code(), Some(0), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A running `dispatcher embedded`.
struct Broker {
    child: Child,
    first_line: String,
}

impl Broker {
    fn start(options: &str) -> Self {
        let mut child = dispatcher(&format!("embedded {options}")).spawn().unwrap();
        let mut first_line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first_line).unwrap();
        assert!(first_line.ends_with('\n'), "no addresses: {first_line:?}");
        Self { child, first_line: first_line.trim_end().to_owned() }
    }

    /// Rows of a command as it stands on this cluster.
    fn exec(&self, line: &str) -> Vec<Value> {
        let mut command = dispatcher(line);
        command.env("KAFKA_BROKERS", &self.first_line);
        ok(command, b"")
    }

    /// Rows of a command on this cluster, named by the environment.
    fn ok(&self, line: &str, stdin: &[u8]) -> Vec<Value> {
        let mut command = dispatcher(&format!("{line} --json"));
        command.env("KAFKA_BROKERS", &self.first_line);
        ok(command, stdin)
    }

    /// Exit status and stderr after a signal.
    fn end(&mut self, signal: &str) -> (Option<i32>, String) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "{signal} does not end it");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code(), stderr)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn temp_dir(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("dispatcher-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

#[test]
fn other_processes_use_a_development_broker() {
    let mut broker = Broker::start("--listen 127.0.0.1:0 --topic orders:3 --topic other:1");
    assert_eq!(broker.first_line.matches("127.0.0.1:").count(), 1, "{}", broker.first_line);

    let topics = broker.ok("topics list", b"");
    let all: Vec<_> = topics.iter().map(|row| (row["topic"].as_str().unwrap(), row["partitions"].as_i64())).collect();
    assert_eq!(all, [("orders", Some(3)), ("other", Some(1))]);

    let sent = broker.ok("send orders --key-delimiter :", b"a:1\nb:2\na:3\n");
    assert_eq!(sent.len(), 3);
    let got = broker.ok("subscribe orders --group g --until-end", b"");
    let mut values: Vec<_> = got.iter().map(|row| row["value"].as_str().unwrap()).collect();
    values.sort_unstable();
    assert_eq!(values, ["1", "2", "3"]);
    let status = broker.ok("status orders g", b"").remove(0);
    assert_eq!((&status["total_lag"], &status["state"]), (&json!(0), &json!("Empty")));

    // A program that fails: one line for each message, after its last attempt; or a dead letter, whose topic is made.
    let failed = broker.ok("subscribe orders --group r --until-end --on-failure retry:1", b"");
    assert!(failed.iter().all(|row| row["attempt"] == 1 && row["error"].is_null()), "{failed:?}");
    let failed = broker.exec("subscribe orders --group f --until-end --on-failure retry:2 --json -- false");
    assert!(
        failed.len() == 3 && failed.iter().all(|row| row["attempt"] == 3 && row["error"].is_string()),
        "{failed:?}"
    );
    assert_eq!(broker.exec("subscribe orders --group d --until-end --on-failure dlq:dead --json -- false").len(), 3);
    let dead = broker.ok("subscribe dead --group g --until-end", b"");
    assert!(dead.len() == 3 && dead.iter().all(|row| row["headers"] == json!([])), "{dead:?}");
    assert_eq!(broker.ok("topics delete dead --yes", b"").len(), 1);
    for group in ["r:orders", "f:orders", "d:orders", "g:dead"] {
        broker.ok(&format!("groups delete {group}"), b"");
    }

    assert_eq!(broker.ok("groups list", b"")[0]["group"], "g:orders");
    assert_eq!(broker.ok("groups reset g:orders orders --to oldest", b"").len(), 3);
    assert_eq!(broker.ok("groups describe g:orders", b"")[0]["topics"][0]["total_lag"], 3);
    assert_eq!(broker.ok("groups delete g:orders", b"")[0]["deleted"], true);

    for line in [
        "bench produce --messages 2000 --partitions 3",
        "bench consume --messages 2000 --partitions 3",
        "bench latency --messages 50 --rate 1000",
        "bench dispatch --messages 200 --work 0-1ms --order none",
    ] {
        assert_eq!(broker.ok(line, b"")[0]["ok"], true, "{line}");
    }

    broker.ok("topics create made --partitions 2 --replicas 1", b"");
    assert_eq!(broker.ok("topics describe made", b"")[0]["partitions"], 2);
    assert_eq!(broker.ok("topics delete made --yes", b"")[0]["deleted"], true);
    // A typo makes no topic.
    let mut typo = dispatcher("send oders");
    typo.env("KAFKA_BROKERS", &broker.first_line);
    assert_eq!(run(typo, b"x\n").status.code(), Some(1));
    assert_eq!(broker.ok("topics list", b"").len(), 2);

    assert_eq!(broker.end("-TERM"), (Some(0), String::new()));
}

#[test]
fn the_first_line_names_all_brokers_and_every_signal_ends_it_in_order() {
    let mut broker = Broker::start("--listen 127.0.0.1:0 --brokers 3 --json");
    let row: Value = serde_json::from_str(&broker.first_line).unwrap();
    assert_eq!((&row["v"], row["brokers"].as_array().map(Vec::len)), (&json!(1), Some(3)));
    assert_eq!(broker.end("-INT"), (Some(0), String::new()));
}

#[test]
fn the_environment_names_no_number_of_brokers() {
    let mut command = dispatcher("embedded --listen 127.0.0.1:0");
    let mut child = command.env("KAFKA_BROKERS", "a:1,b:1").spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let _ = child.kill();
    let _ = child.wait();
    assert_eq!(line.matches("127.0.0.1:").count(), 1, "{line:?}");
}

/// Asks about a topic as a client does that wants it made: Metadata v4 with `allow_auto_topic_creation`.
fn ask_about(address: &str, topic: &str) {
    let name = [&(topic.len() as i16).to_be_bytes(), topic.as_bytes()].concat();
    let request = [&[0, 3, 0, 4, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 1][..], &name, &[1]].concat();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(&[&(request.len() as i32).to_be_bytes()[..], &request].concat()).unwrap();
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[4..], [0, 0, 0, 7], "the answer's correlation id");
}

#[test]
fn a_broker_of_an_older_release_makes_topics_that_are_asked_for() {
    let broker = Broker::start("--listen 127.0.0.1:0 --kafka-version 2.8.1 --auto-create-topics");
    ask_about(&broker.first_line, "fresh");
    broker.ok("send fresh", b"x\n");
    assert_eq!(broker.ok("topics describe fresh", b"")[0]["partitions"], 1);
    assert_eq!(broker.ok("subscribe fresh --group g --count 1", b"").len(), 1);
}

#[test]
fn a_data_directory_outlives_the_broker() {
    let dir = temp_dir("data");
    let options = format!("--listen 127.0.0.1:0 --topic orders:1 --data {}", dir.display());
    let mut broker = Broker::start(&options);
    broker.ok("send orders", b"1\n2\n3\n");
    assert_eq!(broker.ok("subscribe orders --group g --count 2", b"").len(), 2);
    // Two at once would spoil it.
    let second = run(dispatcher(&format!("embedded {options}")), b"");
    let stderr = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.contains(dir.to_str().unwrap()), "{stderr}");
    assert_eq!(broker.end("-TERM").0, Some(0));

    let mut broker = Broker::start(&options);
    let rest = broker.ok("subscribe orders --group g --until-end", b"");
    assert_eq!((rest.len(), &rest[0]["value"], &rest[0]["offset"]), (1, &json!("3"), &json!(2)));
    broker.ok("send orders", b"4\n");
    // Killed like a dog, it has everything all the same.
    broker.end("-KILL");
    let broker = Broker::start(&options);
    assert_eq!(broker.ok("subscribe orders --group h --until-end", b"").len(), 4);
    drop(broker);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_port_that_is_taken_is_1_with_one_line_that_says_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _listener = std::net::TcpListener::bind(taken).unwrap();
    let output = run(dispatcher(&format!("embedded --listen {taken}")), b"");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.contains(&taken.to_string()), "{stderr}");
    assert!(stderr.contains("choose another address") && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn every_command_can_have_a_cluster_of_its_own() {
    let embedded = |line: &str, stdin: &[u8]| {
        let mut command = dispatcher(&format!("{line} --embedded --json"));
        // Nobody is there: --embedded wins over the environment.
        command.env("KAFKA_BROKERS", "127.0.0.1:1");
        ok(command, stdin)
    };
    // New topics have 3 replicas by default, and there are 3 brokers.
    let sent = embedded("send orders --create", b"1\n2\n3\n4\n5\n");
    assert_eq!(sent.len(), 5);
    assert!(sent.iter().all(|row| row["offset"].is_i64()), "{sent:?}");
    assert_eq!(embedded("topics create orders", b"")[0]["replicas"], 3);
    assert!(embedded("topics list", b"").is_empty());
    assert!(embedded("groups list", b"").is_empty());
    assert!(embedded("subscribe orders --group g --create --until-end", b"").is_empty());
    assert_eq!(embedded("bench produce --messages 1000", b"")[0]["ok"], true);
    assert_eq!(embedded("bench dispatch --messages 100", b"")[0]["ok"], true);
    let output = run(dispatcher("--embedded status orders g"), b"");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("orders"), "{stderr}");
}
