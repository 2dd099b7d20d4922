//! What is measured. Each scenario checks, at the receiving end, that all was delivered that it claims.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sympa_dist::deliver::sink::{Sink, SinkOptions};
use sympa_dist::render::wire;
use sympa_dist::spool::disk::Disk;
use sympa_dist::spool::{Spool, moves};

use super::ceiling::{self, Load};
use super::peers;
use super::record::{Record, percentile, scratch};
use super::sinks::{Far, Kind};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sympa-dist");
const BIG: &str = "big@lists.example.org";

/// 4 KB, as the peers were measured with.
fn message() -> String {
    format!(
        "From: list@lists.example.org\nSubject: a post\n\n{}",
        "A line of text, of about forty octets it is\n".repeat(92)
    )
}

fn program(spool: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("--spool").arg(spool).stdin(Stdio::null());
    command
}

/// A spool of one message to so many.
struct Filled {
    dir: tempfile::TempDir,
    message: PathBuf,
}

fn fill(recipients: u64, packet_size: usize) -> Filled {
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
    fn spool(&self) -> PathBuf {
        self.dir.path().join("spool")
    }
}

/// How `run` is started.
#[derive(Clone, Copy)]
struct Setting {
    workers: usize,
    recipients: usize,
    sync: &'static str,
    log: &'static str,
    uncertain: &'static str,
}

const DEFAULT: Setting = Setting { workers: 8, recipients: 50, sync: "data", log: "info", uncertain: "resend" };

fn launch(spool: &Path, relay: &str, setting: Setting) -> Child {
    let log = std::fs::File::create(scratch().join("log")).expect("a log file");
    program(spool)
        .args(["--log-level", setting.log, "--log-format", "json", "run", "--relay", relay])
        .args(["--workers", &setting.workers.to_string(), "--checkpoint-sync", setting.sync])
        .args(["--on-uncertain", setting.uncertain])
        .args(["--recipients-per-transaction", &setting.recipients.to_string()])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("run")
}

fn term(child: &mut Child) {
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).expect("a process has an id");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("TERM");
    assert!(child.wait().expect("its end").success());
}

