//! The default consumer group: the same for every process of one machine, different on another.

use std::collections::BTreeSet;

/// BLAKE3 of this machine's MAC addresses in hex; of its host name, with a warning, where it has none.
pub(crate) fn default_group() -> String {
    let addresses: BTreeSet<[u8; 6]> = mac_address::MacAddressIterator::new()
        .map(|found| found.map(|address| address.bytes()).filter(|bytes| *bytes != [0; 6]).collect())
        .unwrap_or_default();
    if addresses.is_empty() {
        tracing::warn!(
            target: "dispatcher",
            "this machine has no MAC address: the default group is made from its host name; name a group to be sure"
        );
        return of_host(gethostname::gethostname().as_encoded_bytes());
    }
    of_addresses(&addresses)
}

fn of_addresses(addresses: &BTreeSet<[u8; 6]>) -> String {
    let mut hasher = blake3::Hasher::new();
    for address in addresses {
        hasher.update(address);
    }
    hasher.finalize().to_hex().to_string()
}

fn of_host(name: &[u8]) -> String {
    blake3::hash(name).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_each_time_and_hexadecimal() {
        let group = default_group();
        assert_eq!(group, default_group());
        assert!(group.len() == 64 && group.bytes().all(|b| b.is_ascii_hexdigit()), "{group}");
    }

    #[test]
    fn the_order_of_interfaces_does_not_matter() {
        let (a, b) = ([1, 2, 3, 4, 5, 6], [9, 8, 7, 6, 5, 4]);
        assert_eq!(of_addresses(&BTreeSet::from([a, b])), of_addresses(&BTreeSet::from([b, a])));
        assert_ne!(of_addresses(&BTreeSet::from([a])), of_host(&a[..5]));
    }
}
