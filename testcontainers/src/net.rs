//! Just enough of Kafka's protocol to see that a broker is up, and the choice of free ports. Called by the cluster while
//! it starts and restarts brokers.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Metadata v1 (api key 3), no topics, correlation id 1, no client id.
const METADATA: [u8; 18] = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0];

/// The node ids that the broker at `address` knows to be alive; empty while there is no controller.
pub(crate) fn alive(address: &str) -> io::Result<BTreeSet<i32>> {
    let bad = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let target: SocketAddr = address.parse().map_err(|_| bad("address"))?;
    let mut stream = TcpStream::connect_timeout(&target, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(&METADATA)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > 1 << 20 {
        return Err(bad("length"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    parse(&body).ok_or_else(|| bad("metadata"))
}

/// Whether somebody listens at `address`.
pub(crate) fn accepts(address: &str) -> bool {
    let target = address.parse::<SocketAddr>();
    target.is_ok_and(|target| TcpStream::connect_timeout(&target, Duration::from_secs(1)).is_ok())
}

fn parse(body: &[u8]) -> Option<BTreeSet<i32>> {
    let mut rest = body.get(4..)?;
    let count = int32(&mut rest)?;
    let mut nodes = BTreeSet::new();
    for _ in 0..count {
        nodes.insert(int32(&mut rest)?);
        string(&mut rest)?;
        int32(&mut rest)?;
        string(&mut rest)?;
    }
    let controller = int32(&mut rest)?;
    Some(if controller < 0 { BTreeSet::new() } else { nodes })
}

fn int32(rest: &mut &[u8]) -> Option<i32> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(i32::from_be_bytes(*head))
}

fn string(rest: &mut &[u8]) -> Option<()> {
    let (head, tail) = rest.split_first_chunk::<2>()?;
    *rest = tail.get(usize::try_from(i16::from_be_bytes(*head)).unwrap_or(0)..)?;
    Some(())
}

/// `count` free ports below the range from which systems take outgoing ports, so that a killed broker finds its own
/// again. Another process may still be quicker: the cluster starts over with others then.
pub(crate) fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let mut held = Vec::new();
    let random = RandomState::new();
    for attempt in 0..10_000u64 {
        if held.len() == count {
            break;
        }
        let mut hasher = random.build_hasher();
        hasher.write_u64(attempt);
        let port = 12_000 + (hasher.finish() % 20_000) as u16;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            held.push(listener);
        }
    }
    if held.len() < count {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "no free ports between 12000 and 32000"));
    }
    held.iter().map(|l| l.local_addr().map(|a| a.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metadata_answer_gives_its_nodes_only_under_a_controller() {
        let mut body = vec![0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0, 1, b'h', 0, 0, 0, 9, 0xff, 0xff, 0, 0, 0, 7];
        assert_eq!(parse(&body), Some(BTreeSet::from([7])));
        body.truncate(body.len() - 4);
        assert_eq!(parse(&body), None);
        body.extend((-1i32).to_be_bytes());
        assert_eq!(parse(&body), Some(BTreeSet::new()));
    }

    #[test]
    fn free_ports_are_distinct() {
        let ports = free_ports(8).unwrap();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 8);
    }
}
