//! Entrances for `crate::bench`: what a commit costs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::classic::Token;
use super::commit::Commits;
use super::types::{CommitOffset, Generation};
use crate::client::types::TopicPartition;
use crate::env::Env;
use crate::wire::ErrorCode;

/// One commit of so many partitions: taken in, sent, answered, told.
pub(crate) fn commits(partitions: u32) -> Box<dyn FnMut() -> Box<dyn FnOnce()>> {
    let now = Env::system().now();
    let topic: Arc<str> = "orders".into();
    let all: Vec<_> = (0..partitions as i32).map(|n| TopicPartition::new(topic.clone(), n)).collect();
    Box::new(move || {
        let mut commits = Commits::new(Duration::from_secs(30), true, 7);
        let offset = CommitOffset { offset: 1_000, leader_epoch: 3, metadata: String::new() };
        let offsets: Vec<_> = all.iter().map(|tp| (tp.clone(), offset.clone())).collect();
        let answer: BTreeMap<_, _> = all.iter().map(|tp| (tp.clone(), ErrorCode::NONE)).collect();
        let generation = Generation { id: 1, member_id: "member".into() };
        Box::new(move || {
            commits.submit(offsets, |_| true, now);
            let request = commits.poll_send(Some(generation), Some(Token(1)), now).expect("a request");
            assert_eq!(commits.answered(request.id, Ok(answer), now), super::commit::Tidings::default());
            assert!(commits.poll_done().is_some());
        })
    })
}
