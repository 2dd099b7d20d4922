//! From text to settings: the file, then the environment, then flags, each over the one before.
//!
//! All that is wrong is collected and said at once, each with where it stands and what was expected. Nothing is guessed:
//! an unknown key, in the file or as `SYMPA_DIST_…` in the environment, is an error. Loading can be done again while the
//! scheduler runs (HUP): [`after_restart`] names what it doesn't take up then.

mod files;
mod keys;
mod lists;
mod relay_keys;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::daemon::settings::Settings;
use crate::deliver::settings::RelaySettings;

pub use keys::duration;
use keys::{KEYS, Text};
use lists::ListSource;
use relay_keys::{RELAY_KEYS, RelayText};

/// Read where no other file is named and this one is there.
const DEFAULT_FILE: &str = "/etc/sympa-dist.toml";
const ENVIRONMENT: &str = "SYMPA_DIST_";
const CONFIG: &str = "SYMPA_DIST_CONFIG";
/// Without one, nothing would ever be sent, and nobody told.
const NO_RELAY: &str = "expected at least one relay";

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub file: Option<PathBuf>,
    /// Flags: a key's name and its text.
    pub flags: Vec<(&'static str, String)>,
    /// `--relay`, in order.
    pub relays: Vec<String>,
}

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Source {
    Default,
    File { path: PathBuf, line: usize },
    Environment(String),
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File { path, line } => write!(f, "{}:{line}", path.display()),
            Source::Environment(variable) => write!(f, "environment, {variable}"),
            Source::Flag(flag) => write!(f, "command line, {flag}"),
        }
    }
}

/// The settings in force, and where each comes from.
#[derive(Debug)]
pub struct Loaded {
    pub settings: Settings,
    /// The file that was read.
    pub file: Option<PathBuf>,
    sources: BTreeMap<&'static str, Source>,
    /// Of `settings.relays`, one each.
    relay_sources: Vec<Source>,
    /// Of `settings.lists`, table by table.
    list_sources: Vec<ListSource>,
}

/// All that is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct BadConfig(pub Vec<String>);

/// Reads the configuration with this process's environment.
pub fn load(overrides: &Overrides) -> Result<Loaded, BadConfig> {
    let mut environment = BTreeMap::new();
    let mut wrong = Vec::new();
    for (name, value) in std::env::vars_os() {
        if !name.as_encoded_bytes().starts_with(ENVIRONMENT.as_bytes()) {
            continue;
        }
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => drop(environment.insert(name, value)),
            // With another octet in its place it would be another directory.
            (name, _) => {
                let name = name.unwrap_or_else(|name| name.to_string_lossy().into_owned());
                wrong.push(format!("environment, {}: not UTF-8", name.escape_debug()));
            }
        }
    }
    Loader { wrong, ..Loader::default() }.load(overrides, environment)
}

/// The keys of `wanted` that a scheduler which was started with `start` does not take up while it runs.
pub fn after_restart(wanted: &Settings, start: &Settings) -> Vec<&'static str> {
    let in_force = wanted.clone().taken_up(start);
    let differs = |key: &&keys::Key| match key.name {
        // It is shown without the password in it.
        "cluster.database" => wanted.cluster.database != in_force.cluster.database,
        _ => (key.show)(wanted) != (key.show)(&in_force),
    };
    KEYS.iter().filter(differs).map(|key| key.name).collect()
}

#[derive(Default)]
struct Loader {
    settings: Settings,
    sources: BTreeMap<&'static str, Source>,
    relays: Option<Vec<(RelaySettings, Source)>>,
    list_sources: Vec<ListSource>,
    wrong: Vec<String>,
}