/// CPU seconds of children that were waited for.
fn children_cpu() -> f64 {
    // SAFETY: getrusage writes one struct, which it is given.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Distributes a message to so many; seconds, and CPU seconds of this program.
fn distribute(kind: Kind, recipients: u64, packet_size: usize, setting: Setting) -> (f64, f64) {
    let filled = fill(recipients, packet_size);
    let mut sink = Far::start(kind);
    let before = children_cpu();
    let started = Instant::now();
    let mut child = launch(&filled.spool(), &format!("smtp://127.0.0.1:{}", sink.port), setting);
    while filled.message.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = started.elapsed().as_secs_f64();
    term(&mut child);
    let cpu = children_cpu() - before;
    let packets = recipients.div_ceil(packet_size as u64);
    let last = recipients - (packets - 1) * packet_size as u64;
    let transactions = |n: u64| n.div_ceil(setting.recipients as u64);
    sink.expect((packets - 1) * transactions(packet_size as u64) + transactions(last));
    (took, cpu)
}

fn bare(kind: Kind, recipients: u64, connections: usize, sync: bool) -> f64 {
    let mut sink = Far::start(kind);
    let body = wire::encode(message().as_bytes()).wire;
    let transactions = recipients / 50;
    let load = Load { port: sink.port, connections, transactions, recipients: 50, body: &body, sync };
    let took = ceiling::run(&load).as_secs_f64();
    sink.expect(transactions);
    took
}

/// T1: recipients a second, against a bare client with the same checkpoints, side by side.
pub fn throughput(record: &mut Record, quick: bool) {
    let (recipients, rounds) = if quick { (200_000, 3) } else { (1_000_000, 5) };
    for kind in [Kind::Own, Kind::SmtpSink] {
        for (sync, name) in [(true, "data"), (false, "none")] {
            let setting = Setting { sync: name, ..DEFAULT };
            let (mut rates, mut ceilings, mut ratios, mut cpus) = (vec![], vec![], vec![], vec![]);
            for _ in 0..rounds {
                let ceiling = bare(kind, recipients, setting.workers, sync);
                let (took, cpu) = distribute(kind, recipients, 1000, setting);
                rates.push(recipients as f64 / took);
                ceilings.push(recipients as f64 / ceiling);
                ratios.push(ceiling / took);
                cpus.push(cpu * 100_000.0 / recipients as f64);
            }
            let what = |figure: &str| format!("{}, checkpoint_sync {name}, 8 workers: {figure}", kind.name());
            record.add("throughput", what("sympa-dist"), "recipients/s", rates);
            record.add("throughput", what("bare client"), "recipients/s", ceilings);
            record.add("throughput", what("ratio"), "of the bare client", ratios);
            record.add("throughput", what("CPU"), "s per 100,000 recipients", cpus);
        }
    }
}

/// T2: against Postfix as distributor, side by side, into the same sink.
pub fn peers(record: &mut Record, quick: bool) {
    let (recipients, rounds) = if quick { (20_000, 2) } else { (100_000, 5) };
    for concurrency in [20, 50] {
        let (mut ours, mut theirs, mut faster, mut cheaper) = (vec![], vec![], vec![], vec![]);
        for _ in 0..rounds {
            let (their_time, their_cpu) = peers::postfix(recipients, concurrency);
            let (own_time, own_cpu) = distribute(Kind::SmtpSink, recipients, 1000, DEFAULT);
            ours.push(recipients as f64 / own_time);
            theirs.push(recipients as f64 / their_time);
            faster.push(their_time / own_time);
            cheaper.push(their_cpu / own_cpu);
        }
        let against = |figure: &str| format!("Postfix, concurrency {concurrency}: {figure}");
        record.add("peers", against("Postfix"), "recipients/s", theirs);
        record.add("peers", against("sympa-dist, start included"), "recipients/s", ours);
        record.add("peers", against("faster by"), "times", faster);
        record.add("peers", against("CPU of Postfix"), "times ours", cheaper);
    }
}

/// T4: how long an urgent message waits while four workers drain a big one.
pub fn latency(record: &mut Record, quick: bool) {
    let urgent = if quick { 30 } else { 200 };
    for delay in [0, 5, 20] {
        let filled = fill(2_000_000, 5000);
        let delay = Duration::from_millis(delay);
        let sink = Sink::start(SinkOptions { record: true, delay, ..SinkOptions::default() }).expect("a sink");
        let mut child = launch(&filled.spool(), &sink.url().to_string(), Setting { workers: 4, ..DEFAULT });
        while sink.transactions() < 20 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut arrivals = Vec::new();
        for n in 0..urgent {
            if !filled.message.exists() {
                break;
            }
            let id = format!("urgent{n}@lists.example.org.1700000000.{n}");
            let draft = filled.spool().join("incoming").join(&id);
            std::fs::create_dir(&draft).expect("a draft");
            std::fs::write(draft.join("recipients.mail.0001"), format!("one@u{n}.example.org\n")).expect("a packet");
            std::fs::write(draft.join("message"), format!("Subject: {id}\n\nnow\n")).expect("a message");
            std::fs::rename(&draft, filled.spool().join("distribute/0").join(&id)).expect("the rename");
            arrivals.push((id, Instant::now()));
            // Not in step with anything.
            std::thread::sleep(Duration::from_micros(3_000 + (n * 7_919) % 11_000));
        }
        while filled.message.parent().expect("distribute/9").with_file_name("0").read_dir().expect("0").count() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        term(&mut child);
        let deliveries = sink.stop();
        let waits: Vec<f64> = arrivals
            .iter()
            .map(|(id, arrival)| {
                let delivery = deliveries.iter().find(|delivery| delivery.subject.as_deref() == Some(id));
                let data = delivery.unwrap_or_else(|| panic!("{id} never came")).data_at;
                data.saturating_duration_since(*arrival).as_secs_f64() * 1000.0
            })
            .collect();
        let what = |p: &str| {
            format!("{} ms a transaction, 4 workers: urgent message waits, {p} of {}", delay.as_millis(), waits.len())
        };
        for (name, percent) in [("p50", 50.0), ("p99", 99.0), ("max", 100.0)] {
            record.add("latency", what(name), "ms", vec![percentile(&waits, percent)]);
        }
    }
}

/// T6: from TERM to the end, in the middle of a big message.
pub fn stop(record: &mut Record, quick: bool) {
    for delay in [0, 20] {
        let filled = fill(2_000_000, 5000);
        let delay = Duration::from_millis(delay);
        let mut times = Vec::new();
        for _ in 0..if quick { 5 } else { 20 } {
            let sink = Sink::start(SinkOptions { delay, ..SinkOptions::default() }).expect("a sink");
            let mut child = launch(&filled.spool(), &sink.url().to_string(), Setting { workers: 8, ..DEFAULT });
            while sink.transactions() < 40 {
                std::thread::sleep(Duration::from_millis(1));
            }
            let asked = Instant::now();
            term(&mut child);
            times.push(asked.elapsed().as_secs_f64() * 1000.0);
            assert!(filled.message.exists(), "stopped in the middle");
        }
        record.add("stop", format!("{} ms a transaction, 8 workers: TERM to exit", delay.as_millis()), "ms", times);
    }
}

/// T5: one rename, whatever the number of packets.
pub fn requeue(record: &mut Record, quick: bool) {
    let times = if quick { 100 } else { 1000 };
    let mut medians = Vec::new();
    for packets in [1u64, 40_000] {
        let filled = fill(packets, 1);
        let spool = Spool::open(&Disk::default(), &filled.spool()).expect("a spool");
        let id = filled.message.file_name().expect("a name").to_str().expect("text").parse().expect("an id");
        let mut waits = Vec::new();
        for n in 0..times {
            let to = ["3", "4"][n % 2].parse().expect("a priority");
            let started = Instant::now();
            moves::requeue(&spool, &id, to).expect("requeue");
            waits.push(started.elapsed().as_secs_f64() * 1000.0);
        }
        record.add("requeue", format!("{packets} packets, p50 of {times}"), "ms", vec![percentile(&waits, 50.0)]);
        record.add("requeue", format!("{packets} packets, p99 of {times}"), "ms", vec![percentile(&waits, 99.0)]);
        medians.push(percentile(&waits, 50.0));
    }
    record.add("requeue", "40,000 packets against 1, p50", "ratio", vec![medians[1] / medians[0]]);
}

/// A spool of so many messages to one recipient each.
fn waiting(messages: u32) -> tempfile::TempDir {
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

/// T10: from process start to the first DATA, on a spool of waiting messages, against `find` over the same tree.
fn start_up(record: &mut Record, messages: u32, rounds: usize) {
    let dir = waiting(messages);
    let (mut firsts, mut finds, mut ratios) = (vec![], vec![], vec![]);
    for _ in 0..rounds {
        let started = Instant::now();
        assert!(Command::new("find").arg(dir.path()).stdout(Stdio::null()).status().expect("find").success());
        let find = started.elapsed().as_secs_f64();
        // Nobody gets further than the first transaction: what waits stays the same from round to round.
        let sink = Sink::start(SinkOptions { record: true, delay: Duration::from_secs(60), ..SinkOptions::default() });
        let sink = sink.expect("a sink");
        let started = Instant::now();
        let mut child = launch(dir.path(), &sink.url().to_string(), Setting { workers: 1, ..DEFAULT });
        while sink.connections() == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
        let first = started.elapsed().as_secs_f64();
        child.kill().expect("kill");
        child.wait().expect("its end");
        firsts.push(first * 1000.0);
        finds.push(find * 1000.0);
        ratios.push(first / find);
    }
    record.add("start", format!("{messages} messages: first connection after process start"), "ms", firsts);
    record.add("start", format!("{messages} messages: find"), "ms", finds);
    record.add("start", format!("{messages} messages: ratio"), "of find", ratios);
}

pub fn start(record: &mut Record, quick: bool) {
    start_up(record, 10_000, 5);
    if !quick {
        start_up(record, 100_000, 5);
    }
}

/// T8: inject against sort, split and sync of the same lines.
pub fn inject(record: &mut Record, quick: bool) {
    let recipients = if quick { 200_000u64 } else { 1_000_000 };
    let dir = tempfile::tempdir_in(scratch()).expect("a directory");
    let (post, members) = (dir.path().join("post"), dir.path().join("members"));
    std::fs::write(&post, message()).expect("a file");
    // In no order: n times a number that has no factor in common with the count.
    let lines: String = (0..recipients)
        .map(|n| n * 7_368_787 % recipients)
        .map(|n| format!("user{n:07}@d{:04}.example.org\n", n % 5000))
        .collect();
    std::fs::write(&members, lines).expect("a file");
    let (mut ours, mut theirs, mut ratios, mut memory) = (vec![], vec![], vec![], vec![]);
    for round in 0..5 {
        let pieces = dir.path().join(format!("pieces{round}"));
        std::fs::create_dir(&pieces).expect("a directory");
        let script = "LC_ALL=C sort -u -t@ -k2,2 -k1,1 \"$1\" | split -a 4 -d -l 1000 - \"$2/\" && sync -f \"$2\"";
        let started = Instant::now();
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(&members).arg(&pieces);
        assert!(shell.status().expect("sh").success());
        let peer = started.elapsed().as_secs_f64();
        let spool = dir.path().join(format!("spool{round}"));
        let started = Instant::now();
        let mut command = program(&spool);
        command.args(["inject", "--list", BIG, "--priority", "9", "--message"]).arg(&post);
        command.arg("--recipients").arg(format!("mail={}", members.display())).stdout(Stdio::null());
        let peak = peak_memory(&mut command);
        let own = started.elapsed().as_secs_f64();
        assert_eq!(sent_lines(&spool), recipients);
        ours.push(own);
        theirs.push(peer);
        ratios.push(own / peer);
        memory.push(peak);
    }
    record.add("inject", format!("{recipients} recipients"), "s", ours);
    record.add("inject", "sort, split, sync", "s", theirs);
    record.add("inject", "ratio", "of sort, split, sync", ratios);
    record.add("inject", "peak memory", "MiB", memory);
}

/// Runs it to its end; its peak resident memory in MiB, as the kernel had it when it was last looked at. (What wait4 says
/// includes the pages that the child had from this process before it became the program.)
fn peak_memory(command: &mut Command) -> f64 {
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

fn sent_lines(spool: &Path) -> u64 {
    let place = spool.join("distribute/9");
    let folder = place.read_dir().expect("9").next().expect("a message").expect("an entry").path();
    let files = folder.read_dir().expect("a folder").map(|file| file.expect("an entry").path());
    let packets = files.filter(|file| file.file_name().expect("a name").to_string_lossy().starts_with("recipients"));
    packets.map(|packet| memchr::memchr_iter(b'\n', &std::fs::read(packet).expect("a packet")).count() as u64).sum()
}

/// T9, T11: memory, and what it does while there is nothing to do.
pub fn memory(record: &mut Record, quick: bool) {
    let spool = tempfile::tempdir_in(scratch()).expect("a directory for the spool");
    // Nobody listens there.
    const NOBODY: &str = "smtp://127.0.0.1:1";
    let resident = |spool: &Path, setting: Setting| {
        let mut child = launch(spool, NOBODY, setting);
        std::thread::sleep(Duration::from_secs(3));
        let resident = of_status(&child, "VmRSS:");
        term(&mut child);
        resident / 1024.0
    };
    let idle: Vec<f64> = (0..3).map(|_| resident(spool.path(), DEFAULT)).collect();
    let least = percentile(&idle, 0.0);
    record.add("memory", "idle", "MiB", idle);
    for messages in if quick { vec![10_000] } else { vec![10_000, 100_000] } {
        let spool = waiting(messages);
        let each = (resident(spool.path(), DEFAULT) - least) * 1024.0 * 1024.0 / f64::from(messages);
        record.add("memory", format!("{messages} messages waiting, each"), "octets", vec![each]);
    }
    let recipients = if quick { 200_000 } else { 1_000_000 };
    let filled = fill(recipients, 1000);
    let sink = Far::start(Kind::Own);
    let setting = Setting { workers: 16, ..DEFAULT };
    let mut child = launch(&filled.spool(), &format!("smtp://127.0.0.1:{}", sink.port), setting);
    while filled.message.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let peak = of_status(&child, "VmHWM:") / 1024.0;
    term(&mut child);
    record.add("memory", format!("{recipients} recipients, 16 workers, peak"), "MiB", vec![peak]);

    let mut child = launch(spool.path(), NOBODY, DEFAULT);
    std::thread::sleep(Duration::from_secs(2));
    let seconds = if quick { 10.0 } else { 60.0 };
    let before = wake_ups(&child);
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let woken = (wake_ups(&child) - before) / seconds;
    term(&mut child);
    record.add("memory", "idle, all threads: wake-ups", "a second", vec![woken]);
}

/// A number of `/proc/<pid>/status`.
fn of_status(child: &Child, name: &str) -> f64 {
    number_in(&format!("/proc/{}/status", child.id()), name)
}

fn number_in(file: &str, name: &str) -> f64 {
    let text = std::fs::read_to_string(file).expect("it runs");
    let value = text.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel says so");
    value.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// How often its threads went to sleep so far.
fn wake_ups(child: &Child) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{}/task", child.id())).expect("it runs");
    let status = |thread: std::fs::DirEntry| thread.path().join("status").display().to_string();
    threads.map(|thread| number_in(&status(thread.expect("a thread")), "voluntary_ctxt_switches:")).sum()
}

/// What the defaults are chosen by. One knob at a time.
pub fn sweep(record: &mut Record, quick: bool) {
    let recipients = if quick { 100_000 } else { 500_000 };
    let rounds = if quick { 1 } else { 3 };
    // A knob's values in turn (A B A B …).
    let mut knob = |values: Vec<(String, usize, Setting)>| {
        let mut rates = vec![Vec::new(); values.len()];
        for _ in 0..rounds {
            for (rates, (_, packet_size, setting)) in rates.iter_mut().zip(&values) {
                rates.push(recipients as f64 / distribute(Kind::SmtpSink, recipients, *packet_size, *setting).0);
            }
        }
        for ((what, ..), rates) in values.into_iter().zip(rates) {
            record.add("sweep", what, "recipients/s", rates);
        }
    };
    let of = |name: &str, value: &dyn std::fmt::Display, setting| (format!("{name} {value}"), 1000, setting);
    let sizes = [25, 50, 100, 500]
        .map(|recipients| of("recipients_per_transaction", &recipients, Setting { recipients, ..DEFAULT }));
    knob(sizes.into());
    knob([250, 1000, 5000, 20_000].map(|size| (format!("packet_size {size}"), size, DEFAULT)).into());
    knob([1, 2, 4, 8, 16, 32].map(|workers| of("workers", &workers, Setting { workers, ..DEFAULT })).into());
    knob(["data", "none"].map(|sync| of("checkpoint_sync", &sync, Setting { sync, ..DEFAULT })).into());
    let uncertain =
        ["resend", "skip"].map(|uncertain| of("on_uncertain", &uncertain, Setting { uncertain, ..DEFAULT }));
    knob(uncertain.into());
    knob(["info", "warn"].map(|log| of("log.level", &log, Setting { log, ..DEFAULT })).into());
}
