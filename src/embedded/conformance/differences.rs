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
const OLD: &[&str] = &["3.9.1"];

const TEST_CLUSTER: &str =
    "the real brokers run with a smaller log.index.size.max.bytes, to spare test machines' disks";
const ELR: &str = "a Kafka cluster that began with 4.1 or later has min.insync.replicas set for all its brokers";
const OLD_DEFAULTS: &str = "topics' settings are those of Kafka 4.2, whichever release's versions are offered";
const OLD_COORDINATOR: &str = "Kafka 3.9's group coordinator is an older one than that which is imitated";

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
        on: OLD,
        scenario: "commits::simple",
        asked: "v9, a generation of an unknown group",
        embedded: "GROUP_ID_NOT_FOUND",
        kafka: "ILLEGAL_GENERATION",
        why: OLD_COORDINATOR,
    },
    Difference {
        on: OLD,
        scenario: "commits::simple",
        asked: "v9, generation 0 of an unknown group",
        embedded: "GROUP_ID_NOT_FOUND",
        kafka: "ILLEGAL_GENERATION",
        why: OLD_COORDINATOR,
    },
    Difference {
        on: OLD,
        scenario: "configs::defaults",
        asked: "v1, message.timestamp.after.max.ms",
        embedded: r#"Some("3600000") (5, false, false, 0, 0) Some("")"#,
        kafka: r#"Some("9223372036854775807") (5, false, false, 0, 0) Some("")"#,
        why: OLD_DEFAULTS,
    },
    Difference {
        on: OLD,
        scenario: "configs::defaults",
        asked: "v1, others",
        embedded: "",
        kafka: "message.downconversion.enable message.format.version message.timestamp.difference.max.ms",
        why: OLD_DEFAULTS,
    },
    Difference {
        on: OLD,
        scenario: "configs::defaults",
        asked: "v4, message.timestamp.after.max.ms",
        embedded: r#"Some("3600000") (5, false, false, 5, 0) None"#,
        kafka: r#"Some("9223372036854775807") (5, false, false, 5, 0) None"#,
        why: OLD_DEFAULTS,
    },
    Difference {
        on: OLD,
        scenario: "configs::defaults",
        asked: "v4, others",
        embedded: "",
        kafka: "message.downconversion.enable message.format.version message.timestamp.difference.max.ms",
        why: OLD_DEFAULTS,
    },
    Difference {
        on: OLD,
        scenario: "produce::times",
        asked: "default, in 2 hours",
        embedded: "INVALID_TIMESTAMP at -1 start 0 bad [0, 1] with a text",
        kafka: "NONE at 6 start 0 bad []",
        why: OLD_DEFAULTS,
    },
    Difference {
        on: OLD,
        scenario: "group_admin::states",
        asked: "preparing, DescribeGroups v0",
        embedded: r#"NONE text false ("PreparingRebalance", "consumer", "") ["A None conformance /127.0.0.1 (0, 4)", "B None conformance /127.0.0.1 (0, 0)"] 80000000"#,
        kafka: r#"NONE text false ("PreparingRebalance", "consumer", "") ["A None conformance /127.0.0.1 (0, 0)", "B None conformance /127.0.0.1 (0, 0)"] 80000000"#,
        why: OLD_COORDINATOR,
    },
    Difference {
        on: OLD,
        scenario: "group_admin::states",
        asked: "preparing, DescribeGroups v5",
        embedded: r#"NONE text false ("PreparingRebalance", "consumer", "") ["A None conformance /127.0.0.1 (0, 4)", "B None conformance /127.0.0.1 (0, 0)"] 80000000"#,
        kafka: r#"NONE text false ("PreparingRebalance", "consumer", "") ["A None conformance /127.0.0.1 (0, 0)", "B None conformance /127.0.0.1 (0, 0)"] 80000000"#,
        why: OLD_COORDINATOR,
    },
    Difference {
        on: OLD,
        scenario: "coordinators::wrong_coordinator",
        asked: "OffsetFetch v1",
        embedded: r#"NONE; committed (0, -1, -1, Some("")) NOT_COORDINATOR; committed (1, -1, -1, Some("")) NOT_COORDINATOR"#,
        kafka: "NONE",
        why: OLD_COORDINATOR,
    },
    Difference {
        on: OLD,
        scenario: "offsets::unknown",
        asked: "twice",
        embedded: "INVALID_REQUEST -1 time -1 epoch -1",
        kafka: "INVALID_REQUEST -1 time -1 epoch -1; INVALID_REQUEST -1 time -1 epoch -1",
        why: "Kafka 3.9 answers once for each mention",
    },
];
