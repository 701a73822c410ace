//! librdkafka, by way of Python's `confluent-kafka`: see `librdkafka.py`.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::{Message, json_of};
use crate::common::librdkafka::python_or_skip;

pub struct Librdkafka {
    python: PathBuf,
}

impl Librdkafka {
    pub fn or_skip() -> Option<Self> {
        python_or_skip().map(|python| Self { python })
    }

    /// What `librdkafka.py` says of its command.
    pub fn run(&self, args: &[&str]) -> Value {
        json_of(self.command(args), "")
    }

    pub fn write(&self, bootstrap: &str, topic: &str, messages: &[Message], codecs: &[&str]) {
        json_of(
            self.command(&["write", bootstrap, topic, "0", &codecs.join(",")]),
            &serde_json::to_string(messages).unwrap(),
        );
    }

    pub fn read(&self, bootstrap: &str, topic: &str, count: usize) -> Vec<Message> {
        serde_json::from_value(self.run(&["read", bootstrap, topic, "0", &count.to_string()])).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/librdkafka.py")).args(args);
        command
    }
}
