//! What each failure of a group request means for the member. The only place that knows.

use super::Failure;
use crate::error::{Error, ErrorKind};
use crate::group::types::GroupConfig;
use crate::wire::ErrorCode;

/// What to do after a failure.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Ask the same coordinator again after a while.
    Again,
    /// The coordinator is elsewhere, or its connection is gone; the session may live on.
    FindCoordinator,
    /// The group rebalances: give up what is owned in good order and join again.
    Rebalance,
    /// The membership is known but this generation is over: what is owned is lost.
    NewGeneration,
    /// The coordinator has forgotten this member: what is owned is lost, and so is the member id.
    NewMember,
    /// No retry can help.
    Fatal(Error),
}

pub(super) fn judge(api: &str, failure: &Failure, config: &GroupConfig) -> Verdict {
    let code = match failure {
        Failure::Code(code) => *code,
        Failure::Call(error) => match error.kind() {
            ErrorKind::UnsupportedVersion
            | ErrorKind::InvalidConfig
            | ErrorKind::InvalidArgument
            | ErrorKind::Auth
            | ErrorKind::Group
            | ErrorKind::Closed => return Verdict::Fatal(error.clone()),
            _ => return Verdict::FindCoordinator,
        },
    };
    match code {
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS | ErrorCode::UNKNOWN_SERVER_ERROR => Verdict::Again,
        ErrorCode::COORDINATOR_NOT_AVAILABLE
        | ErrorCode::NOT_COORDINATOR
        | ErrorCode::NETWORK_EXCEPTION
        | ErrorCode::REQUEST_TIMED_OUT => Verdict::FindCoordinator,
        ErrorCode::REBALANCE_IN_PROGRESS => Verdict::Rebalance,
        ErrorCode::ILLEGAL_GENERATION => Verdict::NewGeneration,
        ErrorCode::UNKNOWN_MEMBER_ID => Verdict::NewMember,
        code if code.is_retriable() => Verdict::Again,
        code => Verdict::Fatal(fatal(api, code, config)),
    }
}

fn fatal(api: &str, code: ErrorCode, config: &GroupConfig) -> Error {
    let group = &config.group_id;
    let error = Error::from_code(code, format_args!("{api} of group {group}"));
    let kind = error.kind();
    let advice = match code {
        ErrorCode::FENCED_INSTANCE_ID => format!(
            "another member of group {group} runs under the group instance id {}: give each member its own",
            config.instance_id.as_deref().unwrap_or_default()
        ),
        ErrorCode::INCONSISTENT_GROUP_PROTOCOL => {
            let ours: Vec<_> = config.assignors.iter().map(|a| a.name()).collect();
            format!(
                "the members of group {group} share no assignor with this one, which offers [{}], or the group is \
                 used by something else than consumers: give all members one assignor in common",
                ours.join(", ")
            )
        }
        ErrorCode::GROUP_AUTHORIZATION_FAILED => {
            format!("not allowed to use group {group}: grant READ on it, or take another group id")
        }
        ErrorCode::INVALID_SESSION_TIMEOUT => format!(
            "the session time-out of {:?} is outside the broker's limits for group {group}: change it, or the broker's \
             group.min.session.timeout.ms and group.max.session.timeout.ms",
            config.session_timeout
        ),
        ErrorCode::INVALID_GROUP_ID => format!("the broker refuses the group id {group:?}: take another one"),
        ErrorCode::GROUP_MAX_SIZE_REACHED => {
            format!("group {group} is full: run fewer members, or raise the broker's group.max.size")
        }
        _ => return error,
    };
    error.wrap(kind, advice)
}
