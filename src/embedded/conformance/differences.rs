//! Where the embedded cluster does not answer as Kafka does, and why that is meant.

/// One answer that differs.
#[derive(Debug)]
pub(super) struct Difference {
    /// Kafka's versions.
    on: &'static [&'static str],
    scenario: &'static str,
    /// As the transcript has it.
    asked: &'static str,
    embedded: &'static str,
    kafka: &'static str,
    #[allow(dead_code, reason = "for readers, and for the message of a test that fails")]
    why: &'static str,
}

impl Difference {
    pub(super) fn is_of(&self, kafka: &str, scenario: &str) -> bool {
        self.scenario == scenario && self.on.contains(&kafka)
    }

    pub(super) fn is(&self, asked: &str, embedded: &str, kafka: &str) -> bool {
        (self.asked, self.embedded, self.kafka) == (asked, embedded, kafka)
    }

    pub(super) fn asked(&self) -> &str {
        self.asked
    }
}

const BOTH: &[&str] = &["4.2.0", "3.9.1"];
const NEW: &[&str] = &["4.2.0"];

const TEST_CLUSTER: &str = "the real brokers run with a smaller log.index.size.max.bytes, to spare test machines' disks";
const ELR: &str = "a Kafka cluster that began with 4.1 or later has min.insync.replicas set for all its brokers";
const GZIP: &str = "this crate cannot read gzip, so that the embedded cluster takes such batches unseen";

/// All of them.
pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        on: NEW,
        scenario: "configs::defaults",
        asked: "v1, min.insync.replicas",
        embedded: r#"Some("1") (5, false, false, 0, 0) Some("")"#,
        kafka: r#"Some("1") (3, false, false, 0, 0) Some("")"#,
        why: ELR,
    },
    Difference {
        on: NEW,
        scenario: "configs::defaults",
        asked: "v4, min.insync.replicas",
        embedded: r#"Some("1") (5, false, false, 3, 0) None"#,
        kafka: r#"Some("1") (3, false, false, 3, 0) None"#,
        why: ELR,
    },
    Difference {
        on: BOTH,
        scenario: "configs::defaults",
        asked: "v1, segment.index.bytes",
        embedded: r#"Some("10485760") (5, false, false, 0, 0) Some("")"#,
        kafka: r#"Some("1048576") (4, false, false, 0, 0) Some("")"#,
        why: TEST_CLUSTER,
    },
    Difference {
        on: BOTH,
        scenario: "configs::defaults",
        asked: "v4, segment.index.bytes",
        embedded: r#"Some("10485760") (5, false, false, 3, 0) None"#,
        kafka: r#"Some("1048576") (4, false, false, 3, 0) None"#,
        why: TEST_CLUSTER,
    },
    Difference {
        on: BOTH,
        scenario: "produce::refused",
        asked: "not gzip",
        embedded: "NONE at 11 start 0 bad []",
        kafka: "UNKNOWN_SERVER_ERROR at -1 start 0 bad []",
        why: GZIP,
    },
];
