//! A directory that survives the cluster: `cluster.json` (topics), `groups.json` (members and committed offsets of
//! groups), and in `logs/` a file per partition with record batches as they are on the wire. Written as things happen,
//! under the cluster's lock; read when a cluster starts on it. No other file is touched. A tail that was cut off by a crash is dropped; open transactions are
//! aborted. The file `lock` is held by the one cluster that uses the directory.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::log::{Log, Stored};
use super::state::State;
use super::topic::{Partition, Topic};
use crate::env::lock;
use crate::wire::Uuid;
use crate::wire::records::batches;

/// So many files are open at once: a process may have no more than 1,024 in all.
const MAX_OPEN: usize = 128;
/// The directory of the logs.
const LOGS: &str = "logs";

/// See the module. Clones are the same directory.
#[derive(Debug, Clone)]
pub(super) struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    /// Locked until the last clone is dropped.
    _lock: File,
    /// Open for appending.
    logs: Mutex<BTreeMap<(String, i32), File>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct ClusterFile {
    cluster_id: String,
    /// Producer ids up to here were given out.
    last_producer_id: i64,
    topics: BTreeMap<String, TopicFile>,
}

#[derive(Debug, Serialize, Deserialize)]
struct TopicFile {
    id: [u8; 16],
    replicas: i16,
    configs: BTreeMap<String, String>,
    partitions: Vec<PartitionFile>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PartitionFile {
    replicas: Vec<i32>,
    leader_epoch: i32,
    log_start: i64,
    /// At the last change of the topics; the log's file may go further.
    #[serde(default)]
    log_end: i64,
}

impl Store {
    /// Opens or makes the directory, and puts what it holds into `state`.
    pub(super) fn open(dir: &Path, state: &mut State, now: Instant, now_ms: i64) -> io::Result<Self> {
        fs::create_dir_all(dir.join(LOGS))?;
        let lock = File::create(dir.join("lock"))?;
        lock.try_lock().map_err(|e| match e {
            fs::TryLockError::WouldBlock => io::Error::new(io::ErrorKind::WouldBlock, "another cluster is using it"),
            fs::TryLockError::Error(e) => e,
        })?;
        let store = Self(Arc::new(Inner { dir: dir.to_owned(), _lock: lock, logs: Mutex::default() }));
        if let Some(file) = read_json::<ClusterFile>(&dir.join("cluster.json"))? {
            state.cluster_id = file.cluster_id;
            state.transactions.skip_producer_ids(file.last_producer_id);
            for (name, topic) in file.topics {
                let topic = store.load_topic(&name, topic, state, now_ms)?;
                state.insert_topic(name, topic);
            }
        }
        if let Some(offsets) = read_json(&dir.join("groups.json"))? {
            state.groups.restore(now, offsets);
        }
        store.write_topics(state)?;
        Ok(store)
    }

    fn load_topic(&self, name: &str, file: TopicFile, state: &mut State, now_ms: i64) -> io::Result<Topic> {
        let mut partitions = Vec::new();
        for (index, p) in file.partitions.into_iter().enumerate() {
            // A cluster with fewer brokers than before: those that are left take over.
            let mut replicas: Vec<i32> = p.replicas.into_iter().filter(|id| state.brokers.contains_key(id)).collect();
            if replicas.is_empty() {
                replicas.extend(state.brokers.keys().next());
            }
            let mut partition = Partition::new(replicas);
            partition.log = self.load_log(name, index as i32, (p.log_start, p.log_end))?;
            partition.leader_epoch = p.leader_epoch.max(partition.log.latest_epoch());
            let open: Vec<_> = partition.log.active_producers().filter(|p| p.open_from >= 0).collect();
            for producer in open {
                let stamp = partition.stamp(now_ms);
                partition.log.append_marker((producer.producer_id, producer.epoch), false, stamp);
                if let Some(marker) = partition.log.batches().last() {
                    self.write(name, index as i32, marker)?;
                }
            }
            partition.log.replicate();
            partitions.push(partition);
        }
        Ok(Topic { id: Uuid(file.id), partitions, configs: file.configs, replicas: file.replicas })
    }

    fn load_log(&self, name: &str, partition: i32, (start, end): (i64, i64)) -> io::Result<Log> {
        let path = self.log_path(name, partition);
        let data = match fs::read(&path) {
            Ok(data) => Bytes::from(data),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Bytes::new(),
            Err(e) => return Err(e),
        };
        let (mut log, mut whole, mut next) = (Log::starting_at(start), 0, 0);
        let mut all = batches(data.clone());
        while let Some(Ok(raw)) = all.next() {
            if raw.check_crc().is_err() || raw.header().base_offset < next {
                break;
            }
            whole += raw.bytes().len();
            next = raw.header().next_offset();
            if next <= start {
                // Deleted since the file was written.
                continue;
            }
            let written_ms = raw.header().max_timestamp;
            log.take_from_disk(Stored {
                header: *raw.header(),
                bytes: raw.to_owned_memory().bytes().clone(),
                written_ms,
            });
        }
        if whole < data.len() {
            tracing::warn!(target: "dispatcher::embedded", topic = name, partition, bytes = data.len() - whole,
                "the end of a log was not written whole: it is dropped");
            OpenOptions::new().write(true).open(&path)?.set_len(whole as u64)?;
        }
        log.skip_to(end);
        Ok(log)
    }

