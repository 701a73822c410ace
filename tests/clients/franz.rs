//! franz-go, by way of the Go program in `franz/`.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::{Message, go, json_of};

#[derive(Clone)]
pub struct Franz {
    program: PathBuf,
}

impl Franz {
    /// None after saying so without Go, or without a way to the modules.
    pub fn or_skip() -> Option<Self> {
        go::program_or_skip("franz").map(|program| Self { program })
    }

    /// What the program says of its command.
    pub fn run(&self, args: &[&str]) -> Value {
        json_of(self.command(args), "")
    }

    /// The same for a command that reads `input`.
    pub fn run_with(&self, args: &[&str], input: &str) -> Value {
        json_of(self.command(args), input)
    }

    pub fn write(&self, bootstrap: &str, topic: &str, messages: &[Message], codecs: &[&str]) {
        self.run_with(&["write", bootstrap, topic, "0", &codecs.join(",")], &serde_json::to_string(messages).unwrap());
    }

    pub fn read(&self, bootstrap: &str, topic: &str, count: usize) -> Vec<Message> {
        serde_json::from_value(self.run(&["read", bootstrap, topic, "0", &count.to_string()])).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args);
        command
    }
}
