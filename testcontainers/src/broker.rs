//! One broker: a Java process or a container that can be killed, frozen, stopped and started again on the same ports and
//! data. Used by tests through [`Kafka::broker`](crate::Kafka::broker).

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::jars::Jars;
use crate::{keeper, net};

/// One broker of a [`Kafka`](crate::Kafka) cluster.
#[derive(Debug)]
pub struct Broker {
    pub(crate) id: i32,
    pub(crate) address: String,
    /// The plaintext listener as Kafka's tools reach it.
    pub(crate) inside: String,
    pub(crate) listeners: Vec<(String, String)>,
    pub(crate) log_path: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) runtime: Runtime,
}

#[derive(Debug)]
pub(crate) enum Runtime {
    Java { jars: Jars, heap: String, config: PathBuf, pid_file: PathBuf, child: Mutex<Option<Child>> },
    Docker { container: String },
}

impl Runtime {
    pub(crate) fn java(jars: Jars, heap: String, config: PathBuf, pid_file: PathBuf) -> Self {
        Self::Java { jars, heap, config, pid_file, child: Mutex::new(None) }
    }
}

impl Broker {
    /// Its node id in Metadata.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// `host:port` of the plaintext listener.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `host:port` of the extra listener of this name.
    ///
    /// # Panics
    /// If the builder was not given it.
    pub fn listener(&self, name: &str) -> &str {
        let found = self.listeners.iter().find(|(n, _)| n == name);
        found.map_or_else(|| panic!("no listener {name}"), |(_, address)| address.as_str())
    }

    /// The file its log goes to (a container's log is `docker logs`).
    pub fn log_path(&self) -> &Path {
        &self.log_path
    }

    /// Its `log.dirs`, as its own tools see it: `<topic>-<partition>/` lie in there.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Its process id while it runs as a process of this machine.
    pub fn pid(&self) -> Option<u32> {
        match &self.runtime {
            Runtime::Java { child, .. } => lock(child).as_ref().map(Child::id),
            Runtime::Docker { .. } => None,
        }
    }

    /// SIGKILL: no goodbye to clients, controller or disk. Returns when it is dead; fine if it already is.
    pub fn kill(&self) {
        match &self.runtime {
            Runtime::Java { child, pid_file, .. } => {
                let mut child = lock(child);
                if let Some(mut child) = child.take() {
                    let _ = child.kill();
                    let _ = child.wait();
                }
                let _ = fs::remove_file(pid_file);
            }
            Runtime::Docker { container } => drop(docker(&["kill", container])),
        }
    }

    /// SIGTERM: leaves the cluster in order, and returns when it has gone (killed after 30 s).
    pub fn stop(&self) {
        self.signal("TERM");
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.exited() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.kill();
    }

    /// SIGSTOP: its sockets stay open and nothing answers.
    pub fn pause(&self) {
        match &self.runtime {
            Runtime::Java { .. } => self.signal("STOP"),
            Runtime::Docker { container } => drop(docker(&["pause", container])),
        }
    }

    /// SIGCONT after [`Broker::pause`].
    pub fn resume(&self) {
        match &self.runtime {
            Runtime::Java { .. } => self.signal("CONT"),
            Runtime::Docker { container } => drop(docker(&["unpause", container])),
        }
    }

    /// Starts it again on the same ports and data, killing it first if it still runs; returns when it answers and is part
    /// of the cluster again.
    ///
    /// # Panics
    /// If it does not come up within 90 s.
    pub fn restart(&self) {
        self.kill();
        self.spawn().unwrap_or_else(|e| panic!("broker {} does not start again: {e}", self.id));
        let deadline = Instant::now() + Duration::from_secs(90);
        while self.alive().is_none_or(|nodes| !nodes.contains(&self.id)) {
            assert!(!self.exited(), "{}", self.log_tail("exited"));
            assert!(Instant::now() < deadline, "{}", self.log_tail("not ready after 90 s"));
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    /// The node ids that it knows to be alive, once each of its listeners takes connections: they are opened one by one,
    /// in no order.
    pub(crate) fn alive(&self) -> Option<BTreeSet<i32>> {
        let nodes = net::alive(&self.address).ok()?;
        self.listeners.iter().all(|(_, address)| net::accepts(address)).then_some(nodes)
    }

    /// Starts the process and returns at once.
    pub(crate) fn spawn(&self) -> io::Result<()> {
        self.spawn_with(&[])
    }

    /// [`Broker::spawn`] with more options for Java.
    pub(crate) fn spawn_with(&self, options: &[&str]) -> io::Result<()> {
        match &self.runtime {
            Runtime::Docker { container } => docker(&["start", container]).map(drop),
            Runtime::Java { jars, heap, config, pid_file, child } => {
                let log = OpenOptions::new().create(true).append(true).open(&self.log_path)?;
                let mut command = if cfg!(unix) {
                    // The shell writes the pid and becomes Java: the keeper knows it from the first moment.
                    let mut shell = Command::new("sh");
                    shell.args(["-c", r#"echo $$ >"$0" && exec java "$@""#]).arg(pid_file);
                    shell
                } else {
                    Command::new("java")
                };
                command.arg(format!("-Xmx{heap}")).args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
                command.arg("-XX:-UsePerfData").args(options).args(jars.java_options()).arg("kafka.Kafka").arg(config);
                command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
                keeper::detach(&mut command);
                *lock(child) = Some(command.spawn()?);
                Ok(())
            }
        }
    }

    pub(crate) fn exited(&self) -> bool {
        match &self.runtime {
            Runtime::Java { child, .. } => lock(child).as_mut().is_none_or(|c| !matches!(c.try_wait(), Ok(None))),
            Runtime::Docker { container } => {
                docker(&["inspect", "-f", "{{.State.Running}}", container]).map_or(true, |text| text.trim() != "true")
            }
        }
    }

    pub(crate) fn log_tail(&self, what: &str) -> String {
        let log = match &self.runtime {
            Runtime::Java { .. } => fs::read(&self.log_path).unwrap_or_default(),
            Runtime::Docker { container } => docker(&["logs", container]).unwrap_or_default().into_bytes(),
        };
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines: Vec<_> = log.lines().collect();
        format!("broker {} {what}; its log ends:\n{}", self.id, lines[lines.len().saturating_sub(30)..].join("\n"))
    }

    fn signal(&self, name: &str) {
        match &self.runtime {
            Runtime::Java { .. } => {
                if let Some(pid) = self.pid() {
                    let _ = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
                }
            }
            Runtime::Docker { container } => drop(docker(&["kill", "-s", name, container])),
        }
    }
}

/// Runs `docker` and gives its stdout (of `logs`: both streams).
pub(crate) fn docker(args: &[&str]) -> io::Result<String> {
    let output = Command::new("docker").args(args).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if args.first() == Some(&"logs") {
        text.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
