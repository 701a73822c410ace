//! The rooms of `ARCHITECTURE.md` as a test: who may use whom, what stays free of I/O and clocks, how long files may be; and
//! that what README quotes is so.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Bottom to top: a room may use itself and what stands before it.
const ROOMS: [&str; 14] = [
    "mutants",
    "error",
    "env",
    "telemetry",
    "wire",
    "embedded",
    "partitioner",
    "net",
    "client",
    "group",
    "worker",
    "envelope",
    "dispatcher",
    "cli",
];
/// Rooms whose order says nothing about each other: neither may use the other.
const APART: [(&str, &str); 2] = [("envelope", "worker"), ("envelope", "group")];
/// Upwards all the same: an error carries Kafka's own error code.
const ALLOWED: [(&str, &str); 1] = [("error", "wire")];
/// `wire` is data: it must not know the environment either. The embedded cluster is for tests and the command line: what
/// is built on Kafka must not know it.
const BARRED: [(&str, &str); 8] = [
    ("wire", "env"),
    ("partitioner", "embedded"),
    ("net", "embedded"),
    ("client", "embedded"),
    ("group", "embedded"),
    ("worker", "embedded"),
    ("envelope", "embedded"),
    ("dispatcher", "embedded"),
];
/// What a file free of I/O and clocks may not name.
const IMPURE: [&str; 8] = [
    "tokio::",
    "std::net",
    "Instant::now",
    "SystemTime::now",
    "std::thread::sleep",
    "crate::env::Env",
    "async fn",
    ".await",
];

struct Source {
    /// Path below `src/`, with forward slashes.
    path: String,
    /// Without comments.
    code: String,
    lines: usize,
}

impl Source {
    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.contains("/tests/") || self.path.contains("/testing")
    }

    /// The code before the first unit-test module.
    fn product(&self) -> &str {
        self.code.split("#[cfg(test)]\nmod ").next().unwrap_or_default()
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 3, "no sources under {}", root.display());
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap();
        let path = file.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
        Source { path, code: without_comments(&text), lines: text.lines().count() }
    };
    files.into_iter().map(read).collect()
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

fn without_comments(text: &str) -> String {
    let code = |line: &str| if line.trim_start().starts_with("//") { String::new() } else { line.to_owned() };
    text.lines().map(code).collect::<Vec<_>>().join("\n")
}

