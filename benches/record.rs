//! What was measured, as a table for people and as JSON Lines, with what it takes to repeat it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

/// The figures of one run of the benches.
pub struct Record {
    command: String,
    rows: Vec<Row>,
}

struct Row {
    scenario: String,
    what: String,
    unit: &'static str,
    values: Vec<f64>,
}

impl Record {
    pub fn begin(arguments: &[String]) -> Record {
        Record { command: format!("cargo bench -- {}", arguments.join(" ")), rows: Vec::new() }
    }

    /// One figure, measured several times.
    pub fn add(&mut self, scenario: &str, what: impl Into<String>, unit: &'static str, values: Vec<f64>) {
        let row = Row { scenario: scenario.to_owned(), what: what.into(), unit, values };
        eprintln!("  {}: {} {unit}", row.what, shown(row.median()));
        self.rows.push(row);
    }

    /// Writes `benches/runs/<date>-<commit>/` and says where that is.
    pub fn end(self) -> PathBuf {
        let commit = output("git", &["rev-parse", "--short", "HEAD"]);
        let date = output("date", &["+%Y-%m-%d-%H%M"]);
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/runs/{date}-{commit}"));
        std::fs::create_dir_all(&place).expect("the run's folder");
        let mut text = String::from("# Run\n\n");
        let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
        let dirty = if output("git", &["status", "--porcelain", "src"]).is_empty() { "" } else { ", src changed" };
        let facts = [
            ("command", self.command.clone()),
            ("commit", format!("{commit}{dirty}")),
            ("compiler", output("rustc", &["--version"])),
            ("kernel", output("uname", &["-sr"])),
            ("processor", format!("{}, {} cores", processor.trim_start_matches(['\t', ':', ' ']), cores())),
            ("load before", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()),
            ("file system of the spool", output("stat", &["-f", "-c", "%T", &scratch().display().to_string()])),
            ("postfix", output("dpkg-query", &["-W", "-f", "${Version}", "postfix"])),
        ];
        for (name, fact) in facts {
            let _ = writeln!(text, "- {name}: {fact}");
        }
        text += "\n| scenario | what | unit | median | min | max | n |\n| --- | --- | --- | --- | --- | --- | --- |\n";
        let mut raw = String::new();
        for row in &self.rows {
            let (min, max) = (row.percentile(0.0), row.percentile(100.0));
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} |",
                row.scenario,
                row.what,
                row.unit,
                shown(row.median()),
                shown(min),
                shown(max),
                row.values.len()
            );
            let line = json!({"scenario": row.scenario, "what": row.what, "unit": row.unit, "values": row.values});
            let _ = writeln!(raw, "{line}");
        }
        std::fs::write(place.join("README.md"), text).expect("the run's table");
        std::fs::write(place.join("raw.jsonl"), raw).expect("the run's figures");
        place
    }
}

impl Row {
    fn median(&self) -> f64 {
        self.percentile(50.0)
    }

    fn percentile(&self, percent: f64) -> f64 {
        percentile(&self.values, percent)
    }
}

/// The value below which `percent` of them lie, nearest rank.
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * percent / 100.0).round() as usize]
}

fn shown(value: f64) -> String {
    match value.abs() {
        1000.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Where spools of the benches lie: on a disk, which the system's temporary directory may not be.
pub fn scratch() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
    std::fs::create_dir_all(&place).expect("a scratch directory");
    place
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(|_| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
