//! Groups shared with Kafka's Java consumer.

use std::process::{Child, Stdio};

use super::*;

struct Java(Child);

impl Java {
    /// A console consumer with Java's default assignors, `range` first.
    fn consume(kafka: &SharedKafka, topic: &str, group: &str) -> Self {
        let mut command = kafka.tools().command("org.apache.kafka.tools.consumer.ConsoleConsumer").unwrap();
        command.args(["--bootstrap-server", kafka.bootstrap(), "--topic", topic, "--group", group]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Java {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_shared_with_java_consumers_whoever_leads() {
    let Some(kafka) = tokio::task::block_in_place(kafka) else { return };
    let cluster = cluster(kafka).await;
    let (topic, group) = (unique("t"), unique("g"));
    create_topic(&cluster, &topic, 4).await;
    let owners = Arc::new(Owners::default());
    let first = Member::start(&cluster, config(&group, &[&topic]), 0, &owners);
    owners.settle(&[(0, 4)]).await;
    let _java = Java::consume(kafka, &topic, &group);
    owners.settle(&[(0, 2)]).await;
    // Now Java leads alone, and then leads us.
    first.leave().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let second = Member::start(&cluster, config(&group, &[&topic]), 1, &owners);
    owners.settle(&[(1, 2)]).await;
    second.leave().await;
}
