//! Which broker coordinates a group: asked once, by one caller for all, until somebody finds that it has moved.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::core::Core;
use super::retrying::retrying;
use crate::client::topology::BrokerMeta;
use crate::env::lock;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::ErrorCode;
use crate::wire::messages::FindCoordinatorRequest;

/// From this version on a request names several keys.
const BATCHED: i16 = 4;

/// Whether an error of a group request means that another broker may be the coordinator now.
pub(super) fn has_moved(error: &Error) -> bool {
    match error.code() {
        Some(code) => matches!(code, ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE),
        None => matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout),
    }
}

#[derive(Default)]
pub(super) struct Coordinators(Mutex<BTreeMap<String, Arc<Slot>>>);

#[derive(Default)]
struct Slot {
    known: Mutex<Option<i32>>,
    asking: tokio::sync::Mutex<()>,
}

impl Coordinators {
    fn slot(&self, group: &str) -> Arc<Slot> {
        let mut slots = lock(&self.0);
        match slots.get(group) {
            Some(slot) => slot.clone(),
            None => slots.entry(group.to_owned()).or_default().clone(),
        }
    }

    pub(super) fn forget(&self, group: &str, broker: i32) {
        let slot = lock(&self.0).get(group).cloned();
        if let Some(slot) = slot {
            let mut known = lock(&slot.known);
            *known = known.filter(|&id| id != broker);
        }
    }
}

impl Core {
    pub(super) async fn coordinator(&self, group: &str) -> Result<i32> {
        let slot = self.coordinators.slot(group);
        let known = || *lock(&slot.known);
        if let Some(id) = known() {
            return Ok(id);
        }
        let _asking = slot.asking.lock().await;
        if let Some(id) = known() {
            return Ok(id);
        }
        let what = format!("looking for the coordinator of group {group:?}");
        let id = retrying(self, &what, self.config.request_timeout, || self.find_coordinator(group)).await?;
        *lock(&slot.known) = Some(id);
        Ok(id)
    }

    async fn find_coordinator(&self, group: &str) -> Result<i32> {
        let connection = self.any_connection().await?;
        let version = connection.version::<FindCoordinatorRequest>(None)?;
        let request = match version {
            BATCHED.. => FindCoordinatorRequest { coordinator_keys: vec![group.into()], ..Default::default() },
            _ => FindCoordinatorRequest { key: group.into(), ..Default::default() },
        };
        let mut response = connection.call(&request, version, self.config.request_timeout).await?;
        let (code, id, host, port) = match version {
            BATCHED.. => match response.coordinators.pop() {
                Some(c) => (c.error_code, c.node_id, c.host, c.port),
                None => {
                    let message = format!("{} named no coordinator of group {group:?}", connection.peer());
                    return Err(Error::new(ErrorKind::Protocol, message));
                }
            },
            _ => (response.error_code, response.node_id, response.host, response.port),
        };
        if code != ErrorCode::NONE {
            return Err(Error::from_code(code, format_args!("FindCoordinator of group {group:?}")));
        }
        if let Ok(port) = u16::try_from(port) {
            self.metadata.learn_broker(BrokerMeta { id, host: Arc::from(&*host), port, rack: None });
        }
        Ok(id)
    }
}
