//! The keeper: a small shell process beside every cluster that ends the brokers and removes their directory when its
//! users are gone, however they went. A process of its own, in its own process group, because a killed test process runs
//! no destructor and a Ctrl-C reaches the whole group of the terminal.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Ends what `$dir/*.pid` and `$dir/*.container` name; a directory in use by a dying JVM needs a second try.
const CLEAN: &str = r#"
clean() {
  for f in "$dir"/*.pid; do [ -e "$f" ] && kill -9 "$(cat "$f")" 2>/dev/null; done
  for f in "$dir"/*.container; do [ -e "$f" ] && docker rm -f -v "$(cat "$f")" >/dev/null 2>&1; done
  for f in "$dir"/*.network; do [ -e "$f" ] && docker network rm "$(cat "$f")" >/dev/null 2>&1; done
  for i in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$dir" 2>/dev/null; [ -e "$dir" ] || exit 0; sleep 0.3; done
}
"#;

/// The owner holds the other end of stdin; it closes with the owner.
const OWNED: &str = r#"
dir=$1
cat >/dev/null
clean
"#;

/// Users leave a file named after their pid. Before the end `current` is withdrawn and the users are looked at again, so
/// that one who registered in between is not left without brokers.
const SHARED: &str = r#"
dir=$1; current=$2; linger=$3; idle=0
live() {
  for u in "$dir"/users/*; do
    [ -e "$u" ] || continue
    if kill -0 "${u##*/}" 2>/dev/null; then return 0; fi
    rm -f "$u"
  done
  return 1
}
while :; do
  if live; then idle=0; else idle=$((idle + 1)); fi
  if [ "$idle" -gt "$linger" ]; then
    if [ "$(head -n 1 "$current" 2>/dev/null)" = "$dir" ]; then mv "$current" "$dir/withdrawn"; fi
    if live && [ -e "$dir/withdrawn" ] && [ ! -e "$current" ]; then mv "$dir/withdrawn" "$current"; idle=0; else break; fi
  fi
  sleep 1
done
clean
"#;

/// Ends the cluster in `dir` when the returned process's stdin closes, which this process's death does too.
pub(crate) fn owned(dir: &Path) -> io::Result<Child> {
    let mut command = shell(OWNED);
    command.arg(dir).stdin(Stdio::piped());
    command.spawn()
}

/// Ends the cluster in `dir` once no process named in `dir/users` has lived for `linger_seconds`.
pub(crate) fn shared(dir: &Path, current: &Path, linger_seconds: u64) -> io::Result<()> {
    let mut command = shell(SHARED);
    command.arg(dir).arg(current).arg(linger_seconds.to_string()).stdin(Stdio::null());
    command.spawn().map(drop)
}

fn shell(body: &str) -> Command {
    let mut command = Command::new("sh");
    // stdout and stderr must not be inherited: `cargo test | tee` would wait for them.
    command.arg("-c").arg(format!("{CLEAN}{body}")).arg("kafka-keeper").stdout(Stdio::null()).stderr(Stdio::null());
    detach(&mut command);
    command
}

/// Puts the process out of reach of the terminal's Ctrl-C.
pub(crate) fn detach(command: &mut Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(not(unix))]
    let _ = command;
}
