//! A connection as its own machinery sees it: version negotiation, authentication and the keeper of the session send
//! through it without keeping the connection open.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::pending::{Pending, PendingFrame};
use super::shared::Shared;
use super::table::Ticket;
use super::throttle;
use super::versions::BrokerVersions;
use crate::env::Env;
use crate::error::Result;
use crate::wire::header::encode_request;
use crate::wire::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use crate::wire::{Request, StrBytes};

pub(super) struct Line {
    pub(super) shared: Arc<Shared>,
    versions: OnceLock<BrokerVersions>,
    client_id: StrBytes,
}

impl Line {
    pub(super) fn new(shared: Arc<Shared>, client_id: StrBytes) -> Self {
        Self { shared, versions: OnceLock::new(), client_id }
    }

    pub(super) fn env(&self) -> &Env {
        &self.shared.env
    }

    /// `host:port`.
    pub(super) fn peer(&self) -> &str {
        &self.shared.peer
    }

    /// After negotiation, once.
    pub(super) fn learn_versions(&self, versions: BrokerVersions) {
        let _first = self.versions.set(versions);
    }

    pub(super) fn version<R: Request>(&self, cap: Option<i16>) -> Result<i16> {
        static NONE: BrokerVersions = BrokerVersions::NONE;
        self.versions.get().unwrap_or(&NONE).choose::<R>(cap, self.peer())
    }

    pub(super) fn start<R: Request>(&self, request: &R, version: i16, timeout: Duration) -> Result<Pending<R>> {
        Ok(Pending::new(self.start_raw(request, version, timeout)?, version))
    }

    pub(super) fn start_raw<R: Request>(&self, request: &R, version: i16, limit: Duration) -> Result<PendingFrame> {
        let correlation_id = self.shared.next_id();
        let frame = encode_request(request, version, correlation_id, &self.client_id)?;
        let throttle_at = throttle::offset::<R>(version);
        let sasl = matches!(R::KEY, SaslHandshakeRequest::KEY | SaslAuthenticateRequest::KEY);
        let reply = self.shared.send(Ticket { correlation_id, api: R::NAME, limit, throttle_at, sasl }, frame)?;
        Ok(PendingFrame { reply, shared: self.shared.clone(), maybe_sent: false })
    }

    pub(super) async fn ask<R: Request>(&self, request: &R, timeout: Duration) -> Result<R::Response> {
        self.start(request, self.version::<R>(None)?, timeout)?.await
    }
}
