//! A group's lag as an HTTP service says it, asked as the Go dispatcher asks: `GET <base>/monitor/kafka/lags` with
//! `group_id` and `topic`. Called by `status` where a monitor host is set. What comes back is untrusted and bounded.

#[cfg(feature = "monitor-host")]
mod address;
#[cfg(feature = "monitor-host")]
mod answer;
#[cfg(feature = "monitor-host")]
mod get;

use super::config::Config;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};

#[cfg(feature = "monitor-host")]
use address::Address;

/// As many as the Go library's HTTP client follows.
#[cfg(feature = "monitor-host")]
const MAX_REDIRECTS: usize = 10;

/// Whether it can be asked at all.
#[cfg(feature = "monitor-host")]
pub(super) fn check(host: &str) -> Result<()> {
    Address::of_host(host)
        .map(drop)
        .map_err(|what| Error::new(ErrorKind::InvalidConfig, format!("monitor_host {what}")))
}

/// Whether it can be asked at all.
#[cfg(not(feature = "monitor-host"))]
pub(super) fn check(_: &str) -> Result<()> {
    let text = "monitor_host is set, but this program was built without the feature monitor-host: add it, or unset it";
    Err(Error::new(ErrorKind::InvalidConfig, text))
}

/// The lag of a Kafka group with a topic. Cancel-safe.
#[cfg(feature = "monitor-host")]
pub(super) async fn lag(host: &str, group: &str, topic: &str, env: &Env, config: &Config) -> Result<i64> {
    let bad = |what| Error::new(ErrorKind::InvalidConfig, format!("monitor_host {what}"));
    let address = Address::of_host(host).map_err(bad)?.question(group, topic).map_err(bad)?;
    let limit = config.request_timeout;
    match env.timeout(limit, ask(&address, env, config)).await {
        Some(answer) => answer,
        None => {
            let text = format!("the monitor did not answer {address} within {limit:?}: check that it runs");
            Err(Error::new(ErrorKind::Timeout, text))
        }
    }
}

#[cfg(feature = "monitor-host")]
async fn ask(first: &Address, env: &Env, config: &Config) -> Result<i64> {
    let mut address = first.clone();
    for _ in 0..=MAX_REDIRECTS {
        let answer = get::get(&address, env, config.connect_timeout).await?;
        let Some(location) = answer.redirect() else {
            return answer.lag(&address);
        };
        address = address.join(location).map_err(|what| {
            Error::new(ErrorKind::Protocol, format!("the monitor redirects {address} to {location:?}, which {what}"))
        })?;
    }
    let text = format!("the monitor redirects {first} more than {MAX_REDIRECTS} times: correct monitor_host");
    Err(Error::new(ErrorKind::Protocol, text))
}

#[cfg(not(feature = "monitor-host"))]
pub(super) async fn lag(host: &str, _: &str, _: &str, _: &Env, _: &Config) -> Result<i64> {
    check(host).map(|()| 0)
}
