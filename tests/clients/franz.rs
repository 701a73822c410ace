//! franz-go, by way of the Go program in `franz/`, which is built into the target directory once per test binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use super::{Message, json_of};
use crate::common::skip;

#[derive(Clone)]
pub struct Franz {
    program: PathBuf,
}

impl Franz {
    /// None after saying so without Go, or without a way to the modules.
    pub fn or_skip() -> Option<Self> {
        static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        match tokio::task::block_in_place(|| BUILT.get_or_init(build).clone()) {
            Ok(program) => Some(Self { program }),
            Err(how) => {
                skip(&how);
                None
            }
        }
    }

    /// What the program says of its command.
    pub fn run(&self, args: &[&str]) -> Value {
        json_of(self.command(args), "")
    }

    /// The same for a command that reads `input`.
    pub fn run_with(&self, args: &[&str], input: &str) -> Value {
        json_of(self.command(args), input)
    }

    pub fn write(&self, bootstrap: &str, topic: &str, messages: &[Message]) {
        self.run_with(&["write", bootstrap, topic, "0"], &serde_json::to_string(messages).unwrap());
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

fn build() -> Result<PathBuf, String> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("franz{}", std::env::consts::EXE_SUFFIX));
    let go = |args: &[&str]| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/franz");
        Command::new("go").args(args).current_dir(source).stdin(Stdio::null()).output()
    };
    let modules = go(&["mod", "download"]).map_err(|e| format!("needs franz-go: install Go 1.24 or newer: {e}"))?;
    if !modules.status.success() {
        return Err(format!("needs franz-go's modules: {}", String::from_utf8_lossy(&modules.stderr).trim()));
    }
    let built = go(&["build", "-o", &program.to_string_lossy(), "."]).unwrap();
    assert!(built.status.success(), "franz-go's program: {}", String::from_utf8_lossy(&built.stderr));
    Ok(program)
}
