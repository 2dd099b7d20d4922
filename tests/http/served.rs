//! The built program, serving a spool of the test's, and plain HTTP/1.1 over a socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{ChildStderr, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::support::program::{self, Program};
use crate::support::spool::{TestSpool, members, wait_until};

pub const TOKEN: &str = "a-token-that-nobody-guesses";
/// Long enough never to matter in a test that passes.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Served {
    pub spool: Arc<TestSpool>,
    pub program: Program,
    pub address: String,
    /// What it logs from now on.
    log: std::sync::mpsc::Receiver<String>,
}

impl Served {
    /// With a relay that is down: what is in the spool stays.
    pub fn idle(spool: TestSpool) -> Served {
        Served::start(spool, "smtp://127.0.0.1:1", &[])
    }

    pub fn start(spool: impl Into<Arc<TestSpool>>, relay: &str, environment: &[(&str, &str)]) -> Served {
        Served::configured(spool, &["--relay", relay], environment)
    }

    /// With these arguments of `run`.
    pub fn configured(spool: impl Into<Arc<TestSpool>>, arguments: &[&str], environment: &[(&str, &str)]) -> Served {
        let spool = spool.into();
        let token = spool.path().join("incoming/.token");
        std::fs::write(&token, TOKEN).unwrap();
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut command = program::command();
        command.env("SYMPA_DIST_HTTP_LISTEN", "127.0.0.1:0").env("SYMPA_DIST_HTTP_TOKEN_FILE", &token);
        command.envs(environment.iter().copied()).args(["--log-format", "json", "--spool"]).arg(spool.path());
        command.args(["run", "--workers", "1"]).args(arguments).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let program = Program::of(child);
        let address = listening(&mut log);
        Served::of(spool, program, address, log)
    }

    /// One that was started elsewhere, and says the rest in `log`.
    pub fn of(
        spool: impl Into<Arc<TestSpool>>,
        program: Program,
        address: String,
        log: BufReader<ChildStderr>,
    ) -> Served {
        let spool = spool.into();
        let (lines, logged) = std::sync::mpsc::channel();
        std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        Served { spool, program, address, log: logged }
    }

    pub fn wait_for_log(&self, text: &str) {
        let is_there = || self.log.try_iter().any(|line| line.contains(text));
        wait_until(text, is_there, String::new);
    }

    /// All that it logs up to there.
    pub fn log_until(&self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line: &String| !line.contains(text)) {
            lines.push(self.log.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{text:?} never came: {lines:?}")));
        }
        lines
    }

    /// Status, head and body.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let host = if headers.iter().any(|(name, _)| *name == "Host") { "" } else { "Host: localhost\r\n" };
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.1\r\n{host}{headers}Content-Length: {length}\r\n\r\n{body}");
        // A server that has heard enough may answer and hang up before it has read everything.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    /// A metric's figure, by its name and labels.
    pub fn metric(&self, series: &str) -> f64 {
        let (_, _, text) = self.ask("GET", "/metrics", &[], "");
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap_or_else(|| panic!("{series}\n{text}")).trim().parse().unwrap()
    }

    pub fn get(&self, path: &str) -> Value {
        let (status, _, body) = self.ask("GET", path, &[], "");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    pub fn act(&self, path: &str, body: Value) -> (u16, Value) {
        let bearer = format!("Bearer {TOKEN}");
        let (status, _, body) = self.ask("POST", path, &[("Authorization", &bearer)], &body.to_string());
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// Once every folder has been read.
    pub fn wait_until_counted(&self, messages: usize) {
        let counted = || {
            let queue = self.get("/api/v1/queue");
            let there: u64 =
                queue["levels"].as_array().unwrap().iter().map(|level| level["messages"].as_u64().unwrap()).sum();
            queue["counted"] == true && there == messages as u64
        };
        wait_until("all is counted", counted, || self.get("/api/v1/queue").to_string());
    }
}

pub fn listening(log: &mut BufReader<ChildStderr>) -> String {
    loop {
        let mut line = String::new();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended without serving");
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["message"] == "http" {
            return event["listen"].as_str().unwrap().to_owned();
        }
    }
}

pub const BIG: &str = "big@http.example.org.1700000000.1";
pub const HELD: &str = "held@http.example.org.1700000000.2";

pub fn two_messages() -> TestSpool {
    let spool = TestSpool::new();
    spool.put_packets("5", BIG, &[members("m", 30), members("n", 12)]);
    spool.put_packets("z", HELD, &[members("m", 3)]);
    spool
}