impl Loader {
    fn load(mut self, overrides: &Overrides, environment: BTreeMap<String, String>) -> Result<Loaded, BadConfig> {
        let named = overrides.file.clone().or_else(|| environment.get(CONFIG).map(PathBuf::from));
        let file = named.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists()));
        if let Some(file) = &file {
            match std::fs::read_to_string(file) {
                Ok(text) => self.file(file, &text),
                Err(error) => self.wrong.push(format!("{}: cannot read it: {error}", file.display())),
            }
        }
        self.environment(&environment);
        for (name, text) in &overrides.flags {
            self.set(name, &Text::One(text.clone()), Source::Flag(flag_of(name)));
        }
        if !overrides.relays.is_empty() {
            self.relay_urls(overrides.relays.iter().map(String::as_str), Source::Flag("--relay".into()));
        }
        let relay_sources = match self.relays.take() {
            Some(relays) => {
                let sources;
                (self.settings.relays, sources) = relays.into_iter().unzip();
                sources
            }
            None => vec![Source::Default; self.settings.relays.len()],
        };
        // Of relays that are wrong themselves, none would be found.
        if self.wrong.is_empty() {
            self.resolve_relays();
        }
        let http = &self.settings.http;
        match [("http.tls_certificate", &http.tls_certificate), ("http.tls_key", &http.tls_key)] {
            // One that is there and is wrong was complained of.
            [(there, Some(_)), (missing, None)] | [(missing, None), (there, Some(_))]
                if !self.wrong.iter().any(|wrong| wrong.contains(missing)) =>
            {
                let source = self.sources.get(there).unwrap_or(&Source::Default);
                self.wrong.push(format!("{source}: {there}: expected {missing} beside it"));
            }
            _ => {}
        }
        if !self.wrong.is_empty() {
            return Err(BadConfig(self.wrong));
        }
        let (settings, sources, list_sources) = (self.settings, self.sources, self.list_sources);
        Ok(Loaded { settings, file, sources, relay_sources, list_sources })
    }

    fn file(&mut self, path: &Path, text: &str) {
        let place = |offset: usize| {
            let before = &text[..offset.min(text.len())];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            (line, format!("{}:{line}:{column}", path.display()))
        };
        let table = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                let place = place(error.span().map_or(0, |span| span.start)).1;
                self.wrong.push(format!("{place}: {}", error.message().replace('\n', ", ")));
                return;
            }
        };
        for (key, value) in table.get_ref() {
            let section = key.get_ref().as_ref();
            let (_, at) = place(key.span().start);
            match value.get_ref() {
                DeValue::Array(tables) if section == "relay" => {
                    let mut relays = Vec::new();
                    for table in tables.iter() {
                        let (line, at) = place(table.span().start);
                        let DeValue::Table(table) = table.get_ref() else {
                            self.wrong.push(format!("{at}: expected a table: [[relay]]"));
                            continue;
                        };
                        let mut relay = RelayText::default();
                        let wrong = self.wrong.len();
                        for (key, value) in table {
                            let (_, at) = place(key.span().start);
                            let name = key.get_ref().as_ref();
                            match RELAY_KEYS.iter().find(|known| known.name == name) {
                                Some(known) => {
                                    let done = text_of(value.get_ref()).and_then(|text| (known.set)(&mut relay, &text));
                                    if let Err(expected) = done {
                                        self.wrong.push(format!("{at}: {name}: {expected}"));
                                    }
                                }
                                None => {
                                    let names = RELAY_KEYS.iter().map(|key| key.name);
                                    self.wrong.push(unknown(&at, name, names));
                                }
                            }
                        }
                        if self.wrong.len() == wrong {
                            match relay.finish() {
                                Ok(relay) => relays.push((relay, Source::File { path: path.to_owned(), line })),
                                Err(error) => self.wrong.push(format!("{at}: relay: {error}")),
                            }
                        }
                    }
                    if tables.is_empty() {
                        self.wrong.push(format!("{at}: relay: {NO_RELAY}"));
                    }
                    self.relays = Some(relays);
                }
                DeValue::Table(tables) if section == "lists" => self.lists(tables, path, &place),
                DeValue::Table(table) if section != "relay" => {
                    for (key, value) in table {
                        let (line, at) = place(key.span().start);
                        let name = format!("{section}.{}", key.get_ref());
                        self.set_from_file(&name, value.get_ref(), path, line, &at);
                    }
                }
                _ if section == "lists" => {
                    self.wrong.push(format!("{at}: lists: expected tables: [lists.\"news@*\"]"));
                }
                _ if section == "relay" => self.wrong.push(format!("{at}: relay: expected tables: [[relay]]")),
                value => {
                    let (line, at) = place(key.span().start);
                    self.set_from_file(section, value, path, line, &at);
                }
            }
        }
    }

    fn set_from_file(&mut self, name: &str, value: &DeValue<'_>, path: &Path, line: usize, at: &str) {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            self.wrong.push(unknown(at, name, KEYS.iter().map(|key| key.name).chain(["relay", "lists"])));
            return;
        };
        match text_of(value).and_then(|text| (key.set)(&mut self.settings, &text)) {
            Ok(()) => drop(self.sources.insert(key.name, Source::File { path: path.to_owned(), line })),
            Err(expected) => self.wrong.push(format!("{at}: {name}: {expected}")),
        }
    }

    fn environment(&mut self, environment: &BTreeMap<String, String>) {
        for (variable, value) in environment {
            let name = variable[ENVIRONMENT.len()..].to_ascii_lowercase();
            match name.as_str() {
                "config" if variable == CONFIG => {}
                "relay" => {
                    let urls = value.split([',', ' ']).filter(|url| !url.is_empty());
                    self.relay_urls(urls, Source::Environment(variable.clone()));
                }
                _ => match KEYS.iter().find(|key| key.name.replacen('.', "_", 1) == name) {
                    Some(key) => self.set(key.name, &Text::One(value.clone()), Source::Environment(variable.clone())),
                    None => {
                        let names: Vec<String> = KEYS.iter().map(|key| variable_of(key.name)).collect();
                        let known = names.iter().map(String::as_str).chain([CONFIG, "SYMPA_DIST_RELAY"]);
                        self.wrong.push(unknown("environment", variable, known));
                    }
                },
            }
        }
    }

    fn set(&mut self, name: &str, text: &Text, source: Source) {
        let key = KEYS.iter().find(|key| key.name == name).expect("flags and variables are made of keys");
        match (key.set)(&mut self.settings, text) {
            Ok(()) => drop(self.sources.insert(key.name, source)),
            Err(expected) => self.wrong.push(format!("{source}: {expected}")),
        }
    }

    fn relay_urls<'u>(&mut self, urls: impl Iterator<Item = &'u str>, source: Source) {
        let mut relays = Vec::new();
        let mut urls = urls.peekable();
        if urls.peek().is_none() {
            self.wrong.push(format!("{source}: {NO_RELAY}"));
        }
        for url in urls {
            match url.parse() {
                Ok(url) => relays.push((RelaySettings::new(url), source.clone())),
                Err(error) => self.wrong.push(format!("{source}: {error}")),
            }
        }
        self.relays = Some(relays);
    }
}

