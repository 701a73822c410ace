//! Consumers that no one here wrote as members of a group, each in a process of its own. All programs (`MixedMember.java`,
//! `member.py`, `sarama/`) take the same arguments, print the same JSON lines and leave in order at `stop` on their input.

use std::collections::{BTreeSet, VecDeque};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dispatcher_testcontainers::{Tools, or_skip};
use serde::Deserialize;

use super::go;
use crate::common::librdkafka::python_or_skip;
use crate::common::log::{HandlerLog, What};
use crate::common::{KAFKA_4, skip};

/// Whose consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Client {
    Java,
    Librdkafka,
    Sarama,
}

impl Client {
    /// The program of this client, ready for the arguments of [`ForeignMember::start`]; None after saying why not.
    pub fn program_or_skip(self) -> Option<Command> {
        match self {
            // Java compiles the one file that it is given in place of a class.
            Self::Java => or_skip(Tools::of_version(KAFKA_4)).filter(|_| compiles_java_or_skip()).map(|tools| {
                tools.command(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/MixedMember.java")).unwrap()
            }),
            Self::Librdkafka => python_or_skip().map(|python| {
                let mut command = Command::new(python);
                command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/member.py"));
                command
            }),
            Self::Sarama => go::program_or_skip("sarama").map(Command::new),
        }
    }
}

fn compiles_java_or_skip() -> bool {
    static COMPILES: OnceLock<bool> = OnceLock::new();
    let ask = || {
        let mut java = Command::new("java");
        java.args(["--describe-module", "jdk.compiler"]).stdout(Stdio::null()).stderr(Stdio::null());
        java.status().is_ok_and(|status| status.success())
    };
    let compiles = *COMPILES.get_or_init(ask);
    if !compiles {
        skip("needs a JDK: the Java here has no compiler");
    }
    compiles
}

#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line {
    Assigned { partitions: Vec<i32> },
    Revoked { partitions: Vec<i32> },
    Lost { partitions: Vec<i32> },
    Message { partition: i32, offset: i64 },
    Left,
}

#[derive(Debug, Default)]
struct Seen {
    owned: BTreeSet<i32>,
    /// What was taken from it since it was asked last.
    revoked: BTreeSet<i32>,
    left: bool,
    /// What no member of a group in health says.
    wrong: Vec<String>,
    /// The last lines of its standard error.
    errors: VecDeque<String>,
}

pub struct ForeignMember {
    child: Child,
    readers: Vec<JoinHandle<()>>,
    seen: Arc<Mutex<Seen>>,
    /// Each message that it was given, as handled.
    pub log: HandlerLog,
}

impl ForeignMember {
    pub fn start(client: Client, bootstrap: &str, topic: &str, group: &str, client_id: &str, assignor: &str) -> Self {
        let mut command = client.program_or_skip().unwrap();
        command.args([bootstrap, topic, group, client_id, assignor]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (seen, log) = (Arc::<Mutex<Seen>>::default(), HandlerLog::new());
        let (out, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (told, handled, said) = (seen.clone(), log.clone(), seen.clone());
        let readers = vec![
            std::thread::spawn(move || {
                BufReader::new(out).lines().map_while(Result::ok).for_each(|line| told_of(&told, &handled, &line));
            }),
            std::thread::spawn(move || {
                for line in BufReader::new(errors).lines().map_while(Result::ok) {
                    let kept = &mut lock(&said).errors;
                    kept.push_back(line);
                    if kept.len() > 100 {
                        kept.pop_front();
                    }
                }
            }),
        ];
        Self { child, readers, seen, log }
    }

    /// The partitions that it says it owns.
    pub fn owned(&mut self) -> BTreeSet<i32> {
        let ended = self.child.try_wait().unwrap();
        let seen = lock(&self.seen);
        assert!(ended.is_none() && seen.wrong.is_empty(), "the member's program ended with {ended:?}: {seen:?}");
        seen.owned.clone()
    }

    /// The partitions that were taken from it since the last call.
    pub fn take_revoked(&mut self) -> BTreeSet<i32> {
        std::mem::take(&mut lock(&self.seen).revoked)
    }

    /// Asks it to leave the group in order and waits until it has.
    pub fn stop(&mut self) {
        self.child.stdin.take().unwrap().write_all(b"stop\n").unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(Instant::now() < deadline, "the member does not leave: {:?}", lock(&self.seen)),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        let seen = lock(&self.seen);
        assert!(status.success() && seen.left && seen.wrong.is_empty(), "the member's end, {status}: {seen:?}");
    }
}

impl Drop for ForeignMember {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn told_of(seen: &Mutex<Seen>, log: &HandlerLog, line: &str) {
    let mut seen = lock(seen);
    match serde_json::from_str(line) {
        Ok(Line::Message { partition, offset }) => {
            if !seen.owned.contains(&partition) {
                seen.wrong.push(format!("a message of a partition that it does not own: {line}"));
            }
            log.record(What::Done, partition, offset, None, &[]);
        }
        Ok(Line::Assigned { partitions }) => {
            for partition in partitions {
                if !seen.owned.insert(partition) {
                    seen.wrong.push(format!("owns {partition} already: {line}"));
                }
            }
        }
        Ok(Line::Revoked { partitions }) => {
            seen.owned.retain(|partition| !partitions.contains(partition));
            seen.revoked.extend(partitions);
        }
        // Nobody is slow and nobody dies, so that nobody may lose a partition.
        Ok(Line::Lost { partitions }) if partitions.is_empty() => {}
        Ok(Line::Lost { .. }) => seen.wrong.push(line.to_owned()),
        Ok(Line::Left) => seen.left = true,
        Err(error) => seen.wrong.push(format!("{error}: {line}")),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
