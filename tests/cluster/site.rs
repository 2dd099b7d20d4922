//! A spool that several processes share, the relay that they send to, and the configuration of each.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::sink::Sink;
use crate::support::host::Host;
use crate::support::program::{self, Program};
use crate::support::spool::{TestSpool, wait_until};

pub const DONE: i32 = 0;
pub const FINDINGS: i32 = 1;
pub const USAGE: i32 = 2;
pub const TRY_AGAIN: i32 = 75;

/// What processes may differ in.
#[derive(Clone)]
pub struct Knobs {
    pub lease: &'static str,
    pub workers: usize,
    pub watch: &'static str,
    pub interval: &'static str,
    pub rescan: &'static str,
    /// Instead of the site's.
    pub relay: Option<String>,
    /// Further lines of `[cluster]`.
    pub cluster: String,
}

impl Default for Knobs {
    fn default() -> Knobs {
        let (lease, watch, interval, rescan) = ("2s", "auto", "1s", "2s");
        Knobs { lease, workers: 2, watch, interval, rescan, relay: None, cluster: String::new() }
    }
}

pub struct Site {
    pub spool: TestSpool,
    pub sink: Sink,
    /// For `cluster.database`; empty: none.
    pub database: String,
    pub knobs: Knobs,
    files: TempDir,
}

impl Site {
    pub fn new(database: &str) -> Site {
        Site::at(Ipv4Addr::LOCALHOST.into(), database)
    }

    /// One whose relay listens at that address.
    pub fn at(relay: IpAddr, database: &str) -> Site {
        let (spool, sink, files) = (TestSpool::new(), Sink::start(relay), tempfile::tempdir().unwrap());
        Site { spool, sink, database: database.to_owned(), knobs: Knobs::default(), files }
    }

    /// A configuration file for `who`, on a spool at that path.
    pub fn configuration(&self, who: &str, spool: &Path, knobs: &Knobs) -> PathBuf {
        let Knobs { lease, workers, watch, interval, rescan, relay, cluster } = knobs;
        let relay = relay.clone().unwrap_or_else(|| self.sink.url());
        let text = format!(
            "spool = '{}'\n[run]\nworkers = {workers}\nrecipients_per_transaction = 10\nrescan = '{rescan}'\n\
             [retry]\nschedule = ['1s']\n[watch]\nmode = '{watch}'\ninterval = '{interval}'\n[cluster]\ndatabase = '{}'\n\
             lease = '{lease}'\npoll = '50ms'\n{cluster}\n[[relay]]\nurl = '{relay}'\nhelo = '{who}'\n",
            spool.display(),
            self.database
        );
        let path = self.files.path().join(format!("{who}.toml"));
        fs::write(&path, text).unwrap();
        path
    }

    /// A command line in words, with this site's configuration.
    pub fn command(&self, line: &str) -> Command {
        self.command_at(line, "operator", self.spool.path(), &self.knobs)
    }

    fn command_at(&self, line: &str, who: &str, spool: &Path, knobs: &Knobs) -> Command {
        let mut command = program::command();
        command.args(line.split_whitespace()).arg("--config").arg(self.configuration(who, spool, knobs));
        command.stdin(Stdio::null());
        command
    }

    /// Runs it and looks at its exit code.
    #[track_caller]
    pub fn runs(&self, line: &str, code: i32) -> Told {
        Told::of(&mut self.command(line), code)
    }

    /// The same on a host, on the spool as it sees it.
    #[track_caller]
    pub fn runs_on(&self, host: &Host, line: &str, code: i32) -> Told {
        let mut command = self.command_at(line, &format!("operator-{}", host.name), host.shared(), &self.knobs);
        let child = host.spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        Told::from(&command, child.wait_with_output().unwrap(), code)
    }

    /// Starts a command on a host.
    pub fn start_on(&self, host: &Host, line: &str) -> Program {
        let who = format!("operator-{}", host.name);
        host.start(self.command_at(line, &who, host.shared(), &self.knobs).stderr(Stdio::null()).stdout(Stdio::null()))
    }

    /// A scheduler, which tells the relay that it is `who`.
    pub fn node(&self, who: &str) -> Node {
        self.node_with(who, &self.knobs)
    }

    pub fn node_with(&self, who: &str, knobs: &Knobs) -> Node {
        let log = Log::new();
        let mut command = self.command_at("run --log-format json --log-level debug", who, self.spool.path(), knobs);
        let program = Program::start(command.stderr(log.0.reopen().unwrap()));
        Node { who: who.to_owned(), program, log }.started()
    }