fn variable_of(key: &str) -> String {
    format!("{ENVIRONMENT}{}", key.replacen('.', "_", 1).to_ascii_uppercase())
}

/// Flags are for one command and go without its section; those of the log are every command's.
fn flag_of(key: &str) -> String {
    let name = match key.split_once('.') {
        None | Some(("log", _)) => key,
        Some((_, name)) => name,
    };
    format!("--{}", name.replace(['.', '_'], "-"))
}

fn text_of(value: &DeValue<'_>) -> Result<Text, String> {
    Ok(match value {
        DeValue::String(text) => Text::One(text.to_string()),
        DeValue::Integer(number) => Text::One(number.to_string()),
        DeValue::Float(number) => Text::One(number.to_string()),
        DeValue::Boolean(truth) => Text::One(truth.to_string()),
        DeValue::Datetime(time) => Text::One(time.to_string()),
        DeValue::Array(list) => {
            let texts = list.iter().map(|value| match text_of(value.get_ref())? {
                Text::One(text) => Ok(text),
                Text::List(_) => Err("expected no list within a list".to_owned()),
            });
            Text::List(texts.collect::<Result<_, _>>()?)
        }
        DeValue::Table(_) => return Err("expected a value, not a table".into()),
    })
}

/// An unknown name, and the known one that is nearest to it.
fn unknown<'n>(at: &str, name: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    // Equal beginnings and ends say more about a slip of the pen than anything finer.
    let likeness = |other: &str| {
        let front = name.bytes().zip(other.bytes()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
        let back = name.bytes().rev().zip(other.bytes().rev()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
        (front + back) * 100 / (name.len() + other.len())
    };
    // One line a mistake: a key in quotes may have a newline in it.
    let shown = name.escape_debug();
    let nearest = known.clone().max_by_key(|other| likeness(other)).filter(|other| likeness(other) >= 30);
    match nearest {
        Some(nearest) => format!("{at}: {shown} is not known; is {nearest} meant?"),
        None => format!("{at}: {shown} is not known; expected one of {}", known.collect::<Vec<_>>().join(", ")),
    }
}

impl Loaded {
    /// The settings in force as a configuration file, each with where it comes from.
    pub fn show(&self) -> String {
        let mut shown = String::new();
        let mut section = "";
        for key in KEYS {
            let (own_section, name) = key.name.split_once('.').unwrap_or(("", key.name));
            if own_section != section {
                shown += &format!("\n[{own_section}]\n");
                section = own_section;
            }
            let source = self.sources.get(key.name).unwrap_or(&Source::Default);
            shown += &format!("{name} = {}  # {source}\n", (key.show)(&self.settings));
        }
        for (relay, source) in self.settings.relays.iter().zip(&self.relay_sources) {
            shown += &format!("\n[[relay]]  # {source}\n");
            for key in RELAY_KEYS {
                if let Some(value) = (key.show)(relay) {
                    shown += &format!("{} = {value}\n", key.name);
                }
            }
        }
        shown += &self.show_lists();
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str, variables: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Loaded, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, text).unwrap();
        let overrides = Overrides {
            file: Some(path),
            flags: flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(),
            relays: Vec::new(),
        };
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Loader::default()
            .load(&overrides, environment)
            .map_err(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))
    }

    #[test]
    fn flags_come_before_the_environment_and_that_before_the_file() {
        let text = "[run]\nworkers = 2\nrescan = \"2m\"\nshutdown_grace = \"5s\"\n";
        let variables = [("SYMPA_DIST_RUN_WORKERS", "3"), ("SYMPA_DIST_RUN_RESCAN", "3m")];
        let loaded = load_text(text, &variables, &[("run.workers", "4")]).unwrap();
        assert_eq!(loaded.settings.run.workers.get(), 4);
        assert_eq!(loaded.settings.run.rescan.as_secs(), 180);
        assert_eq!(loaded.settings.run.shutdown_grace.as_secs(), 5);
        let shown = loaded.show();
        for line in ["workers = 4  # command line, --workers", "rescan = \"3m\"  # environment, SYMPA_DIST_RUN_RESCAN"]
        {
            assert!(shown.contains(line), "{shown}");
        }
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same_settings() {
        let text = "[run]\ncheckpoint_sync = \"none\"\n[retry]\nschedule = [\"90s\", \"1h\"]\n[[relay]]\nurl = \"lmtp:///run/l\"\n";
        let shown = load_text(text, &[], &[]).unwrap().show();
        let again = load_text(&shown, &[], &[]).unwrap();
        let plain = |loaded: &Loaded| format!("{:?}", loaded.settings);
        assert_eq!(plain(&again), plain(&load_text(text, &[], &[]).unwrap()));
        assert_eq!(load_text("", &[], &[]).unwrap().settings.relays, Settings::default().relays);
    }

    #[test]
    fn all_that_is_wrong_is_said_with_its_place_and_what_was_expected() {
        let text = "spol = \"x\"\n[run]\nworkers = 0\nrescan = \"soon\"\nworkres = 3\n[[relay]]\nurl = \"ftp://x\"\n[[relay]]\nhelo = \"h\"\n";
        let error = load_text(text, &[("SYMPA_DIST_RUN_WROKERS", "1")], &[]).unwrap_err();
        for expected in [
            "c.toml:1:1: spol is not known; is spool meant?",
            "c.toml:3:1: run.workers: expected a number from 1 to 1024",
            "c.toml:4:1: run.rescan: expected a duration",
            "c.toml:5:1: run.workres is not known; is run.workers meant?",
            "c.toml:7:1: url: \"ftp://x\" is not a relay",
            "relay: a relay needs a url",
            "environment: SYMPA_DIST_RUN_WROKERS is not known; is SYMPA_DIST_RUN_WORKERS meant?",
        ] {
            assert!(error.contains(expected), "{expected}\n--\n{error}");
        }
        assert_eq!(error.lines().count(), 7, "{error}");
    }

    #[test]
    fn a_file_that_is_not_toml_is_named_with_its_line() {
        let error = load_text("a = 1\nb = = 2\n", &[], &[]).unwrap_err();
        assert!(error.starts_with("c.toml:2:5: "), "{error}");
    }
    /// Each key, and a value that is not its default.
    const OTHER: &[(&str, &str)] = &[
        ("spool", "/s"),
        ("ageing", "2h"),
        ("fairness.order", "fifo"),
        ("fairness.max_slowdown", "2"),
        ("run.workers", "3"),
        ("run.recipients_per_transaction", "3"),
        ("run.checkpoint_sync", "none"),
        ("run.shutdown_grace", "3s"),
        ("run.rescan", "3s"),
        ("run.on_uncertain", "skip"),
        ("run.express_workers", "3"),
        ("run.express_up_to", "3"),
        ("breaker.first_pause", "3s"),
        ("breaker.longest_pause", "3s"),
        ("guard.transactions", "7"),
        ("retry.schedule", "3s"),
        ("retry.expire", "3s"),
        ("report.every", "3s"),
        ("inject.packet_size", "3"),
        ("inject.priority", "3"),
        ("inject.min_free_space", "3"),
        ("cluster.database", "postgres://u:p@h/d"),
        ("cluster.password_file", "/p"),
        ("cluster.tls", "never"),
        ("cluster.ca_file", "/c"),
        ("cluster.lease", "3s"),
        ("cluster.poll", "3s"),
        ("watch.mode", "poll"),
        ("watch.interval", "3s"),
        ("http.listen", ""),
        ("http.token_file", "/t"),
        ("http.tls_certificate", "/c"),
        ("http.tls_key", "/k"),
        ("http.insecure", "true"),
        ("http.hosts", "h"),
        ("events.path", "/e"),
        ("events.max_size", "3"),
        ("events.keep", "3"),
        ("metrics.lists", "3"),
        ("log.format", "json"),
        ("log.level", "warn"),
    ];
    /// Sections, and a key that is in none.
    const AT_THE_START: [&str; 6] = ["spool", "log", "cluster", "watch", "http", "metrics"];

    #[test]
    fn each_key_is_taken_up_by_a_reload_or_named_as_one_that_is_not() {
        let known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(OTHER.iter().map(|(name, _)| *name).collect::<Vec<_>>(), known);
        let start = Settings::default();
        // Without that feature it is refused.
        let can_be_set = |name: &str| cfg!(feature = "cluster") || name != "cluster.database";
        for (key, (_, value)) in KEYS.iter().zip(OTHER).filter(|(key, _)| can_be_set(key.name)) {
            let mut wanted = start.clone();
            (key.set)(&mut wanted, &Text::One((*value).to_owned())).unwrap_or_else(|why| panic!("{}: {why}", key.name));
            assert_ne!((key.show)(&wanted), (key.show)(&start), "{}", key.name);
            let in_force = wanted.clone().taken_up(&start);
            let is_taken_up = (key.show)(&in_force) == (key.show)(&wanted);
            let section = key.name.split('.').next().unwrap();
            assert_eq!(is_taken_up, !AT_THE_START.contains(&section), "{}", key.name);
            let named = after_restart(&wanted, &start);
            assert_eq!(named, if is_taken_up { vec![] } else { vec![key.name] });
        }
        // The password in it is not shown, and counts.
        let mut wanted = start.clone();
        wanted.cluster.database = Some("postgres://u:p@h/d".parse().unwrap());
        let mut other = start.clone();
        other.cluster.database = Some("postgres://u:q@h/d".parse().unwrap());
        assert_eq!(after_restart(&wanted, &other), ["cluster.database"]);
    }

    #[test]
    fn the_readme_and_the_manual_page_say_what_a_reload_does_not_take_up() {
        let [first @ .., last] = AT_THE_START;
        let list = |quote: &str| {
            let first: Vec<String> = first.iter().map(|section| format!("{quote}{section}{quote}")).collect();
            format!("All is taken up but {} and {quote}{last}{quote}, which wait for a restart", first.join(", "))
        };
        assert!(include_str!("../../../README.md").contains(&list("`")));
        let page = include_str!("../../../packaging/man/sympa-dist.1");
        assert!(page.contains(&list("")), "{}", list(""));
    }

    #[test]
    fn a_program_without_http_names_what_is_set_for_it() {
        let unserved =
            |text: &str, variables: &[(&str, &str)]| load_text(text, variables, &[]).unwrap().unserved(false);
        assert_eq!(unserved("[run]\nworkers = 1\n", &[]), None, "by default, nobody has asked for it");
        assert_eq!(unserved("[http]\nlisten = \"\"\ntoken_file = \"/t\"\n", &[]), None);
        let told = unserved("[http]\nlisten = \"[::1]:9125\"\n", &[("SYMPA_DIST_METRICS_LISTS", "3")]).unwrap();
        let expected =
            "c.toml:2), metrics.lists (environment, SYMPA_DIST_METRICS_LISTS): this program was built without HTTP";
        assert!(told.starts_with("http.listen (") && told.contains(expected), "{told}");
        assert_eq!(load_text("[http]\ntoken_file = \"/t\"\n", &[], &[]).unwrap().unserved(true), None);
    }
}
