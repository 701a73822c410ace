//! Apache Kafka's jars: brought by Maven once per version into a cache directory, together with the metadata that
//! `StorageTool format` writes, so that starting a broker needs no JVM run for formatting, and with an archive of Kafka's
//! loaded classes, which spares a broker's start a third of its CPU time. Safe under many test binaries at once: a lock
//! file per version, and a directory that appears by one rename.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Unavailable;

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka-jars</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>@VERSION@</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>@VERSION@</version>
      <exclusions><exclusion><groupId>org.slf4j</groupId><artifactId>slf4j-reload4j</artifactId></exclusion></exclusions></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.3</version></dependency>
  </dependencies>
</project>
"#;

const LOG4J: &str = "status=error
rootLogger.level=info
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.target=SYSTEM_ERR
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c{1} %m%n
";

/// One version's cache directory: `libs/*.jar`, `bootstrap.checkpoint`, `log4j2.properties`.
#[derive(Debug, Clone)]
pub(crate) struct Jars {
    dir: PathBuf,
}

impl Jars {
    /// The jars of `version`, fetched if they are not in the cache.
    pub(crate) fn obtain(version: &str) -> Result<Self, Unavailable> {
        if !runs("java", "-version") {
            return Err(Unavailable::Missing(
                "start a Docker daemon, or install Java 17 or newer and Maven, or name a cluster in KAFKA_BROKERS"
                    .into(),
            ));
        }
        let cache = cache_dir();
        let dir = cache.join(version);
        let jars = Self { dir: dir.clone() };
        if dir.is_dir() {
            return Ok(jars);
        }
        let failed = |what: &str, e: io::Error| Unavailable::Missing(format!("{what} in {}: {e}", cache.display()));
        fs::create_dir_all(&cache).map_err(|e| failed("cannot make the cache directory", e))?;
        let lock = File::create(cache.join("maven.lock")).map_err(|e| failed("cannot make a lock", e))?;
        lock.lock().map_err(|e| failed("cannot lock", e))?;
        if dir.is_dir() {
            return Ok(jars);
        }
        let staging = cache.join(format!("{version}.{}", std::process::id()));
        let fetched = fetch(version, &staging)
            .and_then(|()| fs::rename(&staging, &dir).map_err(|e| failed("cannot put the jars in place", e)));
        if fetched.is_err() {
            let _ = fs::remove_dir_all(&staging);
        }
        fetched?;
        if cfg!(unix) {
            jars.write_archive();
        }
        Ok(jars)
    }

    /// Class path, Kafka's log to stderr at info, and the class archive if there is one.
    pub(crate) fn java_options(&self) -> Vec<String> {
        let mut options = vec![
            format!("-Dlog4j2.configurationFile={}", self.dir.join("log4j2.properties").display()),
            "-cp".to_owned(),
            format!("{}/libs/*", self.dir.display()),
        ];
        if self.archive().is_file() {
            // An archive that another Java wrote is passed over with a warning; be silent about it.
            options.insert(0, format!("-XX:SharedArchiveFile={}", self.archive().display()));
            options.insert(0, "-Xlog:cds=off".to_owned());
        }
        options
    }

    fn archive(&self) -> PathBuf {
        self.dir.join("classes.jsa")
    }

    /// Runs a broker once and keeps what classes it loaded. Done in place, because the archive holds the jars' paths;
    /// without it everything works, only slower.
    fn write_archive(&self) {
        let archiving = format!("-XX:ArchiveClassesAtExit={}", self.dir.join("classes.tmp").display());
        let builder = crate::Kafka::builder();
        let Ok(dir) = crate::cluster::temp_dir() else { return };
        if let Ok(kafka) = crate::Kafka::prepare(&builder, self.clone(), dir.clone()) {
            let broker = kafka.broker(0);
            if broker.spawn_with(&[&archiving]).is_ok() && kafka.wait_ready(Duration::from_secs(60)).is_ok() {
                broker.stop();
            }
            broker.kill();
            let _ = fs::rename(self.dir.join("classes.tmp"), self.archive());
        }
        let _ = fs::remove_dir_all(dir);
    }

    /// What `StorageTool format` writes beside `meta.properties`; depends on nothing but the version.
    pub(crate) fn bootstrap_checkpoint(&self) -> PathBuf {
        self.dir.join("bootstrap.checkpoint")
    }
}

fn cache_dir() -> PathBuf {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .filter(|base| fs::create_dir_all(base).is_ok())
        .unwrap_or_else(env::temp_dir);
    base.join("dispatcher-testcontainers")
}

fn fetch(version: &str, staging: &Path) -> Result<(), Unavailable> {
    if !runs("mvn", "-v") {
        return Err(Unavailable::Missing(
            "start a Docker daemon, or install Maven, which brings Kafka's jars, or name a cluster in KAFKA_BROKERS"
                .into(),
        ));
    }
    let io = |e: io::Error| Unavailable::Missing(format!("cannot write {}: {e}", staging.display()));
    let libs = staging.join("libs");
    fs::create_dir_all(&libs).map_err(io)?;
    let pom = staging.join("pom.xml");
    fs::write(&pom, POM.replace("@VERSION@", version)).map_err(io)?;
    fs::write(staging.join("log4j2.properties"), LOG4J).map_err(io)?;
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "dependency:copy-dependencies", "-f"]).arg(&pom);
    maven.arg(format!("-DoutputDirectory={}", libs.display()));
    run(maven, "Maven could not bring Kafka's jars (is its repository reachable?)")?;
    // Two bindings of slf4j make every tool print warnings: keep the one whose configuration is ours.
    for entry in fs::read_dir(&libs).map_err(io)?.flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("slf4j-reload4j") {
            let _ = fs::remove_file(entry.path());
        }
    }
    format(staging)
}

/// Lets Kafka format a directory once and keeps what is the same for every cluster.
fn format(staging: &Path) -> Result<(), Unavailable> {
    let io = |e: io::Error| Unavailable::Missing(format!("cannot write {}: {e}", staging.display()));
    let (data, config) = (staging.join("format"), staging.join("format.properties"));
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:19093\n\
         listeners=PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093\n\
         controller.listener.names=CONTROLLER\nlog.dirs={}\n",
        data.display()
    );
    fs::write(&config, text).map_err(io)?;
    let jars = Jars { dir: staging.to_owned() };
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-XX:TieredStopAtLevel=1"]).args(jars.java_options());
    java.args(["kafka.tools.StorageTool", "format", "-t", crate::cluster::CLUSTER_ID, "-c"]).arg(&config);
    run(java, "Kafka's StorageTool could not format (is this Java 17 or newer?)")?;
    fs::rename(data.join("bootstrap.checkpoint"), jars.bootstrap_checkpoint()).map_err(io)?;
    let _ = fs::remove_dir_all(&data);
    fs::remove_file(&config).map_err(io)
}

fn run(mut command: Command, otherwise: &str) -> Result<(), Unavailable> {
    let output = command.stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Err(Unavailable::Missing(format!("{otherwise}: {}", String::from_utf8_lossy(&text).trim())))
        }
        Err(e) => Err(Unavailable::Missing(format!("{otherwise}: {e}"))),
    }
}

fn runs(program: &str, argument: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
