//! librdkafka as the writer that is not ours: a Python script on the `confluent-kafka` wheel. The interpreter is
//! `DISPATCHER_TEST_PYTHON`, or a virtual environment made once in the temp directory.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::tools::Stored;

/// An interpreter with `confluent_kafka`; None after saying so where there is none (a failure with
/// `DISPATCHER_REQUIRE_KAFKA=1`).
pub fn python_or_skip() -> Option<PathBuf> {
    // Two tests at once must not both make the environment.
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let named = || std::env::var_os("DISPATCHER_TEST_PYTHON").map(PathBuf::from);
    let find = || named().into_iter().chain([PathBuf::from("python3")]).find(imports).or_else(virtual_environment);
    let found = FOUND.get_or_init(find).clone();
    if found.is_none() {
        super::skip(
            "needs librdkafka: pip install confluent-kafka, and name the interpreter in DISPATCHER_TEST_PYTHON",
        );
    }
    found
}

/// Runs `librdkafka.py` and gives what a committed reader must see.
pub fn write(python: &PathBuf, args: &[&str]) -> Vec<Stored> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/librdkafka.py");
    let output = Command::new(python).arg(script).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let parse = |line: &str| {
        let parts: Vec<_> = line.splitn(4, ' ').collect();
        let [partition, offset, key, value] = parts[..] else { panic!("{line}") };
        Stored {
            partition: partition.parse().unwrap(),
            offset: offset.parse().unwrap(),
            key: key.to_owned(),
            value: value.to_owned(),
        }
    };
    String::from_utf8_lossy(&output.stdout).lines().map(parse).collect()
}

fn imports(python: &PathBuf) -> bool {
    let output = Command::new(python).args(["-c", "import confluent_kafka"]).output();
    output.is_ok_and(|output| output.status.success())
}

fn virtual_environment() -> Option<PathBuf> {
    let dir = std::env::temp_dir().join("dispatcher-librdkafka");
    let python = dir.join("bin/python");
    if !imports(&python) {
        let made = Command::new("python3").args(["-m", "venv"]).arg(&dir).output().ok()?;
        let install = ["-m", "pip", "install", "-q", "confluent-kafka"];
        let installed = made.status.success() && Command::new(&python).args(install).output().ok()?.status.success();
        if !installed {
            return None;
        }
    }
    Some(python)
}
