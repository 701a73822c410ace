//! The same cluster from `apache/kafka` images, when a Docker daemon runs. One container per broker on a network of its
//! own; the client listener is published on the loopback interface under the same port.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::broker::{Broker, Runtime, docker};
use crate::builder::Builder;
use crate::cluster::{CLUSTER_ID, Kafka, defaults, failed, temp_dir};
use crate::tools::Tools;
use crate::{Unavailable, keeper, net};

const DATA: &str = "/tmp/kafka-data";
/// Pulling an image may be part of the first start.
const READY: Duration = Duration::from_secs(120);

/// Whether a daemon answers within 3 s.
pub(crate) fn running() -> bool {
    let mut command = Command::new("docker");
    command.arg("info").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}

pub(crate) fn start(builder: &Builder) -> Result<Kafka, Unavailable> {
    let missing = |e: std::io::Error| Unavailable::Missing(format!("Docker could not start apache/kafka: {e}"));
    let dir = temp_dir().map_err(failed)?;
    let name = format!("dispatcher-kafka-{}", dir.file_name().unwrap_or_default().to_string_lossy());
    // The names are known to the keeper before the things exist.
    std::fs::write(dir.join("cluster.network"), &name).map_err(failed)?;
    for id in 1..=builder.brokers {
        std::fs::write(dir.join(format!("{id}.container")), format!("{name}-{id}")).map_err(failed)?;
    }
    let owner = keeper::owned(&dir).map_err(missing)?;
    let mut kafka = Kafka {
        brokers: Vec::new(),
        tools: Tools::docker(format!("{name}-1")),
        version: builder.version.clone(),
        dir: dir.clone(),
        keeper: Some(owner),
    };
    docker(&["network", "create", &name]).map_err(missing)?;
    let per_broker = 1 + builder.listeners.len();
    let ports = net::free_ports(builder.brokers * per_broker).map_err(failed)?;
    for (ports, id) in ports.chunks(per_broker).zip(1i32..) {
        let container = format!("{name}-{id}");
        let mut args = vec!["run".to_owned(), "-d".into(), "--name".into(), container.clone()];
        args.extend(["--network".into(), name.clone(), "--hostname".into(), container.clone()]);
        for port in ports {
            args.extend(["-p".into(), format!("127.0.0.1:{port}:{port}")]);
        }
        for (key, value) in environment(builder, &name, id, ports) {
            args.extend(["-e".into(), format!("{key}={value}")]);
        }
        args.push(format!("apache/kafka:{}", builder.version));
        docker(&args.iter().map(String::as_str).collect::<Vec<_>>()).map_err(missing)?;
        let listeners = builder.listeners.iter().zip(&ports[1..]);
        kafka.brokers.push(Broker {
            id,
            address: format!("127.0.0.1:{}", ports[0]),
            inside: format!("{container}:9094"),
            listeners: listeners.map(|((name, _), port)| (name.clone(), format!("127.0.0.1:{port}"))).collect(),
            log_path: dir.join(format!("{id}.log")),
            data_dir: DATA.into(),
            runtime: Runtime::Docker { container },
        });
    }
    kafka.wait_ready(READY)?;
    kafka.make_users(builder)?;
    Ok(kafka)
}

/// The image takes properties as variables: `KAFKA_` + upper case, `.` → `_`, `_` → `__`, `-` → `___`.
fn environment(builder: &Builder, cluster: &str, id: i32, ports: &[u16]) -> Vec<(String, String)> {
    let voters: Vec<_> = (1..=builder.brokers).map(|id| format!("{id}@{cluster}-{id}:9093")).collect();
    let mut outside = vec![("PLAINTEXT", ports[0])];
    outside.extend(builder.listeners.iter().map(|(name, _)| name.as_str()).zip(ports[1..].iter().copied()));
    let join = |host: &str, port: &dyn Fn(&str, u16) -> u16| {
        outside.iter().map(|(n, own)| format!("{n}://{host}:{}", port(n, *own))).collect::<Vec<_>>().join(",")
    };
    let (bound, told) =
        (join("0.0.0.0", &|_, own| own), join("127.0.0.1", &|n, own| builder.told(n, id).unwrap_or(own)));
    let mut map = "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
    for (name, protocol) in &builder.listeners {
        map.push_str(&format!(",{name}:{protocol}"));
    }
    let mut all = defaults(builder.brokers);
    let pairs = [
        ("process.roles", "broker,controller".to_owned()),
        ("node.id", id.to_string()),
        ("controller.quorum.voters", voters.join(",")),
        ("listeners", format!("{bound},INTERNAL://:9094,CONTROLLER://:9093")),
        ("advertised.listeners", format!("{told},INTERNAL://{cluster}-{id}:9094")),
        ("inter.broker.listener.name", "INTERNAL".to_owned()),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("listener.security.protocol.map", map),
        ("log.dirs", DATA.to_owned()),
    ];
    all.extend(pairs.map(|(key, value)| (key.to_owned(), value)));
    all.extend(builder.all_properties());
    let mut variables: Vec<_> = all.iter().map(|(key, value)| (variable(key), value.clone())).collect();
    variables.push(("CLUSTER_ID".into(), CLUSTER_ID.into()));
    variables.push(("KAFKA_HEAP_OPTS".into(), format!("-Xmx{}", builder.heap)));
    variables
}

fn variable(property: &str) -> String {
    let mut name = "KAFKA_".to_owned();
    for c in property.chars() {
        match c {
            '.' => name.push('_'),
            '_' => name.push_str("__"),
            '-' => name.push_str("___"),
            c => name.push(c.to_ascii_uppercase()),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_become_the_variables_the_image_reads() {
        assert_eq!(variable("offsets.topic.num.partitions"), "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS");
        assert_eq!(variable("a_b-c"), "KAFKA_A__B___C");
    }

    #[test]
    fn brokers_reach_each_other_inside_and_clients_outside() {
        let builder = Kafka::builder().brokers(2).listener("TLS", "SSL");
        let all: std::collections::BTreeMap<_, _> =
            environment(&builder, "c", 2, &[13000, 13001]).into_iter().collect();
        assert_eq!(all["KAFKA_CONTROLLER_QUORUM_VOTERS"], "1@c-1:9093,2@c-2:9093");
        assert_eq!(
            all["KAFKA_ADVERTISED_LISTENERS"],
            "PLAINTEXT://127.0.0.1:13000,TLS://127.0.0.1:13001,INTERNAL://c-2:9094"
        );
    }
}
