//! What is measured: the built program as an operator runs it, and spools for it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sympa_dist::spool::Spool;
use sympa_dist::spool::disk::Disk;

use super::record::scratch;
use super::sinks::{Far, Kind};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_sympa-dist");
pub const BIG: &str = "big@lists.example.org";

/// 4 KB, as the peers were measured with.
pub fn message() -> String {
    format!(
        "From: list@lists.example.org\nSubject: a post\n\n{}",
        "A line of text, of about forty octets it is\n".repeat(92)
    )
}

pub fn program(spool: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("--spool").arg(spool).env("SYMPA_DIST_HTTP_LISTEN", "").stdin(Stdio::null());
    command
}

/// A spool of one message to so many.
pub struct Filled {
    pub dir: tempfile::TempDir,
    pub message: PathBuf,
}

pub fn fill(recipients: u64, packet_size: usize) -> Filled {
    let dir = tempfile::tempdir_in(scratch()).expect("a directory for the spool");
    let (post, members) = (dir.path().join("post"), dir.path().join("members"));
    std::fs::write(&post, message()).expect("a file");
    let lines: String = (0..recipients).map(|n| format!("user{n:07}@d{:04}.example.org\n", n % 5000)).collect();
    std::fs::write(&members, lines).expect("a file");
    let spool = dir.path().join("spool");
    let done = program(&spool)
        .args(["inject", "--list", BIG, "--priority", "9", "--packet-size", &packet_size.to_string()])
        .arg("--message")
        .arg(&post)
        .arg("--recipients")
        .arg(format!("mail={}", members.display()))
        .output()
        .expect("inject");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let id = String::from_utf8(done.stdout).expect("an id");
    let message = spool.join("distribute/9").join(id.trim());
    // Deleting and syncing what went before must not be measured.
    let _ = Command::new("sync").status();
    Filled { dir, message }
}

impl Filled {
    pub fn spool(&self) -> PathBuf {
        self.dir.path().join("spool")
    }
}

/// How `run` is started.
#[derive(Clone, Copy)]
pub struct Setting {
    pub workers: usize,
    pub recipients: usize,
    pub sync: &'static str,
    pub log: &'static str,
    pub uncertain: &'static str,
    /// `http.listen`: what is served besides is measured by itself.
    pub http: &'static str,
}

pub const DEFAULT: Setting =
    Setting { workers: 8, recipients: 50, sync: "data", log: "info", uncertain: "resend", http: "" };

/// A running scheduler. Dropped, it is killed.
pub struct Run {
    child: Child,
    log: tempfile::NamedTempFile,
}

pub fn launch(spool: &Path, relay: &str, setting: Setting) -> Run {
    launch_with(spool, relay, setting, &[])
}

/// With further settings, in the environment.
pub fn launch_with(spool: &Path, relay: &str, setting: Setting, environment: &[(&str, String)]) -> Run {
    let log = tempfile::NamedTempFile::new_in(scratch()).expect("a log file");
    let mut command = program(spool);
    command.args(run_arguments(relay, setting)).env("SYMPA_DIST_HTTP_LISTEN", setting.http);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let child = command.stdout(Stdio::null()).stderr(log.reopen().expect("it is there")).spawn().expect("run");
    Run { child, log }
}

/// Behind `--spool`.
pub fn run_arguments(relay: &str, setting: Setting) -> Vec<String> {
    let Setting { workers, recipients, sync, log, uncertain, http: _ } = setting;
    let text = format!(
        "--log-level {log} --log-format json run --relay {relay} --workers {workers} --checkpoint-sync {sync} \
         --on-uncertain {uncertain} --recipients-per-transaction {recipients}"
    );
    text.split(' ').map(str::to_owned).collect()
}

impl Run {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// TERM, and its end, which must be a good one.
    pub fn term(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("TERM");
        assert!(self.child.wait().expect("its end").success());
    }