    fn log_path(&self, name: &str, partition: i32) -> PathBuf {
        self.0.dir.join(LOGS).join(format!("{name}-{partition}"))
    }

    fn write(&self, name: &str, partition: i32, batch: &Stored) -> io::Result<()> {
        let mut logs = lock(&self.0.logs);
        let place = (name.to_owned(), partition);
        if logs.len() >= MAX_OPEN && !logs.contains_key(&place) {
            logs.clear();
        }
        let file = match logs.entry(place) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                let path = self.log_path(name, partition);
                new.insert(OpenOptions::new().create(true).append(true).open(path)?)
            }
        };
        let length = file.metadata()?.len();
        file.write_all(&batch.bytes).inspect_err(|_| {
            // Half a batch would hide all that come behind it.
            let _full = file.set_len(length);
        })
    }

    /// A batch was appended to a log.
    pub(super) fn append(&self, name: &str, partition: i32, batch: &Stored) {
        report(self.write(name, partition, batch));
    }

    /// Topics were made, deleted or changed.
    pub(super) fn topics(&self, state: &State) {
        report(self.write_topics(state));
    }

    fn write_topics(&self, state: &State) -> io::Result<()> {
        let topics = state.topics.iter().map(|(name, topic)| {
            let partitions = topic.partitions.iter().map(|p| PartitionFile {
                replicas: p.replicas.clone(),
                leader_epoch: p.leader_epoch,
                log_start: p.log.start(),
                log_end: p.log.end(),
            });
            let (partitions, configs) = (partitions.collect(), topic.configs.clone());
            (name.clone(), TopicFile { id: topic.id.0, replicas: topic.replicas, configs, partitions })
        });
        let last_producer_id = state.transactions.last_producer_id();
        let file = ClusterFile { cluster_id: state.cluster_id.clone(), last_producer_id, topics: topics.collect() };
        write_json(&self.0.dir.join("cluster.json"), &file)?;
        self.drop_unknown_logs(state)
    }

    /// Deletes the logs of partitions that are no more.
    fn drop_unknown_logs(&self, state: &State) -> io::Result<()> {
        lock(&self.0.logs).retain(|(name, partition), _| state.partition(name, *partition).is_some());
        for entry in fs::read_dir(self.0.dir.join(LOGS))? {
            let path = entry?.path();
            let file = path.file_name().and_then(|n| n.to_str());
            let place = file.and_then(|f| f.rsplit_once('-')).and_then(|(name, p)| Some((name, p.parse().ok()?)));
            if place.is_some_and(|(name, partition)| state.partition(name, partition).is_none()) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Committed offsets changed.
    pub(super) fn offsets(&self, state: &State) {
        report(write_json(&self.0.dir.join("groups.json"), &state.groups.snapshot()));
    }

    /// Logs were shortened or compacted: those are written anew.
    pub(super) fn logs(&self, state: &mut State) {
        report(self.rewrite(state));
    }

    fn rewrite(&self, state: &mut State) -> io::Result<()> {
        for (name, topic) in &mut state.topics {
            for (index, partition) in topic.partitions.iter_mut().enumerate() {
                if !partition.log.take_shortened() {
                    continue;
                }
                lock(&self.0.logs).remove(&(name.clone(), index as i32));
                let path = self.log_path(name, index as i32);
                replace(&path, |file| partition.log.batches().try_for_each(|b| file.write_all(&b.bytes)))?;
            }
        }
        self.write_topics(state)
    }
}

/// The cluster goes on in memory; what cannot be kept is said loudly.
fn report(written: io::Result<()>) {
    if let Err(error) = written {
        tracing::error!(target: "dispatcher::embedded", %error, "the data directory of the embedded cluster cannot be written");
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(value)?;
    replace(path, |file| file.write_all(&text))
}

/// The file is either the old one or the whole new one.
fn replace(path: &Path, write: impl FnOnce(&mut io::BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    // No log has such a name, nor is any as long as a file's name may be.
    let fresh = path.with_file_name(".new");
    let mut file = io::BufWriter::new(File::create(&fresh)?);
    write(&mut file)?;
    file.flush()?;
    fs::rename(fresh, path)
}
