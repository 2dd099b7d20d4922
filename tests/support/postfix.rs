//! Postfix, the real one, with a configuration and a queue of its own; and its sink.
//!
//! Both are children of the test: they end with it, also when it fails. Nothing of the machine's own Postfix is read or
//! touched, and nothing leaves the loopback interface. Where they are not installed, the tests fail.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use super::spool::wait_until;

const MASTER: &str = "/usr/lib/postfix/sbin/master";
const SMTP_SINK: &str = "/usr/sbin/smtp-sink";

/// A port that nobody else uses now. Whoever is going to listen on it does so at once.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn is_listening(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn wait_for(port: u16, what: &str, child: &mut Child) {
    let listens = || {
        assert!(child.try_wait().unwrap().is_none(), "{what} has ended: is the package postfix installed?");
        is_listening(port)
    };
    wait_until(what, listens, String::new);
}

fn start(program: &str, arguments: &[&str]) -> Child {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // So that its own children can be ended with it.
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}: these tests need the package postfix"))
}

fn end(child: &mut Child) {
    let pid = Pid::from_child(child);
    let _ = kill_process(pid, Signal::TERM);
    let _ = child.wait();
    // master takes its children with it; a sink that was forked for a connection does not.
    let _ = kill_process_group(pid, Signal::KILL);
}

/// Which protocol a sink speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Smtp,
    Lmtp,
}

/// smtp-sink, keeping each message that it takes in a file.
pub struct SmtpSink {
    child: Child,
    pub port: u16,
    messages: TempDir,
}

