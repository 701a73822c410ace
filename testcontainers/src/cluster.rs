//! A running cluster from jars: its directory, configuration, start and end. The brokers themselves are in `broker`, the
//! process that outlives us in `keeper`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::broker::{Broker, Runtime};
use crate::builder::Builder;
use crate::jars::Jars;
use crate::tools::Tools;
use crate::{Unavailable, keeper, net};

pub(crate) const CLUSTER_ID: &str = "AAAAAAAAAAAAAAAAAAAAAQ";
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// A Kafka cluster that ends with this value.
#[derive(Debug)]
pub struct Kafka {
    pub(crate) brokers: Vec<Broker>,
    pub(crate) tools: Tools,
    pub(crate) version: String,
    pub(crate) dir: PathBuf,
    /// Ends the brokers when its stdin closes. None when a shared keeper does.
    pub(crate) keeper: Option<Child>,
}

impl Kafka {
    /// One broker of version [`DEFAULT_VERSION`](crate::DEFAULT_VERSION) unless told otherwise.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn start(builder: &Builder, jars: Jars) -> Result<Self, Unavailable> {
        let mut last = None;
        // A port may be taken between choosing and binding it: others then.
        for _ in 0..3 {
            let dir = temp_dir().map_err(failed)?;
            let keeper = if cfg!(unix) { Some(keeper::owned(&dir).map_err(failed)?) } else { None };
            let mut kafka = Self::prepare(builder, jars.clone(), dir).map_err(failed)?;
            kafka.keeper = keeper;
            match kafka.launch(builder) {
                Ok(()) => return Ok(kafka),
                Err(error @ Unavailable::Failed(_)) if error.to_string().contains("Address already in use") => {
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| Unavailable::Failed("no free ports".into())))
    }

    /// Writes configuration and formatted directories; nothing runs yet.
    pub(crate) fn prepare(builder: &Builder, jars: Jars, dir: PathBuf) -> io::Result<Self> {
        let per_broker = 2 + builder.listeners.len();
        let ports = net::free_ports(builder.brokers * per_broker)?;
        let ports: Vec<&[u16]> = ports.chunks(per_broker).collect();
        let voters: Vec<_> = ports.iter().zip(1..).map(|(p, id)| format!("{id}@127.0.0.1:{}", p[1])).collect();
        let mut brokers = Vec::new();
        for (ports, id) in ports.iter().zip(1i32..) {
            let data = dir.join(format!("{id}"));
            fs::create_dir_all(&data)?;
            fs::copy(jars.bootstrap_checkpoint(), data.join("bootstrap.checkpoint"))?;
            fs::write(
                data.join("meta.properties"),
                format!("version=1\ncluster.id={CLUSTER_ID}\nnode.id={id}\ndirectory.id={}\n", directory_id(id)),
            )?;
            let config = dir.join(format!("{id}.properties"));
            fs::write(&config, properties(builder, id, ports, &voters.join(","), &data))?;
            let listeners = builder.listeners.iter().zip(&ports[2..]);
            brokers.push(Broker {
                id,
                address: format!("127.0.0.1:{}", ports[0]),
                inside: format!("127.0.0.1:{}", ports[0]),
                listeners: listeners.map(|((name, _), port)| (name.clone(), format!("127.0.0.1:{port}"))).collect(),
                log_path: dir.join(format!("{id}.log")),
                data_dir: data,
                runtime: Runtime::java(jars.clone(), builder.heap.clone(), config, dir.join(format!("{id}.pid"))),
            });
        }
        let tools = Tools::java(jars);
        Ok(Self { brokers, tools, version: builder.version.clone(), dir, keeper: None })
    }

    /// Starts every broker, waits until each of them sees all the others, and makes the users.
    pub(crate) fn launch(&self, builder: &Builder) -> Result<(), Unavailable> {
        for broker in &self.brokers {
            broker.spawn().map_err(failed)?;
        }
        self.wait_ready(START_TIMEOUT)?;
        self.make_users(builder)
    }

