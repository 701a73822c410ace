//! One look at the cluster: which groups there are, and each with its partitions.

use futures_util::stream::{self, StreamExt as _};

use crate::{Dispatcher, GroupDescription, Result};

/// Groups that are asked about at once.
const AT_ONCE: usize = 8;

/// A group as it was seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// In Kafka's spelling.
    pub(super) state: String,
    pub(super) members: usize,
    /// By topic and number.
    pub(super) partitions: Vec<SeenPartition>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct SeenPartition {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) log_start: i64,
    pub(super) log_end: i64,
    pub(super) committed: Option<i64>,
    pub(super) lag: i64,
    pub(super) owner: Option<Owner>,
    /// Whether messages above the committed offset are handled already.
    pub(super) finished_ahead: bool,
    /// Until when the message at the committed offset waits for its delay, as its owner says.
    pub(super) waits_until_ms: Option<i64>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Owner {
    pub(super) member_id: String,
    pub(super) client_id: String,
    pub(super) host: String,
}

/// Looks once: at these groups, or at all consumer groups. A group that could not be looked at comes with the reason.
pub(super) async fn look(
    dispatcher: &Dispatcher,
    only: &[String],
) -> Result<Vec<(String, std::result::Result<Seen, String>)>> {
    let names: Vec<String> = if only.is_empty() {
        // Groups that only ever committed have no protocol.
        let consumers = |protocol: &str| matches!(protocol, "consumer" | "");
        let all = dispatcher.groups().await?;
        all.iter().filter(|g| consumers(g.protocol())).map(|g| g.group().to_owned()).collect()
    } else {
        only.to_vec()
    };
    let one = |name: String| async move {
        let seen = dispatcher.describe_group(&name).await.map(|group| Seen::new(&group)).map_err(|e| e.to_string());
        (name, seen)
    };
    Ok(stream::iter(names).map(one).buffer_unordered(AT_ONCE).collect().await)
}

impl Seen {
    fn new(group: &GroupDescription) -> Self {
        let owner = |id: &str| {
            let member = group.members().iter().find(|m| m.member_id() == id)?;
            let (client_id, host) = (member.client_id().to_owned(), member.host().to_owned());
            Some(Owner { member_id: id.to_owned(), client_id, host })
        };
        let of_topic = |topic: &crate::TopicProgress| {
            let seen = |p: &crate::PartitionStatus| SeenPartition {
                topic: topic.topic().to_owned(),
                partition: p.partition(),
                log_start: p.log_start(),
                log_end: p.log_end(),
                committed: p.committed(),
                // A message that is committed may be counted before the log's end is.
                lag: p.lag().unwrap_or(0).max(0),
                owner: p.member_id().and_then(owner),
                finished_ahead: !p.finished_ahead().is_empty(),
                waits_until_ms: p.waits_until_ms(),
            };
            topic.partitions().iter().map(seen).collect::<Vec<_>>()
        };
        let partitions = group.topics().iter().flat_map(of_topic).collect();
        Self { state: group.state().to_owned(), members: group.members().len(), partitions }
    }
}