    /// One that is in a namespace of process numbers of its own, as in a container.
    pub fn node_in_a_container(&self, who: &str) -> Node {
        let (log, inner) = (
            Log::new(),
            self.command_at("run --log-format json --log-level debug", who, self.spool.path(), &self.knobs),
        );
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
        command.arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let program = Program::start(command.stderr(log.0.reopen().unwrap()));
        Node { who: who.to_owned(), program, log }.started()
    }

    pub fn node_on(&self, host: &Host, who: &str, knobs: &Knobs) -> Node {
        let log = Log::new();
        let mut command = self.command_at("run --log-format json --log-level debug", who, host.shared(), knobs);
        let program = host.start(command.stderr(log.0.reopen().unwrap()));
        Node { who: who.to_owned(), program, log }.started()
    }

    /// A message of so many packets with so many recipients each; all who are to get it. Their addresses begin with their
    /// packet's name: `prefix`, and a number.
    pub fn put(&self, priority: &str, name: &str, prefix: &str, packets: usize, each: usize) -> Vec<String> {
        let packets: Vec<Vec<String>> = (0..packets)
            .map(|packet| (0..each).map(|n| format!("{prefix}{packet:03}-{n:06}@example.org")).collect())
            .collect();
        self.spool.put_packets(priority, name, &packets);
        packets.concat()
    }
}

struct Log(tempfile::NamedTempFile);

impl Log {
    fn new() -> Log {
        Log(tempfile::NamedTempFile::new().unwrap())
    }
}

/// A running scheduler. Dropped, it is killed.
pub struct Node {
    pub who: String,
    program: Program,
    log: Log,
}

impl Node {
    #[track_caller]
    fn started(mut self) -> Node {
        let mut ended = false;
        let mut is_up = || {
            ended = self.program.has_ended();
            ended || !self.log.lines_with(&["\"distributing\""]).is_empty()
        };
        wait_until("the scheduler to start", &mut is_up, || self.log.text());
        assert!(!ended, "{} has ended: {}", self.who, self.log.text());
        self
    }

    pub fn log(&self) -> String {
        self.log.text()
    }

    pub fn lines_with(&self, words: &[&str]) -> Vec<String> {
        self.log.lines_with(words)
    }

    /// Waits until there are so many lines with all of `words`.
    #[track_caller]
    pub fn wait_for_lines(&self, count: usize, words: &[&str]) {
        let what = format!("{count} lines with {words:?} in {}'s log", self.who);
        wait_until(&what, || self.lines_with(words).len() >= count, || self.log());
    }

    pub fn id(&self) -> u32 {
        self.program.id()
    }

    /// Waits for the end, which something else brings about.
    pub fn wait(&mut self) {
        self.program.wait();
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// TERM, and waits for the end.
    #[track_caller]
    pub fn stop(&mut self) {
        let status = self.program.stop();
        assert_eq!(status.code(), Some(DONE), "{}: {}", self.who, self.log());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // For whoever looks for the reason.
        if let Some(place) = std::env::var_os("CLUSTER_LOGS").filter(|_| std::thread::panicking()) {
            let _ = fs::write(Path::new(&place).join(format!("{}.log", self.who)), self.log.text());
        }
    }
}

impl Log {
    fn text(&self) -> String {
        fs::read_to_string(self.0.path()).unwrap()
    }

    fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let text = self.text();
        text.lines().filter(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned).collect()
    }
}

/// What a command said.
#[derive(Debug)]
pub struct Told {
    pub stdout: String,
    pub stderr: String,
}

impl Told {
    #[track_caller]
    pub fn of(command: &mut Command, code: i32) -> Told {
        let output = command.output().unwrap();
        Told::from(command, output, code)
    }

    #[track_caller]
    fn from(command: &Command, Output { status, stdout, stderr }: Output, code: i32) -> Told {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what is said is UTF-8");
        let told = Told { stdout: text(stdout), stderr: text(stderr) };
        assert_eq!(status.code(), Some(code), "{command:?}\n{}--\n{}", told.stdout, told.stderr);
        told
    }

    #[track_caller]
    pub fn says(&self, words: &[&str]) -> &Told {
        for word in words {
            let is_there = self.stdout.contains(word) || self.stderr.contains(word);
            assert!(is_there, "no {word:?} in\n{}--\n{}", self.stdout, self.stderr);
        }
        self
    }
}

/// A halted process goes on when this is dropped, also when the test fails.
pub struct Halted(Pid);

impl Halted {
    pub fn new(node: &Node) -> Halted {
        let pid = Pid::from_raw(node.program.id().cast_signed()).expect("a process has a number");
        kill_process(pid, Signal::STOP).unwrap();
        Halted(pid)
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

/// How long the relay takes for a transaction where there has to be time for something to happen.
pub const SLOWLY: Duration = Duration::from_millis(300);
pub const QUICKLY: Duration = Duration::from_millis(5);
