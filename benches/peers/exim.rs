//! Exim, from a package that is only unpacked, with a configuration and a spool of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::packages;
use crate::record::scratch;
use crate::sinks::{Far, Kind};
use crate::subject::{Drain, children_cpu, message};

/// The most recipients of one message that Exim reads back from its spool is 16,384.
pub const RECIPIENTS: u64 = 16_000;

/// The user that Debian's Exim is built to run as.
const USER: &str = "Debian-exim";

pub struct Exim {
    root: PathBuf,
    pub version: String,
}

impl Exim {
    pub const RECIPIENTS: u64 = RECIPIENTS;

    pub fn get() -> Result<Exim, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("Exim wants to be started by root".into());
        }
        let (root, version) = packages::unpack(&["exim4-daemon-light", "libidn12"])?;
        Ok(Exim { root, version })
    }

    /// Lets it distribute one message that lies in its queue, 50 recipients a transaction, over so many connections.
    pub fn drain(&self, connections: usize) -> Drain {
        let dir = tempfile::tempdir_in(scratch()).expect("a directory for Exim");
        let mut sink = Far::start(Kind::SmtpSink);
        self.configure(dir.path(), connections, sink.port);
        let mail = dir.path().join("mail");
        let recipients = (0..RECIPIENTS).map(|n| format!("RCPT TO:<user{n:07}@d{:04}.example.org>\n", n % 5000));
        let text = format!(
            "HELO bench\nMAIL FROM:<big-owner@lists.example.org>\n{}DATA\n{}.\nQUIT\n",
            recipients.collect::<String>(),
            message()
        );
        std::fs::write(&mail, text).expect("a file");
        let fed = self.command(dir.path(), "-bS").stdin(std::fs::File::open(&mail).expect("just written")).status();
        assert!(fed.expect("unshare").success(), "Exim takes the message in");
        let _ = Command::new("sync").status();
        let before = children_cpu();
        let started = Instant::now();
        // In the foreground, until the queue has been gone through.
        let run = self.command(dir.path(), "-qf").stdin(Stdio::null()).status();
        let took = started.elapsed().as_secs_f64();
        assert!(run.expect("unshare").success(), "Exim goes through its queue");
        let cpu = children_cpu() - before;
        sink.expect(RECIPIENTS / 50);
        Drain { took, span: sink.span(), cpu, peak: 0.0 }
    }

    fn configure(&self, dir: &Path, connections: usize, port: u16) {
        let (place, root) = (dir.display(), self.root.display());
        let text = format!(
            "keep_environment = LD_LIBRARY_PATH
exim_path = {root}/usr/sbin/exim4
spool_directory = {place}/spool
log_file_path = {place}/log/%slog
primary_hostname = exim.test
queue_only
message_logs = false
remote_max_parallel = {connections}
recipients_max = 0
never_users =
begin routers
sink:
  driver = manualroute
  transport = sink
  route_list = * 127.0.0.1 byname
  self = send
begin transports
sink:
  driver = smtp
  port = {port}
  allow_localhost
  max_rcpt = 50
  hosts_try_chunking =
  hosts_try_fastopen =
begin retry
* * F,1h,1s
"
        );
        std::fs::write(dir.join("configuration"), text).expect("a file");
        // A user that only Exim sees, with a number that nobody has.
        let number = 64_000;
        for (file, line) in [
            ("passwd", format!("{USER}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin\n")),
            ("group", format!("{USER}:x:{number}:\n")),
        ] {
            let own = std::fs::read_to_string(Path::new("/etc").join(file)).expect("the machine's users");
            let own: String =
                own.lines().filter(|line| !line.starts_with(USER)).map(|line| format!("{line}\n")).collect();
            std::fs::write(dir.join(file), own + &line).expect("a file");
        }
        use std::os::unix::fs::{PermissionsExt, chown};
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        for name in ["spool", "log"] {
            std::fs::create_dir(dir.join(name)).expect("a directory");
            chown(dir.join(name), Some(number), Some(number)).expect("as root");
        }
    }

    fn command(&self, dir: &Path, mode: &str) -> Command {
        let script =
            "mount --bind \"$1/passwd\" /etc/passwd && mount --bind \"$1/group\" /etc/group && shift && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(dir);
        command.arg(self.root.join("usr/sbin/exim4")).arg("-C").arg(dir.join("configuration")).args(["-odq", mode]);
        command.env("LD_LIBRARY_PATH", self.root.join("usr/lib/x86_64-linux-gnu"));
        command
    }
}
