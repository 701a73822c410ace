//! The settings that a topic can have under Kafka's names: defaults, types, and what values are possible, as Kafka 4.2
//! has them.

/// A setting of topics.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// A broker's.
    pub(super) default: &'static str,
    pub(super) kind: Kind,
}

/// What a setting's values are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Boolean,
    /// A feature that is not there: it cannot be switched on.
    Off,
    /// One of these.
    Text(&'static [&'static str]),
    /// Not below the first number, not above the second.
    Int(i32, i32),
    /// Not below this.
    Long(i64),
    /// From 0 to 1.
    Ratio,
    /// Any of these, separated by commas; `None`: whatever.
    List(Option<&'static [&'static str]>),
}

impl Kind {
    /// Its number in DescribeConfigs.
    pub(super) fn code(self) -> i8 {
        match self {
            Self::Boolean | Self::Off => 1,
            Self::Text(_) => 2,
            Self::Int(..) => 3,
            Self::Long(_) => 5,
            Self::Ratio => 6,
            Self::List(_) => 7,
        }
    }

    fn allows(self, value: &str) -> bool {
        match self {
            Self::Boolean => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
            Self::Off => value.eq_ignore_ascii_case("false"),
            Self::Text(all) => all.contains(&value),
            Self::Int(least, most) => value.parse().is_ok_and(|n| (least..=most).contains(&n)),
            Self::Long(least) => value.parse::<i64>().is_ok_and(|n| n >= least),
            Self::Ratio => value.parse().is_ok_and(|n| (0.0..=1.0).contains(&n)),
            Self::List(all) => items(value).all(|item| all.is_none_or(|all| all.contains(&item))),
        }
    }
}

/// The items of a list.
pub(super) fn items(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

const fn setting(name: &'static str, default: &'static str, kind: Kind) -> Setting {
    Setting { name, default, kind }
}

const MAX: i32 = i32::MAX;

/// All of them, by name.
pub(super) const TOPIC_CONFIGS: &[Setting] = &[
    setting("cleanup.policy", "delete", Kind::List(Some(&["compact", "delete"]))),
    setting("compression.gzip.level", "-1", Kind::Int(-1, 9)),
    setting("compression.lz4.level", "9", Kind::Int(1, 17)),
    setting("compression.type", "producer", Kind::Text(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"])),
    setting("compression.zstd.level", "3", Kind::Int(-131_072, 22)),
    setting("delete.retention.ms", "86400000", Kind::Long(0)),
    setting("file.delete.delay.ms", "60000", Kind::Long(0)),
    setting("flush.messages", "9223372036854775807", Kind::Long(1)),
    setting("flush.ms", "9223372036854775807", Kind::Long(0)),
    setting("follower.replication.throttled.replicas", "", Kind::List(None)),
    setting("index.interval.bytes", "4096", Kind::Int(0, MAX)),
    setting("leader.replication.throttled.replicas", "", Kind::List(None)),
    setting("local.retention.bytes", "-2", Kind::Long(-2)),
    setting("local.retention.ms", "-2", Kind::Long(-2)),
    setting("max.compaction.lag.ms", "9223372036854775807", Kind::Long(1)),
    setting("max.message.bytes", "1048588", Kind::Int(0, MAX)),
    setting("message.timestamp.after.max.ms", "3600000", Kind::Long(0)),
    setting("message.timestamp.before.max.ms", "9223372036854775807", Kind::Long(0)),
    setting("message.timestamp.type", "CreateTime", Kind::Text(&["CreateTime", "LogAppendTime"])),
    setting("min.cleanable.dirty.ratio", "0.5", Kind::Ratio),
    setting("min.compaction.lag.ms", "0", Kind::Long(0)),
    setting("min.insync.replicas", "1", Kind::Int(1, MAX)),
    setting("preallocate", "false", Kind::Boolean),
    setting("remote.log.copy.disable", "false", Kind::Boolean),
    setting("remote.log.delete.on.disable", "false", Kind::Boolean),
    setting("remote.storage.enable", "false", Kind::Off),
    setting("retention.bytes", "-1", Kind::Long(i64::MIN)),
    setting("retention.ms", "604800000", Kind::Long(-1)),
    setting("segment.bytes", "1073741824", Kind::Int(1 << 20, MAX)),
    setting("segment.index.bytes", "10485760", Kind::Int(4, MAX)),
    setting("segment.jitter.ms", "0", Kind::Long(0)),
    setting("segment.ms", "604800000", Kind::Long(1)),
    setting("unclean.leader.election.enable", "false", Kind::Boolean),
];

/// The setting of that name.
pub(super) fn setting_named(name: &str) -> Option<&'static Setting> {
    TOPIC_CONFIGS.binary_search_by_key(&name, |s| s.name).ok().map(|at| &TOPIC_CONFIGS[at])
}

/// Whether a topic may have this setting, and what is wrong if not.
pub(super) fn check_config(name: &str, value: &str) -> Result<(), String> {
    let Some(setting) = setting_named(name) else { return Err(format!("Unknown topic config name: {name}")) };
    if setting.kind.allows(value.trim()) {
        Ok(())
    } else {
        Err(format!("Invalid value {value} for configuration {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_sorted_and_their_defaults_possible() {
        assert!(TOPIC_CONFIGS.is_sorted_by_key(|s| s.name));
        for s in TOPIC_CONFIGS {
            assert_eq!(check_config(s.name, s.default), Ok(()));
        }
        assert!(check_config("retention.ms", "soon").is_err() && check_config("nonsense", "1").is_err());
    }
}
