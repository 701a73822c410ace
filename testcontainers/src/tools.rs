//! Kafka's own command-line tools, run from the same jars or container as the brokers: the second opinion in tests.

use std::io;
use std::process::{Command, Output, Stdio};

use crate::Unavailable;
use crate::jars::Jars;

/// Runs Kafka's tools by their class names.
#[derive(Debug, Clone)]
pub struct Tools {
    runner: Runner,
}

#[derive(Debug, Clone)]
enum Runner {
    Java(Jars),
    Docker { container: String },
    None,
}

impl Tools {
    /// The tools of this version (`4.2.0`) on this machine, for a broker that is not one of ours.
    ///
    /// # Errors
    /// [`Unavailable::Missing`] without Java or Maven.
    pub fn of_version(version: &str) -> Result<Self, Unavailable> {
        Jars::obtain(version).map(Self::java)
    }

    pub(crate) fn java(jars: Jars) -> Self {
        Self { runner: Runner::Java(jars) }
    }

    pub(crate) fn docker(container: String) -> Self {
        Self { runner: Runner::Docker { container } }
    }

    pub(crate) fn none() -> Self {
        Self { runner: Runner::None }
    }

    /// The command that runs `class`, for callers that stream its output.
    ///
    /// # Errors
    /// `NotFound` when this machine has neither Kafka's jars nor a container: the cluster is one of `KAFKA_BROKERS`.
    pub fn command(&self, class: &str) -> io::Result<Command> {
        match &self.runner {
            Runner::Java(jars) => {
                let mut java = Command::new("java");
                java.args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
                java.args(jars.java_options()).arg(class);
                Ok(java)
            }
            Runner::Docker { container } => {
                let mut docker = Command::new("docker");
                docker.args(["exec", "-i", container, "/opt/kafka/bin/kafka-run-class.sh", class]);
                Ok(docker)
            }
            Runner::None => Err(io::Error::new(io::ErrorKind::NotFound, "Kafka's tools need Java and Maven here")),
        }
    }

    /// Runs `class`, for example `org.apache.kafka.tools.ConsumerGroupCommand`, to its end.
    ///
    /// # Errors
    /// What starting the process gives. Whether the tool succeeded is in the output's status.
    pub fn run(&self, class: &str, args: &[&str]) -> io::Result<Output> {
        self.command(class)?.args(args).stdin(Stdio::null()).output()
    }
}