impl SmtpSink {
    pub fn start(speaks: Speaks) -> SmtpSink {
        let messages = tempfile::tempdir().unwrap();
        fs::set_permissions(messages.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let port = free_port();
        let (template, address) = (format!("{}/%M.", messages.path().display()), format!("127.0.0.1:{port}"));
        let mut arguments = vec!["-u", "nobody", "-d", &template, &address, "512"];
        if speaks == Speaks::Lmtp {
            arguments.insert(0, "-L");
        }
        let mut child = start(SMTP_SINK, &arguments);
        wait_for(port, "smtp-sink", &mut child);
        SmtpSink { child, port, messages }
    }

    /// All who got a message, sorted, as often as it was handed in: what a Postfix that was ended in the middle sends again from
    /// its own queue is no repeat of whoever handed it in.
    pub fn recipients(&self) -> Vec<String> {
        let mut recipients = Vec::new();
        let mut by_postfix = BTreeSet::new();
        for entry in fs::read_dir(self.messages.path()).unwrap() {
            let file = fs::File::open(entry.unwrap().path()).unwrap();
            let lines = BufReader::new(file).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            // X-Rcpt-Args: <a@b.org> or X-Rcpt-Args: <a@b.org> ORCPT=…
            let paths = head.iter().filter_map(|line| line.strip_prefix("X-Rcpt-Args: <"));
            let mut here: Vec<String> = paths.map(|path| path.split('>').next().unwrap().to_owned()).collect();
            const BY: &str = "by postfix.test (Postfix) with ESMTP id ";
            if let Some(id) = head.iter().find_map(|line| line.trim().strip_prefix(BY)) {
                let line_of = |recipient: &String| (id.to_owned(), recipient.clone());
                let lines: Vec<_> = here.iter().map(line_of).collect();
                here.retain(|recipient| !by_postfix.contains(&line_of(recipient)));
                by_postfix.extend(lines);
            }
            recipients.append(&mut here);
        }
        recipients.sort();
        recipients
    }

    /// What came with a null sender, whole.
    pub fn reports(&self) -> Vec<Vec<u8>> {
        let files = fs::read_dir(self.messages.path()).unwrap();
        let files = files.map(|entry| fs::read(entry.unwrap().path()).unwrap());
        let reports = files
            .filter(|file| file.windows(16).any(|text| text == b"X-Mail-Args: <>\n" || text == b"X-Mail-Args: <> "));
        reports.collect()
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A Postfix that takes mail on a loopback port and relays it to a sink.
pub struct Postfix {
    child: Option<Child>,
    pub port: u16,
    dir: TempDir,
    /// main.cf, without what a test adds to it.
    main: String,
}

/// Queue directories of the user postfix alone.
const PRIVATE: &[&str] =
    &["active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"];

/// Services as Debian's master.cf has them, without chroot.
const SERVICES: &str = "\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
";

impl Postfix {
    /// Starts one that relays to a sink, with further lines of main.cf.
    pub fn start(sink: &SmtpSink, more: &str) -> Postfix {
        let mut postfix = Postfix::new(sink.port);
        postfix.restart(more);
        postfix
    }

    /// One that relays to that port, not running yet.
    pub fn new(relay: u16) -> Postfix {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut postfix = Postfix { child: None, port, dir, main: String::new() };
        let (etc, queue, data) = (postfix.etc(), postfix.path("queue"), postfix.path("data"));
        let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        for path in [&etc, &queue, &data] {
            fs::create_dir(path).unwrap();
            open(path);
        }
        open(postfix.dir.path());
        let (user, _) = ids("postfix");
        let (_, postdrop) = ids("postdrop");
        chown(&data, Some(user), None).unwrap();
        for (names, owner, group, mode) in [
            (PRIVATE, Some(user), None, 0o700),
            (&["maildrop"], Some(user), Some(postdrop), 0o730),
            (&["public"], Some(user), Some(postdrop), 0o710),
            (&["pid"], None, None, 0o755),
        ] {
            for name in names {
                let path = queue.join(name);
                fs::create_dir(&path).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                chown(&path, owner, group).unwrap();
            }
        }
        postfix.main = format!(
            "compatibility_level = 3.6\nqueue_directory = {}\ndata_directory = {}\n\
             daemon_directory = /usr/lib/postfix/sbin\ncommand_directory = /usr/sbin\n\
             inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmynetworks = 127.0.0.0/8\nmyhostname = postfix.test\n\
             mydestination =\nalias_maps =\nenable_long_queue_ids = yes\n\
             hash_queue_names = defer\nrelayhost = [127.0.0.1]:{}\nminimal_backoff_time = 1s\nqueue_run_delay = 1s\n\
             smtpd_relay_restrictions = permit_mynetworks, reject\n",
            queue.display(),
            data.display(),
            relay,
        );
        postfix.write_services(|_| true);
        postfix
    }

    /// Which services it has from its next start on.
    pub fn write_services(&self, wanted: impl Fn(&str) -> bool) {
        let services: String = SERVICES.lines().filter(|line| wanted(line)).map(|line| format!("{line}\n")).collect();
        let text = format!("127.0.0.1:{} inet n - n - 100 smtpd\n{services}", self.port);
        fs::write(self.etc().join("master.cf"), text).unwrap();
    }

    /// The process id of its master, which is its process group's as well.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write_main(&self, more: &str) {
        fs::write(self.etc().join("main.cf"), format!("{}{more}\n", self.main)).unwrap();
    }

    fn etc(&self) -> PathBuf {
        self.path("etc")
    }

    pub fn come_up(&mut self) {
        let etc = self.etc();
        let mut child = start(MASTER, &["-c", etc.to_str().unwrap(), "-d"]);
        wait_for(self.port, "postfix", &mut child);
        self.child = Some(child);
    }

    pub fn go_down(&mut self) {
        if let Some(mut child) = self.child.take() {
            end(&mut child);
        }
    }

    /// Waits until it has nothing left to hand on. One that is ended before sends some of it again, and some a minute later.
    /// (Its queues lie flat for that: main.cf hashes only `defer`.)
    pub fn wait_until_idle(&self) {
        let files = || -> usize {
            let entries = |queue| fs::read_dir(self.path("queue").join(queue)).unwrap();
            ["incoming", "active", "deferred"].into_iter().flat_map(entries).count()
        };
        wait_until("postfix has handed on all", || files() == 0, || files().to_string());
    }

    /// Starts it again, with other further lines of main.cf.
    pub fn restart(&mut self, more: &str) {
        self.go_down();
        self.write_main(more);
        self.come_up();
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.go_down();
    }
}

/// A user's and a group's number of that name, 0 where there is none.
fn ids(name: &str) -> (u32, u32) {
    let number = |file: &str| {
        let text = fs::read_to_string(file).unwrap();
        let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
        line.split(':').nth(2)?.parse::<u32>().ok()
    };
    let ids = (number("/etc/passwd"), number("/etc/group"));
    assert!(ids.0.or(ids.1).is_some(), "there is no {name}: these tests need the package postfix");
    (ids.0.unwrap_or(0), ids.1.unwrap_or(0))
}
