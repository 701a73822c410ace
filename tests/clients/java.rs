//! Kafka's own tools, which are its Java clients: console producer and consumer, the verifiable pair that Kafka's system
//! tests use, and the admin commands.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use dispatcher_testcontainers::{Tools, or_skip};
use serde_json::Value;

use super::Message;
use crate::common::{KAFKA_4, unique};

/// How null is spelled for the console tools.
const NULL: &str = "<null>";

pub struct Java {
    pub tools: Tools,
}

impl Java {
    pub fn or_skip() -> Option<Self> {
        let tools = tokio::task::block_in_place(|| or_skip(Tools::of_version(KAFKA_4)))?;
        Some(Self { tools })
    }

    /// What one of the tools in `org.apache.kafka.tools` (or, with a dot in its name, elsewhere) prints.
    pub fn run(&self, bootstrap: &str, class: &str, args: &[&str]) -> String {
        self.run_with(bootstrap, class, args, "")
    }

    fn run_with(&self, bootstrap: &str, class: &str, args: &[&str], input: &str) -> String {
        let mut command = self.command(bootstrap, class, args);
        let run = || {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        };
        let output = tokio::task::block_in_place(run);
        let out = String::from_utf8(output.stdout).unwrap();
        // Not every tool that fails says so in its status.
        let failed = !output.status.success() || out.contains("Error:");
        assert!(!failed, "{class} {args:?}: {out}{}", String::from_utf8_lossy(&output.stderr));
        out
    }

    fn command(&self, bootstrap: &str, class: &str, args: &[&str]) -> Command {
        let class =
            if class.starts_with("kafka.") { class.to_owned() } else { format!("org.apache.kafka.tools.{class}") };
        let mut command = self.tools.command(&class).unwrap();
        command.args(["--bootstrap-server", bootstrap]).args(args);
        command
    }

    /// All in one batch, by the first of the codecs.
    pub fn write(&self, bootstrap: &str, topic: &str, messages: &[Message], codecs: &[&str]) {
        let null = format!("null.marker={NULL}");
        let mut args = vec!["--topic", topic, "--compression-codec", codecs[0], "--timeout", "5"];
        for property in ["parse.key=true", "parse.headers=true", &null] {
            args.extend(["--reader-property", property]);
        }
        let or_null = |text: &Option<String>| text.clone().unwrap_or_else(|| NULL.to_owned());
        let line = |message: &Message| {
            let headers: Vec<_> = message.headers.iter().map(|(k, v)| format!("{k}:{}", or_null(v))).collect();
            let headers = if headers.is_empty() { NULL.to_owned() } else { headers.join(",") };
            format!("{headers}\t{}\t{}\n", or_null(&message.key), or_null(&message.value))
        };
        let input: String = messages.iter().map(line).collect();
        self.run_with(bootstrap, "ConsoleProducer", &args, &input);
    }

    pub fn read(&self, bootstrap: &str, topic: &str, count: usize) -> Vec<Message> {
        let (null, count) = (format!("null.literal={NULL}"), count.to_string());
        let mut args = vec!["--topic", topic, "--from-beginning", "--max-messages", &count, "--timeout-ms", "30000"];
        for property in ["print.key=true", "print.headers=true", &null] {
            args.extend(["--formatter-property", property]);
        }
        let unless_null = |text: &str| (text != NULL).then(|| text.to_owned());
        let header =
            |text: &str| text.split_once(':').map(|(name, value)| (name.to_owned(), unless_null(value))).unwrap();
        let message = |line: &str| {
            let columns: Vec<_> = line.split('\t').collect();
            let [headers, key, value] = columns[..] else { panic!("{line}") };
            let headers = if headers == "NO_HEADERS" { Vec::new() } else { headers.split(',').map(header).collect() };
            Message { key: unless_null(key), value: unless_null(value), headers }
        };
        self.run(bootstrap, "consumer.ConsoleConsumer", &args).lines().map(message).collect()
    }
}

/// A running `VerifiableConsumer`: a member of a group that commits after every poll and tells what happens to it.
pub struct VerifiableConsumer {
    child: Child,
    events: Arc<Mutex<Vec<Value>>>,
    config: PathBuf,
}

impl VerifiableConsumer {
    pub fn start(java: &Java, bootstrap: &str, topic: &str, group: &str) -> Self {
        let config = std::env::temp_dir().join(unique("dispatcher-consumer"));
        std::fs::write(&config, "heartbeat.interval.ms=200\nfetch.max.wait.ms=100\n").unwrap();
        let path = config.to_string_lossy();
        let args = ["--topic", topic, "--group-id", group, "--session-timeout", "10000", "--command-config", &path];
        let mut command = java.command(bootstrap, "VerifiableConsumer", &args);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let (lines, seen) = (BufReader::new(child.stdout.take().unwrap()).lines(), events.clone());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                seen.lock().unwrap().extend(serde_json::from_str::<Value>(&line));
            }
        });
        Self { child, events, config }
    }

    /// The events of this name so far.
    pub fn events(&self, name: &str) -> Vec<Value> {
        self.events.lock().unwrap().iter().filter(|event| event["name"] == name).cloned().collect()
    }

    /// How many partitions the last assignment gave it.
    pub fn assigned(&self) -> usize {
        let last = self.events("partitions_assigned").pop();
        last.and_then(|event| event["partitions"].as_array().map(Vec::len)).unwrap_or_default()
    }

    pub fn consumed(&self) -> u64 {
        self.events("records_consumed").iter().filter_map(|event| event["count"].as_u64()).sum()
    }

    /// Asks it to leave the group and waits until it has.
    pub fn stop(mut self) {
        tokio::task::block_in_place(|| {
            let asked = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
            assert!(asked.success());
            self.child.wait().unwrap();
        });
    }
}

impl Drop for VerifiableConsumer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.config);
    }
}
