//! sarama 1.26.1, the Go dispatcher's client, by way of the Go program in `sarama/`.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::{Message, go, json_of};

#[derive(Clone)]
pub struct Sarama {
    program: PathBuf,
}

impl Sarama {
    /// None after saying so without Go, or without a way to the modules.
    pub fn or_skip() -> Option<Self> {
        go::program_or_skip("sarama").map(|program| Self { program })
    }

    pub fn write(&self, bootstrap: &str, topic: &str, messages: &[Message], codecs: &[&str]) {
        self.run(&["write", bootstrap, topic, &codecs.join(",")], &serde_json::to_string(messages).unwrap());
    }

    pub fn read(&self, bootstrap: &str, topic: &str, count: usize) -> Vec<Message> {
        serde_json::from_value(self.run(&["read", bootstrap, topic, &count.to_string()], "")).unwrap()
    }

    fn run(&self, args: &[&str], input: &str) -> Value {
        let mut command = Command::new(&self.program);
        command.args(args);
        json_of(command, input)
    }
}
