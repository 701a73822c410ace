//! Where rskafka's backend does not do as the native one: the one table, from which README's is checked.

/// Something that differs.
#[derive(Debug)]
pub(super) struct Difference {
    /// What happens with rskafka's partition clients, as README has it.
    pub(super) what: &'static str,
    /// What to do about it, likewise.
    pub(super) remedy: &'static str,
    /// What of it the suite sees.
    pub(super) lines: &'static [Line],
}

/// One line of the transcripts.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) asked: &'static str,
    pub(super) native: &'static str,
    pub(super) rskafka: &'static str,
    /// Seen only where faults can be made.
    pub(super) faults: bool,
}

const fn line(asked: &'static str, native: &'static str, rskafka: &'static str) -> Line {
    Line { asked, native, rskafka, faults: false }
}

const fn fault(asked: &'static str, native: &'static str, rskafka: &'static str) -> Line {
    Line { asked, native, rskafka, faults: true }
}

/// All of them.
pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        what: "A TCP connection for each partition that is written, and one for each that is read; 512 at most, beyond which partitions take turns",
        remedy: "`Native` has three per broker",
        lines: &[fault("connections that 9 partitions of 3 brokers are written over", "3", "9")],
    },
    Difference {
        what: "No idempotence: a batch whose answer is lost or late is in the log twice, and one whose answer comes with a throttle time (quotas) as often as that happens: under a lasting quota it may never be acknowledged",
        remedy: "handlers that bear doubles, and `Native` where there are quotas",
        lines: &[
            fault("the answer is lost: in the log", "1 times", "2 times"),
            fault("throttled: in the log", "1 times", "2 times"),
        ],
    },
    Difference {
        what: "Headers are a map: they come back sorted by name, of a repeated name the last one, and a repeated name or a header without a value cannot be sent (`NotWritten`, the batch's other messages are)",
        remedy: "distinct names, with values",
        lines: &[
            line("headers, read", "0 -=h a:1 b: T0+0; 1 -=h z:1 a:2 T0+0; ", "0 -=h a:1 b: T0+0; 1 -=h a:2 z:1 T0+0; "),
            line("a header twice", "at Some(2)", "NotWritten"),
            line("a header without a value, and its neighbours", "at, at, at, at", "at, at, NotWritten, at"),
            line("a header twice, read", "0 other z:1 a:2 z:3; ", "0 other a:2 z:3; "),
        ],
    },
    Difference {
        what: "A header without a value, or one whose name is not UTF-8, cannot be read: the subscription ends there with `CorruptBatch`, or passes the batch over with `on_bad_batch(Skip)`",
        remedy: "`Native` for such topics",
        lines: &[
            line(
                "headers without a value, read",
                "0 -=v0 T0+0; 1 -=v1 T0+0; 2 -=other a:1 n:null; 3 -=v0 T0+0; ",
                "0 -=v0 T0+0; 1 -=v1 T0+0; BadBatch { offset: 2 }",
            ),
            line(
                "headers without a value, passed over where that is wanted",
                "0 -=v0 T0+0; 1 -=v1 T0+0; 2 -=other a:1 n:null; 3 -=v0 T0+0; ",
                "0 -=v0 T0+0; 1 -=v1 T0+0; notice; 3 -=v0 T0+0; ",
            ),
        ],
    },
    Difference {
        what: "Neither TLS nor SASL: as settings they are refused",
        remedy: "`Native` for such clusters",
        lines: &[
            line("TLS, as a setting", "taken", "InvalidConfig"),
            line("SASL, as a setting", "taken", "InvalidConfig"),
        ],
    },
    Difference {
        what: "No LZ4 and no zstd, for which rskafka needs C, and gzip at level 6 only: as settings, for all topics or for one, they are refused, and a batch in LZ4 or zstd ends the subscription likewise",
        remedy: "gzip, snappy, or none",
        lines: &[
            line("LZ4, as a setting", "taken", "InvalidConfig"),
            line("zstd, as a setting", "taken", "InvalidConfig"),
            line("LZ4 for one topic, as a setting", "taken", "InvalidConfig"),
            line("gzip at level 1, as a setting", "taken", "InvalidConfig"),
            line(
                "LZ4, read",
                "0 -=v0 T0+0; 1 -=v1 T0+0; 2 -=1000 bytes; 3 -=v0 T0+0; ",
                "0 -=v0 T0+0; 1 -=v1 T0+0; BadBatch { offset: 2 }",
            ),
            line(
                "LZ4, passed over where that is wanted",
                "0 -=v0 T0+0; 1 -=v1 T0+0; 2 -=1000 bytes; 3 -=v0 T0+0; ",
                "0 -=v0 T0+0; 1 -=v1 T0+0; notice; 3 -=v0 T0+0; ",
            ),
            line(
                "zstd, read",
                "0 -=v0 T0+0; 1 -=v1 T0+0; 2 -=1000 bytes; 3 -=v0 T0+0; ",
                "0 -=v0 T0+0; 1 -=v1 T0+0; BadBatch { offset: 2 }",
            ),
            line(
                "zstd, passed over where that is wanted",
                "0 -=v0 T0+0; 1 -=v1 T0+0; 2 -=1000 bytes; 3 -=v0 T0+0; ",
                "0 -=v0 T0+0; 1 -=v1 T0+0; notice; 3 -=v0 T0+0; ",
            ),
        ],
    },
    Difference {
        what: "What a batch becomes when it is decompressed has no cap, so that `max_decompressed_size` is refused",
        remedy: "`Native` where writers are not trusted",
        lines: &[line("a cap on what a batch becomes, as a setting", "taken", "InvalidConfig")],
    },
    Difference {
        what: "Topics written in transactions cannot be read: the subscription ends at the first batch that shows it, before which messages of an aborted transaction may have come",
        remedy: "`Native` for such topics",
        lines: &[line(
            "a topic that was written in a transaction",
            "0 -=v0 T0+0; 1 -=in one T0+0; 2 -=in two T0+0; 4 -=v0 T0+0; ",
            "0 -=v0 T0+0; BadBatch { offset: 1 }",
        )],
    },
    Difference {
        what: "Nothing is read beyond the first open transaction, so that `ReadUncommitted` is refused",
        remedy: "`ReadCommitted`",
        lines: &[line(
            "an open transaction, read uncommitted",
            "0 -=v0 T0+0; 1 -=in one T0+0; 2 -=in two T0+0; ",
            "not within 3 s",
        )],
    },
    Difference {
        what: "Where brokers stamp messages (`LogAppendTime`), the time is the sender's all the same",
        remedy: "`Native` where it matters",
        lines: &[
            line("where brokers stamp records, the time acknowledged", "the broker's", "the sender's"),
            line("where brokers stamp records, the time read", "0 -=s; ", "0 -=s T0+0; "),
        ],
    },
    Difference {
        what: "Leader epochs are unknown: that a log was cut back in an unclean leader election is noticed only if it is shorter than what was read. Topics are known by name: of one that is deleted and made again, messages may come before that is noticed",
        remedy: "unclean elections off, as they are by default",
        lines: &[
            line("the leader's epoch", "known", "unknown"),
            line("the leader's epoch with an offset", "known", "unknown"),
        ],
    },
];
