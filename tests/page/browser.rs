//! chromium through chromedriver, one call after the other.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::actions::{InputSource, KeyAction, KeyActions, MOUSE_BUTTON_LEFT, MouseActions, PointerAction};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use parking_lot::{Mutex, MutexGuard};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::PATIENCE;

pub const ENTER: char = '\u{e007}';
pub const DOWN: char = '\u{e015}';
pub const END: char = '\u{e010}';
pub const ESCAPE: char = '\u{e00c}';
pub const RIGHT: char = '\u{e014}';

/// One chromium is as much as a small machine carries beside a scheduler and a relay.
static TURN: Mutex<()> = Mutex::new(());

/// A window, and all of chromium behind it. Dropped, it is ended with every process of its own.
pub struct Browser {
    runtime: Runtime,
    client: Option<Client>,
    driver: Child,
    address: SocketAddr,
    /// For its profile and whatever else it writes.
    place: TempDir,
    turn: Option<MutexGuard<'static, ()>>,
}

impl Browser {
    /// Waits for its turn: before anything else of a test, or what is started first waits with it.
    pub fn open() -> Browser {
        let turn = TURN.lock();
        let mut browser = Browser::sized(1440, 1100, json!({}));
        browser.turn = Some(turn);
        browser
    }

    /// Beside others. `more`: further members of chromium's options.
    pub fn sized(width: u32, height: u32, more: Value) -> Browser {
        let place = tempfile::tempdir().unwrap();
        // The port that it is given for IPv4 may be somebody's for IPv6: then it ends, and gets another one.
        let started = (0..5).find_map(|_| {
            let mut driver = Command::new("chromedriver")
                .args(["--port=0"])
                // What chromium leaves when it is killed goes with the rest.
                .env("TMPDIR", place.path())
                .process_group(0)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("chromedriver, of Debian's package chromium-driver");
            match listens_at(&mut driver) {
                Some(address) => Some((driver, address)),
                None => {
                    driver.wait().unwrap();
                    None
                }
            }
        });
        let (driver, address) = started.expect("chromedriver names its port");
        let arguments = [
            "--headless=new".to_owned(),
            // The tests run as root as well, in a machine of their own, and open nothing but the page.
            "--no-sandbox".into(),
            "--disable-gpu".into(),
            "--disable-dev-shm-usage".into(),
            // Nor does the browser by itself ask anybody for anything.
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-quic".into(),
            "--disable-sync".into(),
            "--no-first-run".into(),
            // A window that nobody looks at is drawn all the same.
            "--disable-renderer-backgrounding".into(),
            "--disable-backgrounding-occluded-windows".into(),
            "--hide-scrollbars".into(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", place.path().join("profile").display()),
        ];
        let mut options = json!({ "args": arguments });
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let wanted = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut browser = Browser { runtime, client: None, driver, address, place, turn: None };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(wanted.as_object().unwrap().clone());
        let client = browser.runtime.block_on(builder.connect(&format!("http://{address}")));
        browser.client = Some(client.expect("chromium, of Debian's package chromium"));
        browser
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("it is open as long as it lives")
    }

    pub fn go(&self, url: &str) {
        self.runtime.block_on(self.client().goto(url)).unwrap();
    }

    /// What a script's body returns; `arguments[0]` is `argument`.
    #[track_caller]
    pub fn script(&self, body: &str, argument: impl Into<Value>) -> Value {
        match self.runtime.block_on(self.client().execute(body, vec![argument.into()])) {
            Ok(value) => value,
            Err(error) => panic!("{body}: {error}"),
        }
    }

    /// The text of the first element that matches.
    #[track_caller]
    pub fn text(&self, selector: &str) -> Option<String> {
        let text = self.script("return document.querySelector(arguments[0])?.textContent ?? null", selector);
        text.as_str().map(str::to_owned)
    }

    /// The texts of all elements that match.
    #[track_caller]
    pub fn texts(&self, selector: &str) -> Vec<String> {
        let texts = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)";
        serde_json::from_value(self.script(texts, selector)).unwrap()
    }

    #[track_caller]
    pub fn count(&self, selector: &str) -> u64 {
        self.script("return document.querySelectorAll(arguments[0]).length", selector).as_u64().unwrap()
    }

