//! What was measured, as a table for people and as JSON Lines, with what it takes to repeat it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::plot::{self, Curve, Point, Series};

/// The figures of one run of the benches.
pub struct Record {
    command: String,
    /// What else has to be known to repeat it: a name, and a value.
    facts: Vec<(&'static str, String)>,
    rows: Vec<Row>,
    files: Vec<(&'static str, String)>,
    /// Below the table.
    text: String,
    /// What was not measured, and why.
    missing: Vec<String>,
}

struct Row {
    scenario: &'static str,
    what: String,
    unit: &'static str,
    values: Vec<f64>,
    place: Option<Place>,
}

/// Where on which plot a figure belongs.
struct Place {
    curve: &'static Curve,
    series: String,
    x: u64,
}

impl Record {
    pub fn begin(arguments: &[String]) -> Record {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned();
        Record {
            command: format!("cargo bench -- {}", arguments.join(" ")),
            facts: vec![("load before", load)],
            rows: Vec::new(),
            files: Vec::new(),
            text: String::new(),
            missing: Vec::new(),
        }
    }

    /// One figure, measured several times.
    pub fn add(&mut self, scenario: &'static str, what: impl Into<String>, unit: &'static str, values: Vec<f64>) {
        self.push(Row { scenario, what: what.into(), unit, values, place: None });
    }

    /// One figure of a curve, measured several times.
    pub fn point(&mut self, curve: &'static Curve, series: &str, x: u64, values: Vec<f64>) {
        let place = Some(Place { curve, series: series.to_owned(), x });
        self.push(Row {
            scenario: curve.scenario,
            what: format!("{series}, {x} {}", curve.x),
            unit: curve.y,
            values,
            place,
        });
    }

    /// The median of a curve's point, if it was measured.
    pub fn median(&self, curve: &'static Curve, series: &str, x: u64) -> Option<f64> {
        let is_it = |place: &Place| place.curve.name == curve.name && place.series == series && place.x == x;
        self.rows.iter().find(|row| row.place.as_ref().is_some_and(is_it)).map(Row::median)
    }

    fn push(&mut self, row: Row) {
        eprintln!("  {}: {} {}", row.what, shown(row.median()), row.unit);
        self.rows.push(row);
    }

    /// A version, say, of something that takes part.
    pub fn fact(&mut self, name: &'static str, value: impl Into<String>) {
        self.facts.push((name, value.into()));
    }

    /// A table of its own, below the one of all figures.
    pub fn say(&mut self, text: &str) {
        self.text += &format!("\n{text}");
    }

    /// A file of the run's folder.
    pub fn attach(&mut self, name: &'static str, content: String) {
        self.files.push((name, content));
    }

    /// Something was not measured.
    pub fn missing(&mut self, what: impl Into<String>) {
        let what = what.into();
        eprintln!("  not measured: {what}");
        self.missing.push(what);
    }

    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
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
            ("file system of the spool", output("stat", &["-f", "-c", "%T", &scratch().display().to_string()])),
            ("postfix", output("dpkg-query", &["-W", "-f", "${Version}", "postfix"])),
        ];
        for (name, fact) in facts.iter().chain(&self.facts) {
            let _ = writeln!(text, "- {name}: {fact}");
        }
        for missing in &self.missing {
            let _ = writeln!(text, "- **not measured**: {missing}");
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
            let mut line = json!({"scenario": row.scenario, "what": row.what, "unit": row.unit, "values": row.values});
            if let Some(place) = &row.place {
                line["curve"] = json!({"name": place.curve.name, "series": place.series, "x": place.x});
            }
            let _ = writeln!(raw, "{line}");
        }
        text += &self.text;
        text.push('\n');
        for (curve, series) in self.curves() {
            let name = format!("{}.svg", curve.name);
            let _ = writeln!(text, "![{}]({name})", curve.title);
            std::fs::write(place.join(name), plot::svg(curve, &series)).expect("the run's plot");
        }
        for (name, content) in &self.files {
            let _ = writeln!(text, "\n[{name}]({name})");
            std::fs::write(place.join(name), content).expect("the run's file");
        }
        std::fs::write(place.join("README.md"), text).expect("the run's table");
        std::fs::write(place.join("raw.jsonl"), raw).expect("the run's figures");
        place
    }

    /// What there is to plot, in the order in which it was measured.
    fn curves(&self) -> Vec<(&'static Curve, Vec<Series>)> {
        let mut curves: Vec<(&'static Curve, Vec<Series>)> = Vec::new();
        for row in &self.rows {
            let Some(place) = &row.place else { continue };
            let at = curves.iter().position(|(curve, _)| curve.name == place.curve.name).unwrap_or(curves.len());
            if at == curves.len() {
                curves.push((place.curve, Vec::new()));
            }
            let all = &mut curves[at].1;
            let at = all.iter().position(|series| series.name == place.series).unwrap_or(all.len());
            if at == all.len() {
                all.push(Series { name: place.series.clone(), points: Vec::new() });
            }
            // Of many, without those in which something else ran.
            let (min, max) = (row.percentile(5.0), row.percentile(95.0));
            all[at].points.push(Point { x: place.x as f64, median: row.median(), min, max });
        }
        curves
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

pub fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(|_| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