/// Every name that directly follows `crate::`, alone or at the top level of a group.
fn names_after_crate(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.push(identifier(rest));
            continue;
        };
        let (mut depth, mut start) = (0, true);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && depth == 0 && !c.is_whitespace() => {
                    names.push(identifier(&group[i..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    names
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Which room a name re-exported by `lib.rs` comes from.
fn reexports(lib: &str) -> BTreeMap<String, String> {
    let mut from = BTreeMap::new();
    for (at, _) in lib.match_indices("pub use ") {
        let statement = lib[at + "pub use ".len()..].split(';').next().unwrap_or_default();
        let Some((room, names)) = statement.split_once("::") else { continue };
        for name in names.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|n| !n.is_empty()) {
            from.insert(name.to_owned(), room.trim().to_owned());
        }
    }
    from
}

fn rank(room: &str) -> Option<usize> {
    ROOMS.iter().position(|r| *r == room)
}

#[test]
fn a_room_uses_only_rooms_below_it() {
    let sources = sources();
    let lib = sources.iter().find(|s| s.path == "lib.rs").unwrap();
    let reexports = reexports(&lib.code);
    let mut wrong = Vec::new();
    // Above all rooms: the crate's face, the binaries, and the entrances for benches.
    let above = |s: &Source| {
        s.path == "lib.rs" || s.path == "bench.rs" || s.path.starts_with("bench/") || s.path.starts_with("bin/")
    };
    for source in sources.iter().filter(|s| !above(s)) {
        let Some(own) = rank(source.room()) else {
            wrong.push(format!("{}: a room without a place in the order", source.path));
            continue;
        };
        for name in names_after_crate(&source.code) {
            let used = reexports.get(&name).map_or(name.as_str(), String::as_str);
            // What has no rank is a macro or a doc link's end.
            let Some(other) = rank(used) else { continue };
            let apart = APART.iter().any(|&(a, b)| (source.room(), used) == (a, b) || (source.room(), used) == (b, a));
            let barred = BARRED.contains(&(source.room(), used)) && !source.is_test();
            let allowed = ALLOWED.contains(&(source.room(), used));
            if (other > own && !allowed) || apart || barred {
                wrong.push(format!("{}: `{}` may not use `{used}` (crate::{name})", source.path, source.room()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The machines: what is given to them, time included, comes as arguments.
const PURE: [&str; 36] = [
    "wire/",
    "embedded/api.rs",
    "embedded/faults",
    "embedded/groups/",
    "embedded/log/",
    "embedded/session",
    "embedded/transactions",
    "embedded/refuse",
    "embedded/versions",
    "partitioner",
    "net/sasl/hash",
    "net/sasl/mechanism",
    "net/sasl/oauthbearer",
    "net/sasl/scram",
    "client/topology/merge",
    "client/producer/queue",
    "client/producer/sequencer",
    "client/producer/identity",
    "client/fetch/session",
    "client/fetch/table",
    "client/fetch/parse",
    "group/assignor/",
    "group/classic/",
    "group/commit",
    "worker/scheduler",
    "worker/tracker",
    "worker/policy",
    "worker/metadata",
    "dispatcher/jaas",
    "dispatcher/properties",
    "dispatcher/monitor_host/address",
    "dispatcher/monitor_host/answer",
    "cli/monitor/state",
    "cli/monitor/views",
    "cli/monitor/metrics",
    "cli/monitor/route",
];

fn must_be_pure(source: &Source) -> bool {
    PURE.iter().any(|prefix| source.path.starts_with(prefix))
}

#[test]
fn wire_and_the_state_machines_touch_no_runtime_no_socket_and_no_clock() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| must_be_pure(s) && !s.is_test()) {
        for name in IMPURE {
            if source.product().contains(name) {
                wrong.push(format!("{} names {name}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_stay_small() {
    let mut sizes: Vec<_> = sources().into_iter().map(|s| (s.lines, s.path)).collect();
    sizes.sort();
    let long: Vec<_> = sizes.iter().filter(|(lines, _)| *lines > 800).collect();
    assert!(long.is_empty(), "over 800 lines: {long:?}");
    let (median, _) = sizes[sizes.len() / 2];
    assert!(median <= 250, "the median file has {median} lines");
}

#[test]
fn every_file_says_what_lives_in_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|s| !s.is_test())
        .filter(|s| !fs::read_to_string(root.join(&s.path)).unwrap().starts_with("//!"))
        .map(|s| s.path)
        .collect();
    assert!(silent.is_empty(), "no `//!` paragraph at the top: {silent:?}");
}

#[test]
fn the_check_reads_paths_and_groups() {
    let code = "use crate::net::Connection;\nuse crate::{\n    client::{self, group}, Error,\n};\n$crate::wire::x(); mycrate::cli";
    assert_eq!(names_after_crate(code), ["net", "client", "Error", "wire"]);
    let exports = reexports("pub use dispatcher::{Dispatcher, send::Send};\npub use error::Error;");
    assert_eq!(exports["Dispatcher"], "dispatcher");
    assert_eq!(exports["Error"], "error");
}

#[test]
fn the_figures_that_readme_quotes_stand_in_the_results() {
    let read = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let (readme, results) = (read("README.md"), read("benches/RESULTS.md"));
    let (_, section) = readme.split_once("## How fast").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let known: Vec<&str> = results.split_whitespace().collect();
    let figure = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains(['.', ',']);
    let quoted: Vec<&str> =
        section.split_whitespace().map(|word| word.trim_end_matches(['.', ',', ';', ')'])).filter(figure).collect();
    assert!(quoted.len() > 20, "{quoted:?}");
    for figure in quoted {
        assert!(known.contains(&figure), "{figure} is not in benches/RESULTS.md");
    }
}
