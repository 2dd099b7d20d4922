//! `[lists."news@*"]`: its keys, how a list's tables are read, and what holds for a list.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::tz::TimeZone;
use toml::de::{DeTable, DeValue};

use super::keys::{DURATION, KEYS, Text, duration, not_zero, one, parsed, quoted, shown_duration};
use super::{Loaded, Loader, Source, text_of, unknown};
use crate::daemon::lists::{ListSettings, Pattern};
use crate::render::head;
use crate::schedule::Windows;

/// A key of `[lists.…]`.
struct ListKey {
    name: &'static str,
    set: fn(&mut ListSettings, &Text) -> Result<(), String>,
    /// As TOML; `None` where it is not set.
    show: fn(&ListSettings) -> Option<String>,
    /// What holds where it is not set: a general key, or words.
    otherwise: Otherwise,
}

enum Otherwise {
    Key(&'static str),
    Words(&'static str),
}

const RELAYS: &str = "a relay's URL or name, or a list of them";

const LIST_KEYS: &[ListKey] = &[
    ListKey {
        name: "priority",
        set: |list, text| {
            list.priority = Some(parsed(text, "a priority: 0 (first) to 9, or z (held)")?);
            Ok(())
        },
        show: |list| list.priority.map(quoted),
        otherwise: Otherwise::Key("inject.priority"),
    },
    ListKey {
        name: "packet_size",
        set: |list, text| {
            list.packet_size = Some(parsed(text, "a number from 1")?);
            Ok(())
        },
        show: |list| list.packet_size.map(|size| size.to_string()),
        otherwise: Otherwise::Key("inject.packet_size"),
    },
    ListKey {
        name: "sender",
        set: |list, text| {
            list.sender = Some(head::reverse_path(one(text, "an envelope sender")?)?);
            Ok(())
        },
        show: |list| list.sender.as_ref().map(quoted),
        otherwise: Otherwise::Words("<list>-owner@<domain>"),
    },
    ListKey {
        name: "relay",
        // Which relays there are is known when all is read: see `resolve_relays`.
        set: |list, text| {
            let names: Vec<String> = match text {
                Text::One(name) => vec![name.clone()],
                Text::List(names) => names.clone(),
            };
            if names.is_empty() {
                return Err(format!("expected {RELAYS}"));
            }
            list.relays = Some(names.into());
            Ok(())
        },
        show: |list| Some(one_or_several(list.relays.as_ref()?.iter().map(quoted).collect())),
        otherwise: Otherwise::Words("any"),
    },
    ListKey {
        name: "deliver",
        set: |list, text| {
            let windows = match text {
                Text::One(text) => Windows::parse([text.as_str()], zone),
                Text::List(texts) => Windows::parse(texts.iter().map(String::as_str), zone),
            };
            list.deliver = Some(windows?.into());
            Ok(())
        },
        show: |list| Some(one_or_several(list.deliver.as_ref()?.texts().map(quoted).collect())),
        otherwise: Otherwise::Words("at any time"),
    },
    ListKey {
        name: "max_workers",
        set: |list, text| {
            list.max_workers = Some(parsed(text, "a number from 1")?);
            Ok(())
        },
        show: |list| list.max_workers.map(|most| most.to_string()),
        otherwise: Otherwise::Words("all"),
    },
    ListKey {
        name: "not_after",
        set: |list, text| {
            list.not_after = Some(not_zero(duration(one(text, DURATION)?)?)?);
            Ok(())
        },
        show: |list| list.not_after.map(shown_duration),
        otherwise: Otherwise::Words("never too late"),
    },
];

/// This machine's zones.
fn zone(name: Option<&str>) -> Result<TimeZone, String> {
    let Some(name) = name else { return Ok(TimeZone::system()) };
    TimeZone::get(name).map_err(|_| format!("{name:?} is no time zone that this machine knows"))
}

fn one_or_several(mut values: Vec<String>) -> String {
    if values.len() == 1 { values.remove(0) } else { format!("[{}]", values.join(", ")) }
}

/// Where a table and its keys stand.
#[derive(Debug)]
pub struct ListSource {
    table: Source,
    keys: BTreeMap<&'static str, Source>,
    /// Of `relay`, for what is wrong with it.
    relay_at: String,
}

impl Loader {
    /// The tables, in the order of the file, which the parser does not keep.
    pub(super) fn lists(&mut self, tables: &DeTable<'_>, path: &Path, place: &dyn Fn(usize) -> (usize, String)) {
        let mut tables: Vec<_> = tables.iter().collect();
        tables.sort_by_key(|(name, _)| name.span().start);
        for (name, table) in tables {
            let pattern = name.get_ref().as_ref();
            let (line, at) = place(name.span().start);
            let DeValue::Table(table) = table.get_ref() else {
                self.wrong.push(format!("{at}: expected a table: [lists.\"news@*\"]"));
                continue;
            };
            let source = |line| Source::File { path: path.to_owned(), line };
            let mut sources = ListSource { table: source(line), keys: BTreeMap::new(), relay_at: String::new() };
            // What stands in a table whose name is wrong is looked at all the same.
            let (mut list, is_good) = match Pattern::new(pattern) {
                Ok(pattern) => (ListSettings::new(pattern), true),
                Err(why) => {
                    self.wrong.push(format!("{at}: lists: {:?} is no list's address or pattern: {why}", pattern));
                    (ListSettings::new(Pattern::new("").expect("nothing is a pattern")), false)
                }
            };
            for (key, value) in table {
                let (line, at) = place(key.span().start);
                let name = key.get_ref().as_ref();
                let Some(known) = LIST_KEYS.iter().find(|known| known.name == name) else {
                    self.wrong.push(unknown(&at, name, LIST_KEYS.iter().map(|key| key.name)));
                    continue;
                };
                match text_of(value.get_ref()).and_then(|text| (known.set)(&mut list, &text)) {
                    Ok(()) => drop(sources.keys.insert(known.name, source(line))),
                    Err(expected) => self.wrong.push(format!("{at}: {name}: {expected}")),
                }
                if name == "relay" {
                    sources.relay_at = at;
                }
            }
            if is_good {
                self.settings.lists.0.push(list);
                self.list_sources.push(sources);
            }
        }
    }

    /// Finds the relays that lists name among those there are.
    pub(super) fn resolve_relays(&mut self) {
        let relays = &self.settings.relays;
        for (list, sources) in self.settings.lists.0.iter_mut().zip(&self.list_sources) {
            let Some(names) = &list.relays else { continue };
            let mut found = Vec::new();
            for name in names.iter() {
                match relays.iter().find(|relay| relay.is_called(name)) {
                    Some(relay) => found.push(relay.url.to_string()),
                    None => {
                        let known: Vec<String> = relays.iter().map(|relay| relay.url.to_string()).collect();
                        let (at, name, known) = (&sources.relay_at, name.escape_debug(), known.join(", "));
                        self.wrong.push(format!("{at}: relay: {name} is none of the relays that there are: {known}"));
                    }
                }
            }
            list.relays = Some(found.into());
        }
    }
}

impl Loaded {
    /// What holds for a list, and from which line.
    pub fn explain(&self, list: &str) -> String {
        let at = self.settings.lists.position(list);
        let table = at.map(|at| (&self.settings.lists.0[at], &self.list_sources[at]));
        let mut shown = match table {
            Some((table, sources)) => {
                format!("# {list}: [lists.{}]  # {}\n", quoted(table.pattern.as_str()), sources.table)
            }
            None => format!("# {list}: no table of [lists] matches\n"),
        };
        for key in LIST_KEYS {
            let name = key.name;
            let set = table.and_then(|(table, sources)| Some(((key.show)(table)?, sources.keys.get(name)?)));
            shown += &match (set, &key.otherwise) {
                (Some((value, source)), _) => format!("{name} = {value}  # {source}\n"),
                (None, Otherwise::Key(general)) => {
                    let general = KEYS.iter().find(|key| key.name == *general).expect("a key of the table of keys");
                    let source = self.sources.get(general.name).unwrap_or(&Source::Default);
                    format!("{name} = {}  # {}, {source}\n", (general.show)(&self.settings), general.name)
                }
                (None, Otherwise::Words(words)) => format!("# {name}: {words}  # default\n"),
            };
        }
        shown
    }

    /// The tables as TOML.
    pub(super) fn show_lists(&self) -> String {
        let mut shown = String::new();
        for (list, sources) in self.settings.lists.0.iter().zip(&self.list_sources) {
            shown += &format!("\n[lists.{}]  # {}\n", quoted(list.pattern.as_str()), sources.table);
            for key in LIST_KEYS {
                if let (Some(value), Some(source)) = ((key.show)(list), sources.keys.get(key.name)) {
                    shown += &format!("{} = {value}  # {source}\n", key.name);
                }
            }
        }
        shown
    }
}
