//! A spool, a scheduler on it that serves the page, and a browser before it.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use serde_json::Value;
use tempfile::NamedTempFile;

use super::browser::Browser;
use crate::support::program::{Program, command};
use crate::support::relay::Relay;
use crate::support::spool::{TestSpool, wait_until};

pub const TOKEN: &str = "a-token-that-nobody-guesses";

pub struct House {
    pub spool: TestSpool,
    pub relay: Relay,
    pub scheduler: Program,
    token: NamedTempFile,
    workers: String,
    more: Vec<(&'static str, &'static str)>,
    pub port: u16,
}

impl House {
    pub fn start(spool: TestSpool, relay: Relay, workers: usize) -> House {
        House::start_with(spool, relay, workers, &[])
    }

    /// The same, with more variables of the environment.
    pub fn start_with(spool: TestSpool, relay: Relay, workers: usize, more: &[(&'static str, &'static str)]) -> House {
        let token = NamedTempFile::new().unwrap();
        std::fs::write(token.path(), format!("{TOKEN}\n")).unwrap();
        // Free a moment ago; the same one is needed again after a restart.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let workers = workers.to_string();
        let scheduler = run(spool.path(), &relay, &workers, port, token.path(), more);
        House { spool, relay, scheduler, token, workers, more: more.to_vec(), port }
    }

    /// Starts the scheduler again, on the same port.
    pub fn restart(&mut self) {
        self.scheduler = run(self.spool.path(), &self.relay, &self.workers, self.port, self.token.path(), &self.more);
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    #[track_caller]
    pub fn wait_until_served(&self) {
        let listens = || std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
        wait_until("the scheduler serves", listens, String::new);
    }

    /// Opens the page and waits until it is current.
    #[track_caller]
    pub fn visit(&self, browser: &Browser) {
        self.wait_until_served();
        browser.go(&self.url());
        browser.wait_for("the page is current", |browser| browser.text("#live-text").as_deref() == Some("live"));
    }

    /// `queue --json`, which reads the spool itself.
    pub fn queue(&self) -> Vec<Value> {
        let output = command().arg("--spool").arg(self.spool.path()).args(["queue", "--json"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Types the token where the page asks for it.
    #[track_caller]
    pub fn unlock(&self, browser: &Browser) {
        browser.wait_for("the question for the token", |browser| browser.count("dialog #token") == 1);
        browser.keys(TOKEN.chars().chain([super::browser::ENTER]));
    }

    /// Waits until a message's folder stands at that priority.
    #[track_caller]
    pub fn wait_until_at(&self, priority: &str, id: &str) {
        let there = format!("{priority}/{id}");
        wait_until(&there, || self.spool.waiting().contains(&there), || format!("{:?}", self.spool.waiting()));
    }
}

fn run(spool: &Path, relay: &Relay, workers: &str, port: u16, token: &Path, more: &[(&str, &str)]) -> Program {
    let relay = relay.url().to_string();
    let environment = [
        ("SYMPA_DIST_HTTP_LISTEN", format!("127.0.0.1:{port}")),
        ("SYMPA_DIST_HTTP_TOKEN_FILE", token.to_str().unwrap().to_owned()),
    ];
    let environment = environment.iter().map(|(name, value)| (*name, value.as_str()));
    let environment: Vec<(&str, &str)> = environment.chain(more.iter().copied()).collect();
    Program::run_with(spool, &["--relay", &relay, "--workers", workers], &environment)
}

/// A message's row on the page.
pub fn row(id: &str) -> String {
    format!("#rows [data-id=\"{id}\"]")
}
