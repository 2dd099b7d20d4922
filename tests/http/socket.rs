//! A Unix socket of the server's: what it finds in its place, and what it leaves.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Stdio};

use crate::served::{PATIENCE, listening};
use crate::support::program::{self, Program};
use crate::support::spool::TestSpool;

/// A spool, and a directory for the socket.
struct House {
    spool: TestSpool,
    dir: tempfile::TempDir,
}

impl House {
    fn new() -> House {
        House { spool: TestSpool::new(), dir: tempfile::tempdir().unwrap() }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("http")
    }

    /// A scheduler that is to listen there, and what it logs.
    fn start(&self) -> (Program, BufReader<ChildStderr>) {
        let mut command = program::command();
        command.env("SYMPA_DIST_HTTP_LISTEN", format!("unix:{}", self.socket().display()));
        command.args(["--log-format", "json", "--spool"]).arg(self.spool.path());
        command.args(["run", "--relay", "smtp://127.0.0.1:1"]).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        (Program::of(child), log)
    }

    fn serve(&self) -> Program {
        let (program, mut log) = self.start();
        assert_eq!(listening(&mut log), format!("unix:{}", self.socket().display()));
        std::thread::spawn(move || log.lines().for_each(drop));
        program
    }

    /// One that can't, and says so; it goes on and ends well.
    fn refuses(&self, why: &str) {
        let (mut program, log) = self.start();
        let mut lines = log.lines().map_while(Result::ok);
        let told = lines.find(|line| line.contains("nothing is served over HTTP")).expect("it says so");
        let place = self.socket().display().to_string();
        for word in ["http.listen", &place, why, "mail is distributed all the same"] {
            assert!(told.contains(word), "{word}: {told}");
        }
        assert!(lines.any(|line| line.contains("\"distributing\"")));
        std::thread::spawn(move || lines.for_each(drop));
        assert!(program.stop().success());
    }
}

fn is_served(socket: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else { return false };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.ends_with("ok\n")
}

#[test]
fn it_is_removed_by_a_stop_and_what_a_kill_has_left_is_replaced() {
    let house = House::new();
    let mut killed = house.serve();
    assert!(is_served(&house.socket()));
    killed.kill();
    assert!(house.socket().exists() && !is_served(&house.socket()));
    let mut stopped = house.serve();
    assert!(is_served(&house.socket()));
    assert!(stopped.stop().success());
    assert!(!house.socket().exists());
}

#[test]
fn one_that_another_process_listens_on_stays_its_own() {
    let house = House::new();
    let mut first = house.serve();
    house.refuses("another process listens there");
    assert!(is_served(&house.socket()), "whoever was refused has not removed it at its end");
    // Nor is one removed that has come since.
    std::fs::remove_file(house.socket()).unwrap();
    let _second = house.serve();
    assert!(first.stop().success());
    assert!(is_served(&house.socket()));
}

#[test]
fn a_file_that_is_no_socket_is_said_to_be_none_and_left_alone() {
    let house = House::new();
    std::fs::write(house.socket(), "somebody's").unwrap();
    house.refuses("a file that is no socket is there, and is left alone");
    assert_eq!(std::fs::read_to_string(house.socket()).unwrap(), "somebody's");
}
