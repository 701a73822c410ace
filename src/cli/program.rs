//! `subscribe … -- PROG ARGS`: a program run once per message, without a shell.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use crate::Message;

/// Longest line of a program's stderr that is kept as its error.
const ERROR_LINE: u64 = 64 << 10;

/// How long the rest of its stderr is waited for when a program has ended.
const STDERR_WAIT: Duration = Duration::from_secs(1);

/// Windows' flag for a process that the console's Ctrl-C does not reach.
#[cfg(windows)]
const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;

/// A program that was found and may be executed.
#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    args: Vec<OsString>,
}

/// Why a run did not count as handled.
#[derive(Debug)]
pub(super) enum RunError {
    /// The program ended in failure; its last stderr line, or its status.
    Failed(String),
    /// It cannot be started at all.
    CannotStart(String),
}

impl Program {
    /// Looks the program up, as a shell would, before anything is handed out.
    pub(super) fn find(mut words: Vec<OsString>) -> Result<Self, String> {
        let name = words.remove(0);
        let path = PathBuf::from(&name);
        if path.components().count() > 1 {
            return match complete(&path) {
                Ok(path) => Ok(Self { path, args: words }),
                Err(why) => Err(format!("{} cannot be started: {why}", path.display())),
            };
        }
        let dirs = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&dirs).find_map(|dir| complete(&dir.join(&name)).ok());
        match found {
            Some(path) => Ok(Self { path, args: words }),
            None => Err(format!("{} cannot be started: there is no such program in PATH", path.display())),
        }
    }

    /// Runs it for one message: payload on stdin, the rest in its environment, its output to our stderr.
    pub(super) async fn run(&self, message: &Message) -> Result<(), RunError> {
        let mut command = Command::new(&self.path);
        command
            .args(&self.args)
            .env("DISPATCHER_TOPIC", message.topic())
            .env("DISPATCHER_PARTITION", message.partition().to_string())
            .env("DISPATCHER_OFFSET", message.offset().to_string())
            .env("DISPATCHER_ATTEMPT", message.attempt().to_string())
            .env_remove("DISPATCHER_KEY")
            .env_remove("DISPATCHER_ID")
            .stdin(Stdio::piped())
            .stdout(io::stderr())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(key) = message.key() {
            if key.contains(&0) {
                return Err(RunError::Failed(
                    "the message's key has a zero byte, which no environment can hold".into(),
                ));
            }
            command.env("DISPATCHER_KEY", os_string(key));
        }
        if let Some(id) = message.id() {
            command.env("DISPATCHER_ID", &*id);
        }
        // A group of its own: a Ctrl-C at the terminal is for us, and running handlers shall end.
        #[cfg(unix)]
        command.process_group(0);
        #[cfg(windows)]
        command.creation_flags(CREATE_NEW_PROCESS_GROUP);
        let mut child = command.spawn().map_err(|e| self.cannot_start(&e))?;
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A program need not read it all.
                let _ = stdin.write_all(message.value().unwrap_or_default()).await;
                let _ = stdin.shutdown().await;
            }
        };
        let listen = tokio::spawn(async move {
            match stderr {
                Some(stderr) => last_line(stderr).await,
                None => None,
            }
        });
        let ended = tokio::select! {
            biased;
            ended = child.wait() => ended,
            // Never first: it waits when it is done.
            never = async { feed.await; std::future::pending().await } => never,
        };
        // A process it left behind may hold its stderr open.
        let said = tokio::time::timeout(STDERR_WAIT, listen).await.ok().and_then(Result::ok).flatten();
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(RunError::Failed(said.unwrap_or_else(|| describe(status)))),
            Err(e) => Err(RunError::Failed(format!("its end could not be awaited: {e}"))),
        }
    }

    fn cannot_start(&self, error: &io::Error) -> RunError {
        let text = format!("{} cannot be started: {error}", self.path.display());
        match error.kind() {
            // Of this message's making, or passing: too large an environment, no processes left.
            io::ErrorKind::InvalidInput | io::ErrorKind::ArgumentListTooLong | io::ErrorKind::WouldBlock => {
                RunError::Failed(text)
            }
            _ => RunError::CannotStart(text),
        }
    }
}

/// Copies a program's stderr to ours and keeps its last line that says something.
async fn last_line(stderr: tokio::process::ChildStderr) -> Option<String> {
    let mut reader = BufReader::new(stderr);
    let (mut last, mut line) = (None, Vec::new());
    loop {
        line.clear();
        match (&mut reader).take(ERROR_LINE).read_until(b'\n', &mut line).await {
            Ok(n) if n > 0 => {
                let _ = tokio::io::stderr().write_all(&line).await;
                let text = String::from_utf8_lossy(&line);
                if !text.trim().is_empty() {
                    last = Some(text.trim().to_owned());
                }
            }
            _ => return last,
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("the program ended with exit status {code}"),
        None => format!("the program was ended by a signal ({status})"),
    }
}

#[cfg(unix)]
fn os_string(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStringExt as _;
    OsString::from_vec(bytes.to_vec())
}

#[cfg(not(unix))]
fn os_string(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

/// The path of the executable file that is meant by `path`.
#[cfg(not(windows))]
fn complete(path: &Path) -> Result<PathBuf, String> {
    executable(path).map(|()| path.to_owned())
}

/// The path of the executable file that is meant by `path`: a program may be named without its ending.
#[cfg(windows)]
fn complete(path: &Path) -> Result<PathBuf, String> {
    let endings = std::env::var("PATHEXT").unwrap_or_else(|_| ".COM;.EXE;.BAT;.CMD".to_owned());
    let longer = endings.split(';').filter(|ending| !ending.is_empty()).map(|ending| {
        let mut longer = path.as_os_str().to_owned();
        longer.push(ending);
        PathBuf::from(longer)
    });
    let as_it_is = path.extension().map(|_| path.to_owned());
    as_it_is.into_iter().chain(longer).find(|path| executable(path).is_ok()).ok_or_else(|| match executable(path) {
        Err(why) => why,
        Ok(()) => "its name has none of PATHEXT's endings".to_owned(),
    })
}

fn executable(path: &Path) -> Result<(), String> {
    let found = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if !found.is_file() {
        return Err("it is not a file".into());
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if found.permissions().mode() & 0o111 == 0 {
            return Err("it is not executable".into());
        }
    }
    Ok(())
}