    /// KILL, and its end.
    pub fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("its end");
    }

    /// Where it serves, once it says so in its log.
    pub fn http(&self) -> String {
        let patience = Instant::now() + Duration::from_secs(10);
        loop {
            let log = std::fs::read_to_string(self.log.path()).expect("the log");
            let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let said = lines
                .filter(|line| line["message"] == "http")
                .find_map(|line| Some(line["listen"].as_str()?.to_owned()));
            if let Some(address) = said {
                return address;
            }
            assert!(Instant::now() < patience, "it doesn't serve: {log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A number of `/proc/<pid>/status`.
    pub fn of_status(&self, name: &str) -> f64 {
        number_in(&format!("/proc/{}/status", self.id()), name)
    }

    /// CPU seconds of its threads of that name.
    pub fn cpu_of(&self, thread: &str) -> f64 {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.id())).expect("it runs");
        let nanoseconds = |at: std::fs::DirEntry| -> Option<f64> {
            let read = |file: &str| std::fs::read_to_string(at.path().join(file)).ok();
            read("comm").filter(|name| name.trim() == thread)?;
            // On a processor, waiting for one, how often: Documentation/scheduler/sched-stats.rst.
            read("schedstat")?.split(' ').next()?.parse().ok()
        };
        threads.filter_map(|at| nanoseconds(at.ok()?)).sum::<f64>() / 1e9
    }

    /// How often its threads went to sleep so far.
    pub fn wake_ups(&self) -> f64 {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.id())).expect("it runs");
        let status = |thread: std::fs::DirEntry| thread.path().join("status").display().to_string();
        threads.map(|thread| number_in(&status(thread.expect("a thread")), "voluntary_ctxt_switches:")).sum()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // After its end both do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU seconds of children that were waited for.
pub fn children_cpu() -> f64 {
    // SAFETY: getrusage writes one struct, which it is given.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// How a distributor emptied its queue into a sink.
#[derive(Clone, Copy)]
pub struct Drain {
    /// Seconds from the start of its process.
    pub took: f64,
    /// Seconds from the first to the last transaction, where the sink can say so.
    pub span: Option<f64>,
    /// CPU seconds of its processes.
    pub cpu: f64,
    /// Most memory that it had, MiB. Of this program only.
    pub peak: f64,
}

/// Distributes a message to so many.
pub fn distribute(kind: Kind, recipients: u64, packet_size: usize, setting: Setting) -> Drain {
    let filled = fill(recipients, packet_size);
    let mut sink = Far::start(kind);
    let before = children_cpu();
    let started = Instant::now();
    let run = launch(&filled.spool(), &sink.url(), setting);
    while filled.message.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = started.elapsed().as_secs_f64();
    let peak = run.of_status("VmHWM:") / 1024.0;
    run.term();
    let cpu = children_cpu() - before;
    let packets = recipients.div_ceil(packet_size as u64);
    let last = recipients - (packets - 1) * packet_size as u64;
    let transactions = |n: u64| n.div_ceil(setting.recipients as u64);
    sink.expect((packets - 1) * transactions(packet_size as u64) + transactions(last));
    Drain { took, span: sink.span(), cpu, peak }
}

/// A spool of so many messages to one recipient each.
pub fn waiting(messages: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir_in(scratch()).expect("a directory for the spool");
    Spool::create(&Disk::default(), dir.path()).expect("a spool");
    for n in 0..messages {
        let place = dir.path().join(format!("distribute/5/list{n}@lists.example.org.17{n:08}.1"));
        std::fs::create_dir(&place).expect("a folder");
        std::fs::write(place.join("recipients.mail.0001"), format!("one@m{n}.example.org\n")).expect("a packet");
        std::fs::write(place.join("message"), "Subject: x\n\nx\n").expect("a message");
    }
    dir
}

/// Runs it to its end; its peak resident memory in MiB, as the kernel had it when it was last looked at. (What wait4 says
/// includes the pages that the child had from this process before it became the program.)
pub fn peak_memory(command: &mut Command) -> f64 {
    let mut child = command.spawn().expect("inject");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0;
    loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        if let Some(kilobytes) = line.and_then(|line| line.parse::<f64>().ok()) {
            peak = kilobytes / 1024.0;
        }
        if let Some(status) = child.try_wait().expect("its end") {
            assert!(status.success(), "inject");
            return peak;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn number_in(file: &str, name: &str) -> f64 {
    let text = std::fs::read_to_string(file).expect("it runs");
    let value = text.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel says so");
    value.trim().trim_end_matches(" kB").parse().expect("a number")
}
