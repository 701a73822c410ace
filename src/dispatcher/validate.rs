//! Kafka's limits on names, checked before anything is sent.

use crate::error::{Error, ErrorKind, Result};

fn bad(text: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, text)
}

/// Kafka's rule for topic names.
pub(crate) fn topic(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(bad("the topic name is empty: use 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'".into()));
    }
    if name.len() > 249 {
        let start: String = name.chars().take(40).collect();
        return Err(bad(format!("topic name {start:?}… has {} bytes: use at most 249", name.len())));
    }
    if name == "." || name == ".." {
        return Err(bad(format!("topic name {name:?} is reserved by Kafka: use another")));
    }
    match name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        Some(c) => Err(bad(format!("topic name {name:?} contains {c:?}: use only a-z, A-Z, 0-9, '.', '_' and '-'"))),
        None => Ok(()),
    }
}

/// A group id; it travels as a string of at most 32,767 bytes.
pub(crate) fn group(id: &str) -> Result<()> {
    if id.trim().is_empty() {
        return Err(bad("the group id is empty: name one".into()));
    }
    if id.len() > i16::MAX as usize {
        return Err(bad(format!("the group id has {} bytes: use at most 32,767", id.len())));
    }
    Ok(())
}

/// The Kafka group of a dispatcher group and topic: the suffix `:<topic>` of the Go dispatcher, added once.
pub(crate) fn group_of_topic(group: &str, topic: &str) -> String {
    match group.strip_suffix(topic) {
        Some(rest) if rest.ends_with(':') => group.to_owned(),
        _ => format!("{group}:{topic}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_names_follow_kafkas_rule() {
        for good in ["a", "orders.v1_x-Y", &"x".repeat(249), "..."] {
            topic(good).unwrap();
        }
        for (name, says) in [("", "empty"), (".", "reserved"), ("..", "reserved"), ("a b", "' '"), ("a/b", "'/'")] {
            let error = topic(name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains(says), "{error}");
        }
        assert!(topic(&"x".repeat(250)).unwrap_err().to_string().contains("at most 249"));
        assert!(topic("日本").is_err());
    }

    #[test]
    fn the_topic_is_added_to_a_group_once() {
        assert_eq!(group_of_topic("g", "T"), "g:T");
        assert_eq!(group_of_topic("g9:T", "T"), "g9:T");
        assert_eq!(group_of_topic("g9T", "T"), "g9T:T");
        assert_eq!(group_of_topic("T", "T"), "T:T");
    }

    #[test]
    fn group_ids_are_bounded() {
        assert!(group("g").is_ok() && group(" ").is_err() && group("").is_err());
        assert!(group(&"g".repeat(32_768)).unwrap_err().to_string().contains("32,767"));
    }
}