    #[track_caller]
    pub fn wait_for(&self, what: &str, mut is: impl FnMut(&Browser) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is(self) {
            if Instant::now() > deadline {
                let page = self.script("return document.body.innerText.slice(0, 4000)", Value::Null);
                let focus = self.script("return document.activeElement?.outerHTML.slice(0, 200) ?? null", Value::Null);
                let console = self.console();
                panic!(
                    "waited in vain for: {what}; the console says {console:?}; the focus is on {focus}; the page says\n{page}"
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    pub fn wait_for_text(&self, selector: &str, part: &str) {
        let what = format!("{selector} says {part:?}");
        self.wait_for(&what, |browser| browser.texts(selector).iter().any(|text| text.contains(part)));
    }

    /// Keys, one after another, to whatever has the focus.
    pub fn keys(&self, keys: impl IntoIterator<Item = char>) {
        let actions = keys.into_iter().fold(KeyActions::new("keys".into()), |actions, value| {
            actions.then(KeyAction::Down { value }).then(KeyAction::Up { value })
        });
        self.runtime.block_on(self.client().perform_actions(actions)).unwrap();
    }

    /// The middle of the first element that matches.
    #[track_caller]
    pub fn middle(&self, selector: &str) -> (i64, i64) {
        let middle = "const e = document.querySelector(arguments[0]); if (!e) return null;
            const box = e.getBoundingClientRect();
            return [Math.round(box.x + box.width / 2), Math.round(box.y + box.height / 2)]";
        let at = self.script(middle, selector);
        serde_json::from_value(at).unwrap_or_else(|_| panic!("{selector} is not on the page"))
    }

    #[track_caller]
    pub fn click(&self, selector: &str) {
        let at = self.middle(selector);
        self.mouse(vec![to(at), PRESS, LET_GO]);
    }

    /// With the mouse: presses on `from`, moves, waits until `target` is there, and lets go on it.
    #[track_caller]
    pub fn drag(&self, from: &str, target: &str) {
        let (x, y) = self.middle(from);
        self.mouse(vec![to((x, y)), PRESS, to((x + 12, y + 12)), to((x + 40, y + 30))]);
        self.wait_for(target, |browser| {
            browser.script(
                "const e = document.querySelector(arguments[0]); return e !== null && e.getClientRects().length > 0",
                target,
            ) == true
        });
        let at = self.middle(target);
        self.mouse(vec![to(at), to((at.0 + 1, at.1)), LET_GO]);
    }

    fn mouse(&self, acts: Vec<PointerAction>) {
        let actions = acts.into_iter().fold(MouseActions::new("mouse".into()), InputSource::then);
        self.runtime.block_on(self.client().perform_actions(actions)).unwrap();
    }

    /// As WebP: a third of what the same has as PNG.
    pub fn save_picture(&self, file: &Path) {
        let picture = self.tell("Page.captureScreenshot", json!({ "format": "webp", "quality": 82 }));
        let data = picture["data"].as_str().unwrap_or_else(|| panic!("no picture: {picture}"));
        std::fs::write(file, from_base64(data)).unwrap();
    }

    /// A command of chromium's own protocol (CDP).
    #[track_caller]
    pub fn tell(&self, command: &str, parameters: Value) -> Value {
        let id = self.runtime.block_on(self.client().session_id()).unwrap().expect("it has a session");
        let command = json!({ "cmd": command, "params": parameters });
        let answer = self.post(&format!("/session/{id}/goog/cdp/execute"), &command);
        assert!(answer["value"]["error"].is_null(), "{command}: {answer}");
        answer["value"].clone()
    }

    /// What was written to the console since this was asked last, warnings and errors of the browser's own included, but for
    /// one: when an interface of the machine comes or goes, as other tests make them, the browser drops all connections, on
    /// loopback too. The page asks again.
    pub fn console(&self) -> Vec<Value> {
        let id = self.runtime.block_on(self.client().session_id()).unwrap().expect("it has a session");
        let lines = self.post(&format!("/session/{id}/se/log"), &json!({ "type": "browser" }));
        let mut lines = lines["value"].as_array().unwrap_or_else(|| panic!("no log: {lines}")).clone();
        lines.retain(|line| !line["message"].as_str().is_some_and(|said| said.contains("net::ERR_NETWORK_CHANGED")));
        lines
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let (mut stream, body) = (TcpStream::connect(self.address).unwrap(), body.to_string());
        let (host, length) = (self.address, body.len());
        let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n");
        // In one piece: chromedriver takes the head that it has for all of it.
        stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        // It may leave the connection open behind its answer.
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        reader.take(length).read_to_string(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"))
    }
}

pub const PRESS: PointerAction = PointerAction::Down { button: MOUSE_BUTTON_LEFT };
pub const LET_GO: PointerAction = PointerAction::Up { button: MOUSE_BUTTON_LEFT };

fn to((x, y): (i64, i64)) -> PointerAction {
    PointerAction::MoveTo { duration: Some(Duration::from_millis(30)), x: x as f64, y: y as f64 }
}

/// chromedriver says which port it was given, and goes on talking to nobody. `None`: it has ended without.
fn listens_at(driver: &mut Child) -> Option<SocketAddr> {
    let mut lines = BufReader::new(driver.stdout.take().expect("it is piped")).lines();
    let port = lines
        .by_ref()
        .map(|line| line.expect("chromedriver's output"))
        .find_map(|line| line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse::<u16>().ok());
    let address = ([127, 0, 0, 1], port?).into();
    std::thread::spawn(move || lines.for_each(drop));
    Some(address)
}

fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = |digit: u8| DIGITS.iter().position(|&known| known == digit).expect("a digit of base64") as u32;
    let digits: Vec<u32> = text.bytes().filter(|&digit| digit != b'=').map(bits).collect();
    let octets = |group: &[u32]| {
        let all = (0..4).fold(0, |all, n| all << 6 | group.get(n).copied().unwrap_or(0));
        all.to_be_bytes()[1..group.len()].to_vec()
    };
    digits.chunks(4).flat_map(octets).collect()
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            let close = async { tokio::time::timeout(Duration::from_secs(10), client.close()).await };
            // The group's end below is for what this leaves.
            let _ = self.runtime.block_on(close);
        }
        if let Some(group) = Pid::from_raw(self.driver.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.driver.wait();
        // The turn is given on with nothing left of this one.
        let _ = std::fs::remove_dir_all(self.place.path());
        self.turn = None;
    }
}
