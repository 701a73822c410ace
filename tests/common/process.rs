//! What Linux tells of a process: CPU time, memory, TCP connections. None elsewhere.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// User and system time so far; the kernel counts in hundredths of a second.
pub fn cpu(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

/// The largest resident size that this process ever had, in bytes.
pub fn peak_memory() -> Option<u64> {
    peak_memory_of(std::process::id())
}

/// The largest resident size that a process ever had, in bytes.
pub fn peak_memory_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Has the C library of a process to be started keep no large blocks that the program has given back.
pub fn exact_memory(command: &mut Command) {
    command.env("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=1048576");
}

/// How many established TCP connections a process holds to these ports.
pub fn connections(pid: u32, ports: &[u16]) -> Option<usize> {
    let mut inodes = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
        if let Ok(target) = fs::read_link(entry.path()) {
            let target = target.to_string_lossy().into_owned();
            inodes.extend(target.strip_prefix("socket:[").map(|rest| rest.trim_end_matches(']').to_owned()));
        }
    }
    let mut count = 0;
    for table in ["tcp", "tcp6"] {
        for line in fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default().lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            let [_, _, remote, state, ..] = fields[..] else { continue };
            let port = remote.rsplit_once(':').and_then(|(_, hex)| u16::from_str_radix(hex, 16).ok());
            let established = state == "01";
            let own = fields.get(9).is_some_and(|inode| inodes.contains(*inode));
            count += usize::from(established && own && port.is_some_and(|port| ports.contains(&port)));
        }
    }
    Some(count)
}
