//! Headless Chromium, driven through its pipe by the DevTools protocol: no driver, no package, no socket.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

/// Where Chromium is, by `DISPATCHER_CHROMIUM` or one of its usual names; `tests/monitor/setup` installs it.
fn find() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("DISPATCHER_CHROMIUM") {
        return Some(given.into());
    }
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
    std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name))).find(|file| file.is_file())
}

pub(crate) struct Browser {
    child: Child,
    input: ChildStdin,
    answers: Receiver<Value>,
    events: VecDeque<Value>,
    session: String,
    last_id: u64,
    profile: PathBuf,
}

impl Browser {
    /// With an empty page. `None`, and a line that says so, where there is no browser.
    pub(crate) fn start_or_skip(test: &str) -> Option<Self> {
        match find() {
            Some(program) => Some(Self::start(&program)),
            None if std::env::var_os("DISPATCHER_REQUIRE_BROWSER").is_some_and(|v| v == "1") => {
                panic!("no Chromium is found: run tests/monitor/setup, or name one in DISPATCHER_CHROMIUM")
            }
            None => {
                // Past the harness, which keeps what a test that passes prints.
                let _ =
                    writeln!(std::io::stderr(), "skipped: needs Chromium (tests/monitor/setup installs it): {test}");
                None
            }
        }
    }

    fn start(program: &Path) -> Self {
        let profile = std::env::temp_dir().join(format!("dispatcher-browser-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&profile);
        // Chromium reads commands from descriptor 3 and writes to 4.
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#])
            .arg(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--remote-debugging-pipe", "--lang=en", "--hide-scrollbars", "--force-device-scale-factor=1"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(output).split(0).map_while(Result::ok) {
                if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    break;
                }
            }
        });
        let session = String::new();
        let mut browser = Self { child, input, answers, events: VecDeque::new(), session, last_id: 0, profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attached =
            browser.call("Target.attachToTarget", json!({ "targetId": target["targetId"], "flatten": true }));
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network", "Accessibility"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.as_str().into();
        }
        self.input.write_all(format!("{message}\0").as_bytes()).expect("Chromium has ended");
        loop {
            let answer = self.answers.recv_timeout(Duration::from_secs(20)).expect("Chromium does not answer");
            if answer["id"] == self.last_id {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.events.push_back(answer);
        }
    }

    /// A size in CSS pixels, and `light` or `dark`.
    pub(crate) fn look(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.call("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
    }

    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
    }

    pub(crate) fn evaluate(&mut self, script: &str) -> Value {
        let answer = self.call("Runtime.evaluate", json!({ "expression": script, "returnByValue": true }));
        assert!(answer["exceptionDetails"].is_null(), "{script}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until a script's value is true.
    pub(crate) fn until(&mut self, script: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.evaluate(script) != true {
            assert!(Instant::now() < deadline, "{script} is not true: {}", self.evaluate("document.body.innerText"));
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The whole page as a PNG.
    pub(crate) fn screenshot(&mut self, file: &Path) {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true }));
        let png = base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, png).unwrap();
    }

    /// What assistive technology sees: how many nodes of this role there are.
    pub(crate) fn role(&mut self, role: &str) -> usize {
        let tree = self.call("Accessibility.getFullAXTree", json!({}));
        tree["nodes"].as_array().unwrap().iter().filter(|n| n["role"]["value"] == role && n["ignored"] != true).count()
    }

    /// Errors and warnings that went to the console so far.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        self.evaluate("0");
        let bad = |e: &&Value| match e["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => {
                matches!(e["params"]["type"].as_str(), Some("error" | "warning" | "assert"))
            }
            Some("Log.entryAdded") => matches!(e["params"]["entry"]["level"].as_str(), Some("error" | "warning")),
            _ => false,
        };
        self.events.iter().filter(bad).map(Value::to_string).collect()
    }

    /// What was asked for over the network so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        let sent = self.events.iter().filter(|e| e["method"] == "Network.requestWillBeSent");
        sent.filter_map(|e| Some(e["params"]["request"]["url"].as_str()?.to_owned())).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}
