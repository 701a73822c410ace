//! The handler log: every start and end of a handler call, in the order in which they happened within one member. In
//! memory for members of this process; in a file, written through on every event, for members that get killed.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Whether a handler call began or ended, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Start,
    Done,
    Failed,
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub what: What,
    pub partition: i32,
    pub offset: i64,
    /// Empty when the message has none.
    pub key: String,
    pub payload: String,
    /// When, for members of this process; of others only their order is known.
    pub at: Option<Instant>,
}

/// One member's log.
#[derive(Clone, Default)]
pub struct HandlerLog {
    events: Arc<Mutex<Vec<Event>>>,
    file: Option<Arc<Mutex<File>>>,
}

impl HandlerLog {
    pub fn new() -> Self {
        Self::default()
    }

    /// Every event is in the file before the handler goes on: a kill -9 loses none.
    pub fn to_file(path: &Path) -> Self {
        let file = File::options().create(true).append(true).open(path).unwrap();
        Self { events: Arc::default(), file: Some(Arc::new(Mutex::new(file))) }
    }

    /// The events of a file that another process wrote; a cut last line is none.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let log = Self::new();
        *log.lock() = whole.lines().map(parse).collect();
        log
    }

    pub fn record(&self, what: What, partition: i32, offset: i64, key: Option<&[u8]>, payload: &[u8]) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(17)]).into_owned();
        let (key, payload) = (key.map(text).unwrap_or_default(), text(payload));
        let event = Event { what, partition, offset, key, payload, at: Some(Instant::now()) };
        if let Some(file) = &self.file {
            let mut line = String::new();
            let what = match event.what {
                What::Start => 'S',
                What::Done => 'D',
                What::Failed => 'F',
            };
            let _ = writeln!(line, "{what}\t{partition}\t{offset}\t{}\t{}", event.key, event.payload);
            file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes()).unwrap();
        } else {
            self.lock().push(event);
        }
    }

    pub fn events(&self) -> Vec<Event> {
        self.lock().clone()
    }

    /// How many handler calls ended well.
    pub fn done(&self) -> usize {
        self.lock().iter().filter(|e| e.what == What::Done).count()
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(line: &str) -> Event {
    let mut parts = line.split('\t');
    let mut next = || parts.next().unwrap_or_default();
    let what = match next() {
        "S" => What::Start,
        "D" => What::Done,
        _ => What::Failed,
    };
    let (partition, offset) = (next().parse().unwrap(), next().parse().unwrap());
    Event { what, partition, offset, key: next().to_owned(), payload: next().to_owned(), at: None }
}
