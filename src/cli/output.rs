//! What goes to stdout: JSON lines and payloads, written and flushed by one thread, so that a reader who is slow or
//! gone never blocks a task of the runtime.

use std::io::{self, Write};
use std::sync::mpsc as std_mpsc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use tokio::sync::{mpsc, oneshot};

/// Bytes in JSON: a string when UTF-8, else `{"base64":"…"}`; `null` by way of an Option.
#[derive(Debug, Clone, Copy)]
pub(super) struct JsonBytes<'a>(pub(super) &'a [u8]);

impl Serialize for JsonBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Ok(text) = std::str::from_utf8(self.0) {
            return serializer.serialize_str(text);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("base64", &STANDARD.encode(self.0))?;
        map.end()
    }
}

/// One object and its newline.
pub(super) fn json_line(row: &impl Serialize) -> Vec<u8> {
    // Our own structs with string keys: serialising them into memory cannot fail.
    let mut line = serde_json::to_vec(row).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Writes one line to stdout at once, for commands that print a few.
pub(super) fn print(line: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(line)?;
    out.flush()
}

/// Prints a row as JSON, or as the given text.
pub(super) fn print_row(json: bool, row: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
    if json { print(&json_line(row)) } else { print(format!("{}\n", text()).as_bytes()) }
}

/// The writing thread's queue. Lines that wait are written together and flushed once.
#[derive(Debug, Clone)]
pub(super) struct Printer {
    queue: mpsc::Sender<Line>,
}

struct Line {
    bytes: Vec<u8>,
    /// Told when the line is flushed; dropped when it cannot be.
    written: Option<oneshot::Sender<()>>,
}

/// Lines that may wait for a slow reader.
const QUEUE: usize = 1_024;

impl Printer {
    /// Starts the thread. The receiver gets the error that ended it, once.
    pub(super) fn start() -> (Self, oneshot::Receiver<io::Error>) {
        let (queue, lines) = mpsc::channel(QUEUE);
        let (failed, failure) = oneshot::channel();
        std::thread::spawn(move || {
            if let Err(error) = write_all(lines) {
                let _ = failed.send(error);
            }
        });
        (Self { queue }, failure)
    }

    /// Returns when the line is in the reader's hands. False: it cannot be written any more.
    pub(super) async fn write(&self, bytes: Vec<u8>) -> bool {
        let (written, done) = oneshot::channel();
        self.queue.send(Line { bytes, written: Some(written) }).await.is_ok() && done.await.is_ok()
    }

    /// Returns when the line is queued. False: it cannot be written any more.
    pub(super) async fn queue(&self, bytes: Vec<u8>) -> bool {
        self.queue.send(Line { bytes, written: None }).await.is_ok()
    }

    /// Returns when everything queued before is written.
    pub(super) async fn flush(&self) -> bool {
        self.write(Vec::new()).await
    }
}

fn write_all(mut lines: mpsc::Receiver<Line>) -> io::Result<()> {
    let mut out = io::BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut waiting = Vec::new();
    while let Some(line) = lines.blocking_recv() {
        let mut next = Some(line);
        while let Some(line) = next {
            out.write_all(&line.bytes)?;
            waiting.extend(line.written);
            next = lines.try_recv().ok();
        }
        out.flush()?;
        waiting.drain(..).for_each(|told| _ = told.send(()));
    }
    Ok(())
}

/// Stderr lines from tasks, through a thread for the same reason; what does not fit its queue is dropped.
#[derive(Debug, Clone)]
pub(super) struct Notes(std_mpsc::SyncSender<String>);

impl Notes {
    pub(super) fn start() -> Self {
        let (sender, lines) = std_mpsc::sync_channel::<String>(QUEUE);
        std::thread::spawn(move || {
            for line in lines {
                let _ = writeln!(io::stderr(), "{line}");
            }
        });
        Self(sender)
    }

    pub(super) fn say(&self, line: String) {
        let _ = self.0.try_send(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_where_they_can_be() {
        let json = |bytes: Option<&[u8]>| serde_json::to_string(&bytes.map(JsonBytes)).unwrap();
        assert_eq!(json(Some("héllo\n".as_bytes())), "\"héllo\\n\"");
        assert_eq!(json(Some(b"\xff\x00")), r#"{"base64":"/wA="}"#);
        assert_eq!(json(Some(b"")), "\"\"");
        assert_eq!(json(None), "null");
    }
}
