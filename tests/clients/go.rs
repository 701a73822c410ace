//! Go programs of the tests: each is a directory here with its own `go.mod`, built into the target directory once per test
//! binary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::common::skip;

/// The program built from `tests/clients/<name>`; None after saying so without Go, or without a way to the modules.
pub fn program_or_skip(name: &str) -> Option<PathBuf> {
    static BUILT: Mutex<BTreeMap<String, Result<PathBuf, String>>> = Mutex::new(BTreeMap::new());
    let built = || {
        // Held while building: two tests at once must not both do it.
        let mut all = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.entry(name.to_owned()).or_insert_with(|| build(name)).clone()
    };
    match tokio::task::block_in_place(built) {
        Ok(program) => Some(program),
        Err(how) => {
            skip(&how);
            None
        }
    }
}

fn build(name: &str) -> Result<PathBuf, String> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let go = |args: &[&str]| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name);
        Command::new("go").args(args).current_dir(source).stdin(Stdio::null()).output()
    };
    let modules = go(&["mod", "download"]).map_err(|e| format!("needs Go 1.24 or newer for {name}: {e}"))?;
    if !modules.status.success() {
        return Err(format!("needs {name}'s Go modules: {}", String::from_utf8_lossy(&modules.stderr).trim()));
    }
    let built = go(&["build", "-o", &program.to_string_lossy(), "."]).unwrap();
    assert!(built.status.success(), "{name}'s program: {}", String::from_utf8_lossy(&built.stderr));
    Ok(program)
}
