//! T8: taking a message in.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::record::{Record, scratch};
use crate::subject::{BIG, message, peak_memory, program};

/// A message and its members, in no order, as files.
pub struct Members {
    dir: tempfile::TempDir,
    count: u64,
}

impl Members {
    pub fn new(count: u64) -> Members {
        let dir = tempfile::tempdir_in(scratch()).expect("a directory");
        std::fs::write(dir.path().join("post"), message()).expect("a file");
        // n times a number that has no factor in common with the count.
        let lines: String = (0..count)
            .map(|n| n * 7_368_787 % count)
            .map(|n| format!("user{n:07}@d{:04}.example.org\n", n % 5000))
            .collect();
        std::fs::write(dir.path().join("members"), lines).expect("a file");
        Members { dir, count }
    }

    /// Into a spool of its own: seconds, and MiB at most.
    pub fn inject(&self) -> (f64, f64) {
        let spool = tempfile::tempdir_in(self.dir.path()).expect("a directory for the spool");
        let mut command = program(spool.path());
        command.args(["inject", "--list", BIG, "--priority", "9", "--message"]).arg(self.dir.path().join("post"));
        let members = self.dir.path().join("members");
        command.arg("--recipients").arg(format!("mail={}", members.display())).stdout(Stdio::null());
        let started = Instant::now();
        let peak = peak_memory(&mut command);
        let took = started.elapsed().as_secs_f64();
        assert_eq!(sent_lines(spool.path()), self.count);
        (took, peak)
    }

    /// What a shell script does with the same lines: seconds.
    fn sort_split_sync(&self) -> f64 {
        let pieces = tempfile::tempdir_in(self.dir.path()).expect("a directory");
        let script = "LC_ALL=C sort -u -t@ -k2,2 -k1,1 \"$1\" | split -a 4 -d -l 1000 - \"$2/\" && sync -f \"$2\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(self.dir.path().join("members")).arg(pieces.path());
        let started = Instant::now();
        assert!(shell.status().expect("sh").success());
        started.elapsed().as_secs_f64()
    }
}

/// Against sort, split and sync of the same lines.
pub fn inject(record: &mut Record, quick: bool) {
    let recipients = if quick { 200_000 } else { 1_000_000 };
    let members = Members::new(recipients);
    let (mut ours, mut theirs, mut ratios, mut memory) = (vec![], vec![], vec![], vec![]);
    for _ in 0..5 {
        let peer = members.sort_split_sync();
        let (own, peak) = members.inject();
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

fn sent_lines(spool: &Path) -> u64 {
    let place = spool.join("distribute/9");
    let folder = place.read_dir().expect("9").next().expect("a message").expect("an entry").path();
    let files = folder.read_dir().expect("a folder").map(|file| file.expect("an entry").path());
    let packets = files.filter(|file| file.file_name().expect("a name").to_string_lossy().starts_with("recipients"));
    packets.map(|packet| memchr::memchr_iter(b'\n', &std::fs::read(packet).expect("a packet")).count() as u64).sum()
}
