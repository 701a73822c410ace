//! Clusters that outlive the test binary that started them: a registry in the temp directory, one lock per description,
//! and a keeper that ends a cluster some time after its last user. Starting costs seconds; finding costs nothing.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::fs::{self, File};
use std::hash::{Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use crate::builder::Builder;
use crate::cluster::{Kafka, failed};
use crate::jars::Jars;
use crate::tools::Tools;
use crate::{Unavailable, docker, keeper, net};

/// A cluster that other tests use at the same time: nobody may stop its brokers.
#[derive(Debug)]
pub struct SharedKafka {
    bootstrap: String,
    /// Name and addresses of each further listener.
    listeners: Vec<(String, String)>,
    tools: Tools,
    version: String,
    data_dirs: Vec<PathBuf>,
    /// With a Docker daemon each test binary has a cluster of its own.
    _owned: Option<Kafka>,
}

impl SharedKafka {
    /// `host:port,…` of all brokers.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// `host:port,…` of the extra listener of this name.
    ///
    /// # Panics
    /// If the builder was not given it.
    pub fn listener(&self, name: &str) -> &str {
        let found = self.listeners.iter().find(|(n, _)| n == name);
        found.map_or_else(|| panic!("no listener {name}"), |(_, addresses)| addresses.as_str())
    }

    /// The version that was asked for (with `KAFKA_BROKERS` the cluster's may differ).
    pub fn version(&self) -> &str {
        &self.version
    }

    /// `log.dirs` of each broker, as Kafka's tools see them; empty with `KAFKA_BROKERS`.
    pub fn data_dirs(&self) -> &[PathBuf] {
        &self.data_dirs
    }

    /// Kafka's own tools.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// Runs one of Kafka's tools by its class name. See [`Tools::run`].
    ///
    /// # Errors
    /// What starting the process gives.
    pub fn tool(&self, class: &str, args: &[&str]) -> io::Result<Output> {
        self.tools.run(class, args)
    }
}

/// Where clusters keep their data and the registry lies.
pub(crate) fn base_dir() -> io::Result<PathBuf> {
    let user = std::env::var("USER").unwrap_or_else(|_| "user".into());
    let base = std::env::temp_dir().join(format!("dispatcher-kafka-{user}"));
    fs::create_dir_all(&base)?;
    Ok(base)
}

pub(crate) fn find_or_start(builder: &Builder) -> Result<SharedKafka, Unavailable> {
    if let Some(bootstrap) =
        std::env::var("KAFKA_BROKERS").ok().filter(|b| !b.is_empty() && builder.listeners.is_empty())
    {
        let tools = Jars::obtain(&builder.version).map_or_else(|_| Tools::none(), Tools::java);
        return Ok(SharedKafka {
            bootstrap,
            listeners: Vec::new(),
            tools,
            version: builder.version.clone(),
            data_dirs: Vec::new(),
            _owned: None,
        });
    }
    let jars_only = std::env::var("DISPATCHER_KAFKA_FROM").is_ok_and(|from| from == "jars");
    if cfg!(not(unix)) || (!jars_only && docker::running()) {
        let kafka = builder.clone().start()?;
        return Ok(SharedKafka {
            bootstrap: kafka.bootstrap(),
            listeners: listeners(builder, &kafka),
            tools: kafka.tools().clone(),
            version: builder.version.clone(),
            data_dirs: kafka.brokers().iter().map(|b| b.data_dir().to_owned()).collect(),
            _owned: Some(kafka),
        });
    }
    let jars = Jars::obtain(&builder.version)?;
    let base = base_dir().map_err(failed)?;
    let key = key(builder);
    let lock = File::create(base.join(format!("{key}.lock"))).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let current = base.join(format!("{key}.current"));
    if let Some((dir, addresses)) = join(&current) {
        return Ok(shared(builder, jars, &dir, addresses));
    }
    let mut last = None;
    for attempt in 0..3 {
        let dir = base.join(format!("{key}-{}-{attempt}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        register(&dir).map_err(failed)?;
        keeper::shared(&dir, &current, linger()).map_err(failed)?;
        let kafka = Kafka::prepare(builder, jars.clone(), dir.clone()).map_err(failed)?;
        match kafka.launch(builder) {
            Ok(()) => {
                let addresses = Addresses { bootstrap: kafka.bootstrap(), listeners: listeners(builder, &kafka) };
                let text = format!("{}\n{addresses}", dir.display());
                let written = dir.join("current");
                fs::write(&written, text).and_then(|()| fs::rename(&written, &current)).map_err(failed)?;
                return Ok(shared(builder, jars, &dir, addresses));
            }
            Err(error) => {
                // The keeper ends what did start once the registration is gone.
                let _ = fs::remove_dir_all(dir.join("users"));
                kafka.brokers().iter().for_each(crate::Broker::kill);
                last = Some(error);
            }
        }
    }
    Err(last.unwrap_or_else(|| Unavailable::Failed("no free ports".into())))
}

/// Where a cluster is: the text under which it is registered.
struct Addresses {
    bootstrap: String,
    listeners: Vec<(String, String)>,
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.bootstrap)?;
        self.listeners.iter().try_for_each(|(name, addresses)| writeln!(f, "{name}={addresses}"))
    }
}

fn listeners(builder: &Builder, kafka: &Kafka) -> Vec<(String, String)> {
    let addresses = |name: &str| kafka.brokers().iter().map(|b| b.listener(name)).collect::<Vec<_>>().join(",");
    builder.listeners.iter().map(|(name, _)| (name.clone(), addresses(name))).collect()
}

fn shared(builder: &Builder, jars: Jars, dir: &Path, addresses: Addresses) -> SharedKafka {
    SharedKafka {
        bootstrap: addresses.bootstrap,
        listeners: addresses.listeners,
        tools: Tools::java(jars),
        version: builder.version.clone(),
        data_dirs: (1..=builder.brokers).map(|id| dir.join(id.to_string())).collect(),
        _owned: None,
    }
}

/// Registers with the cluster that `current` names and sees whether it is still offered, and alive, after that.
fn join(current: &Path) -> Option<(PathBuf, Addresses)> {
    let text = fs::read_to_string(current).ok()?;
    let mut lines = text.lines();
    let (dir, bootstrap) = (PathBuf::from(lines.next()?), lines.next()?.to_owned());
    let listeners = lines.filter_map(|line| line.split_once('=')).map(|(n, a)| (n.to_owned(), a.to_owned())).collect();
    if !dir.is_dir() || register(&dir).is_err() {
        let _ = fs::remove_file(current);
        return None;
    }
    // The keeper may just have withdrawn it; it puts it back if it sees us in time.
    let offered = || fs::read_to_string(current).is_ok_and(|now| now == text);
    if !offered() {
        std::thread::sleep(Duration::from_secs(1));
        if !offered() {
            return None;
        }
    }
    let brokers: Vec<_> = bootstrap.split(',').collect();
    if brokers.iter().all(|broker| net::alive(broker).is_ok_and(|nodes| nodes.len() == brokers.len())) {
        return Some((dir, Addresses { bootstrap, listeners }));
    }
    // Broken (somebody killed a broker): the keeper ends it when its users are gone.
    let _ = fs::remove_file(current);
    let _ = fs::remove_file(dir.join("users").join(std::process::id().to_string()));
    None
}

fn register(dir: &Path) -> io::Result<()> {
    let users = dir.join("users");
    fs::create_dir_all(&users)?;
    fs::write(users.join(std::process::id().to_string()), "")
}

/// One description, one cluster.
fn key(builder: &Builder) -> String {
    let mut hasher = DefaultHasher::new();
    (&builder.heap, &builder.properties, &builder.listeners, &builder.behind).hash(&mut hasher);
    (&builder.secured, &builder.users).hash(&mut hasher);
    format!("shared-{}-{}-{:016x}", builder.version, builder.brokers, hasher.finish())
}

fn linger() -> u64 {
    std::env::var("DISPATCHER_KAFKA_LINGER").ok().and_then(|v| v.parse().ok()).unwrap_or(30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_description_finds_the_same_cluster() {
        let one = Kafka::builder().property("a", 1).property("b", 2);
        let other = Kafka::builder().property("b", 2).property("a", 1);
        assert_eq!(key(&one), key(&other));
        assert_ne!(key(&one), key(&other.clone().property("a", 3)));
        assert_ne!(key(&one), key(&other.brokers(3)));
    }
}
