//! FindCoordinator.

use crate::embedded::dispatch::{Answer, Call, Serve};
use crate::embedded::state::State;
use crate::wire::messages::find_coordinator::Coordinator;
use crate::wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use crate::wire::{ErrorCode, StrBytes};

impl Serve for FindCoordinatorRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<FindCoordinatorResponse> {
        let find = |key: &StrBytes| {
            let refused = |error_code, text: &str| Coordinator {
                key: key.clone(),
                node_id: -1,
                port: -1,
                error_code,
                error_message: Some(text.into()),
                ..Default::default()
            };
            if ![0, 1].contains(&self.key_type) {
                return refused(ErrorCode::INVALID_REQUEST, "unknown key type");
            }
            match state.coordinator(key).and_then(|id| Some((id, state.brokers.get(&id)?))) {
                Some((node_id, broker)) => Coordinator {
                    key: key.clone(),
                    node_id,
                    host: broker.host.as_str().into(),
                    port: broker.port.into(),
                    error_code: ErrorCode::NONE,
                    error_message: Some(if call.version < 4 { "NONE" } else { "" }.into()),
                },
                None => refused(ErrorCode::COORDINATOR_NOT_AVAILABLE, "no broker runs"),
            }
        };
        if call.version >= 4 {
            let coordinators = self.coordinator_keys.iter().map(find).collect();
            return Answer::Ready(FindCoordinatorResponse { coordinators, ..Default::default() });
        }
        let Coordinator { node_id, host, port, error_code, error_message, .. } = find(&self.key);
        Answer::Ready(FindCoordinatorResponse { node_id, host, port, error_code, error_message, ..Default::default() })
    }
}