    /// SCRAM's users live in the cluster's metadata; PLAIN's are in the configuration. Kafka takes one mechanism of a user
    /// at a time, and each time costs a JVM: side by side.
    pub(crate) fn make_users(&self, builder: &Builder) -> Result<(), Unavailable> {
        let server = self.brokers.first().map_or("", |broker| broker.inside.as_str());
        let mut running = Vec::new();
        for (name, password) in &builder.users {
            for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
                let mut tool = self.tools.command("kafka.admin.ConfigCommand").map_err(failed)?;
                tool.args(["--bootstrap-server", server, "--alter", "--add-config"]);
                tool.arg(format!("{mechanism}=[password={password}]"));
                tool.args(["--entity-type", "users", "--entity-name", name]);
                tool.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
                running.push((name, tool.spawn().map_err(failed)?));
            }
        }
        for (name, tool) in running {
            let output = tool.wait_with_output().map_err(failed)?;
            if !output.status.success() {
                let text = [output.stdout, output.stderr].concat();
                return Err(Unavailable::Failed(format!("user {name}: {}", String::from_utf8_lossy(&text).trim())));
            }
        }
        Ok(())
    }

    pub(crate) fn wait_ready(&self, limit: Duration) -> Result<(), Unavailable> {
        let deadline = Instant::now() + limit;
        for broker in &self.brokers {
            while broker.alive().is_none_or(|nodes| nodes.len() != self.brokers.len()) {
                if broker.exited() {
                    return Err(Unavailable::Failed(broker.log_tail("exited")));
                }
                if Instant::now() > deadline {
                    return Err(Unavailable::Failed(broker.log_tail(&format!("not ready after {limit:?}"))));
                }
                std::thread::sleep(Duration::from_millis(25));
            }
        }
        Ok(())
    }

    /// `host:port,…` of all brokers, running or not.
    pub fn bootstrap(&self) -> String {
        self.brokers.iter().map(|b| b.address.as_str()).collect::<Vec<_>>().join(",")
    }

    /// Broker `index`, from 0; its node id is one more.
    pub fn broker(&self, index: usize) -> &Broker {
        &self.brokers[index]
    }

    /// All brokers, by node id.
    pub fn brokers(&self) -> &[Broker] {
        &self.brokers
    }

    /// The broker of this node id, as Metadata names it.
    pub fn node(&self, id: i32) -> Option<&Broker> {
        self.brokers.iter().find(|b| b.id == id)
    }

    /// Kafka's version.
    pub fn version(&self) -> &str {
        &self.version
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

impl Drop for Kafka {
    fn drop(&mut self) {
        let Some(mut keeper) = self.keeper.take() else {
            if cfg!(not(unix)) {
                self.brokers.iter().for_each(Broker::kill);
                let _ = fs::remove_dir_all(&self.dir);
            }
            return;
        };
        self.brokers.iter().for_each(Broker::kill);
        drop(keeper.stdin.take());
        let _ = keeper.wait();
    }
}

fn properties(builder: &Builder, id: i32, ports: &[u16], voters: &str, data: &Path) -> String {
    let mut listeners = vec![("PLAINTEXT", ports[0])];
    listeners.extend(builder.listeners.iter().map(|(name, _)| name.as_str()).zip(ports[2..].iter().copied()));
    let all = |port: &dyn Fn(&str, u16) -> u16| {
        let listener = |(name, own): &(&str, u16)| format!("{name}://127.0.0.1:{}", port(name, *own));
        listeners.iter().map(listener).collect::<Vec<_>>().join(",")
    };
    let (bound, advertised) = (all(&|_, own| own), all(&|name, own| builder.told(name, id).unwrap_or(own)));
    let mut map = vec!["PLAINTEXT:PLAINTEXT".to_owned(), "CONTROLLER:PLAINTEXT".to_owned()];
    map.extend(builder.listeners.iter().map(|(name, protocol)| format!("{name}:{protocol}")));
    let mut all = defaults(builder.brokers);
    all.extend([
        ("process.roles".to_owned(), "broker,controller".to_owned()),
        ("node.id".to_owned(), id.to_string()),
        ("controller.quorum.voters".to_owned(), voters.to_owned()),
        ("listeners".to_owned(), format!("{bound},CONTROLLER://127.0.0.1:{}", ports[1])),
        ("advertised.listeners".to_owned(), advertised),
        ("controller.listener.names".to_owned(), "CONTROLLER".to_owned()),
        ("listener.security.protocol.map".to_owned(), map.join(",")),
        ("log.dirs".to_owned(), data.display().to_string()),
    ]);
    all.extend(builder.all_properties());
    all.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

/// Settings that make a test cluster quick; none changes what a client sees of a healthy broker.
pub(crate) fn defaults(brokers: usize) -> std::collections::BTreeMap<String, String> {
    let replicas = brokers.min(3).to_string();
    [
        ("offsets.topic.replication.factor", replicas.as_str()),
        ("offsets.topic.num.partitions", "4"),
        ("transaction.state.log.replication.factor", &replicas),
        ("transaction.state.log.min.isr", "1"),
        ("transaction.state.log.num.partitions", "2"),
        ("share.coordinator.state.topic.replication.factor", &replicas),
        ("share.coordinator.state.topic.min.isr", "1"),
        ("share.coordinator.state.topic.num.partitions", "2"),
        ("group.initial.rebalance.delay.ms", "0"),
        ("group.min.session.timeout.ms", "1000"),
        ("auto.create.topics.enable", "false"),
        ("default.replication.factor", &replicas),
        // Pre-allocating indexes of 10 MiB per partition would fill a test machine's disk.
        ("log.index.size.max.bytes", "1048576"),
        ("num.network.threads", "2"),
        ("num.io.threads", "4"),
        ("log.cleaner.dedupe.buffer.size", "16777216"),
        // A lone broker on a starved machine must not be taken for dead: there is none to take over.
        ("broker.session.timeout.ms", if brokers == 1 { "20000" } else { "9000" }),
        ("controlled.shutdown.enable", "true"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// A KRaft directory id: 16 bytes in unpadded base64url; unique per node is enough.
fn directory_id(id: i32) -> String {
    format!("dispatcherTestDir{id:03}AA")
}

/// A fresh directory for a cluster's data, configuration and logs.
pub(crate) fn temp_dir() -> io::Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = crate::shared::base_dir()?.join(format!("{}-{next}", std::process::id()));
    // Left over from an earlier process of the same pid.
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

pub(crate) fn failed(error: io::Error) -> Unavailable {
    Unavailable::Failed(error.to_string())
}
