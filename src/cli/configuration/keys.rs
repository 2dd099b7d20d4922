//! Every configuration key: its name, how its text is read, how it is shown.
//!
//! One table for the file, the environment, the flags and `config show`, so that none of them knows a key the others
//! don't.

use std::fmt::Display;
use std::num::NonZero;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

use crate::claim::settings::{DatabaseUrl, LONGEST as LONGEST_LEASE, Tls};
use crate::daemon::settings::{LogFormat, MAX_EXPRESS, MAX_LISTS, OnUncertain, Settings, WatchMode};
use crate::mail::Priority;
use crate::schedule::Slowdown;
use crate::spool::progress::Sync;

/// A value as it is written somewhere.
#[derive(Clone, PartialEq, Debug)]
pub enum Text {
    /// A string, a number or a boolean, as text: `workers = 8` and `workers = "8"` are the same.
    One(String),
    List(Vec<String>),
}

/// A key outside `[[relay]]`.
pub struct Key {
    /// `section.key`, or `key` at the top.
    pub name: &'static str,
    /// Says what was expected if the text is something else.
    pub set: fn(&mut Settings, &Text) -> Result<(), String>,
    /// As TOML.
    pub show: fn(&Settings) -> String,
}

pub const KEYS: &[Key] = &[
    Key {
        name: "spool",
        set: |settings, text| {
            settings.spool = absolute(one(text, "a directory")?)?;
            Ok(())
        },
        show: |settings| quoted(settings.spool.display()),
    },
    Key {
        name: "ageing",
        set: |settings, text| {
            settings.ageing = match one(text, AGEING)? {
                "off" => None,
                step => {
                    let step = duration(step).map_err(|_| format!("expected {AGEING}"))?;
                    if step < Duration::from_secs(1) {
                        return Err(format!("expected {AGEING}, of a second at least"));
                    }
                    Some(step)
                }
            };
            Ok(())
        },
        show: |settings| settings.ageing.map_or_else(|| quoted("off"), shown_duration),
    },
    Key {
        name: "fairness.order",
        set: |settings, text| {
            settings.fairness.fair = match one(text, FAIRNESS)? {
                "fair" => true,
                "fifo" => false,
                _ => return Err(format!("expected {FAIRNESS}")),
            };
            Ok(())
        },
        show: |settings| quoted(if settings.fairness.fair { "fair" } else { "fifo" }),
    },
    Key {
        name: "fairness.max_slowdown",
        set: |settings, text| {
            const FACTOR: &str = "a factor from 1 to 10, such as 1.25";
            let slowdown = Slowdown::new(parsed(text, FACTOR)?);
            settings.fairness.max_slowdown = slowdown.ok_or_else(|| format!("expected {FACTOR}"))?;
            Ok(())
        },
        show: |settings| settings.fairness.max_slowdown.most().to_string(),
    },
    Key {
        name: "run.workers",
        set: |settings, text| {
            const MOST: usize = 1024;
            let workers: NonZero<usize> = parsed(text, "a number from 1 to 1024")?;
            if workers.get() > MOST {
                return Err("expected a number from 1 to 1024".into());
            }
            settings.run.workers = workers;
            Ok(())
        },
        show: |settings| settings.run.workers.to_string(),
    },
    Key {
        name: "run.recipients_per_transaction",
        set: |settings, text| {
            settings.run.recipients_per_transaction = parsed(text, "a number from 1")?;
            Ok(())
        },
        show: |settings| settings.run.recipients_per_transaction.to_string(),
    },
    Key {
        name: "run.checkpoint_sync",
        set: |settings, text| {
            settings.run.checkpoint_sync = match one(text, CHECKPOINT_SYNC)? {
                "data" => Sync::Data,
                "none" => Sync::None,
                _ => return Err(format!("expected {CHECKPOINT_SYNC}")),
            };
            Ok(())
        },
        show: |settings| match settings.run.checkpoint_sync {
            Sync::Data => quoted("data"),
            Sync::None => quoted("none"),
        },
    },
    Key {
        name: "run.shutdown_grace",
        set: |settings, text| {
            settings.run.shutdown_grace = duration(one(text, DURATION)?)?;
            Ok(())
        },
        show: |settings| shown_duration(settings.run.shutdown_grace),
    },
    Key {
        name: "run.rescan",
        set: |settings, text| {
            settings.run.rescan = not_zero(duration(one(text, DURATION)?)?)?;
            Ok(())
        },
        show: |settings| shown_duration(settings.run.rescan),
    },
    Key {
        name: "run.on_uncertain",
        set: |settings, text| {
            settings.run.on_uncertain = match one(text, ON_UNCERTAIN)? {
                "resend" => OnUncertain::Resend,
                "skip" => OnUncertain::Skip,
                _ => return Err(format!("expected {ON_UNCERTAIN}")),
            };
            Ok(())
        },
        show: |settings| {
            quoted(match settings.run.on_uncertain {
                OnUncertain::Resend => "resend",
                OnUncertain::Skip => "skip",
            })
        },
    },
    Key {
        name: "run.express_workers",
        set: |settings, text| {
            let expected = format!("a number from 0 to {MAX_EXPRESS}");
            let workers: usize = parsed(text, &expected)?;
            if workers > MAX_EXPRESS {
                return Err(format!("expected {expected}"));
            }
            settings.run.express_workers = workers;
            Ok(())
        },
        show: |settings| settings.run.express_workers.to_string(),
    },
    Key {
        name: "run.express_up_to",
        set: |settings, text| {
            const LEVEL: &str = "a level, from 0 (first) to 9";
            let priority: Priority = parsed(text, LEVEL)?;
            settings.run.express_up_to = priority.level().ok_or_else(|| format!("expected {LEVEL}"))?;
            Ok(())
        },
        show: |settings| settings.run.express_up_to.to_string(),
    },
    Key {
        name: "breaker.first_pause",
        set: |settings, text| {
            settings.breaker.first_pause = not_zero(duration(one(text, DURATION)?)?)?;
            Ok(())
        },
        show: |settings| shown_duration(settings.breaker.first_pause),
    },
    Key {
        name: "breaker.longest_pause",
        set: |settings, text| {
            settings.breaker.longest_pause = not_zero(duration(one(text, DURATION)?)?)?;
            Ok(())
        },
        show: |settings| shown_duration(settings.breaker.longest_pause),
    },
    Key {
        name: "guard.transactions",
        set: |settings, text| {
            settings.guard.transactions = parsed(text, "a number; 0 turns the guard off")?;
            Ok(())
        },
        show: |settings| settings.guard.transactions.to_string(),
    },
    Key {
        name: "retry.schedule",
        set: |settings, text| {
            let texts: Vec<&str> = match text {
                Text::List(list) => list.iter().map(String::as_str).collect(),
                Text::One(text) => text.split([',', ' ']).filter(|text| !text.is_empty()).collect(),
            };
            let schedule: Vec<Duration> =
                texts.into_iter().map(|text| duration(text).and_then(not_zero)).collect::<Result<_, _>>()?;
            if schedule.is_empty() {
                return Err("expected at least one duration".into());
            }
            settings.retry.schedule = schedule;
            Ok(())
        },
        show: |settings| {
            let shown: Vec<_> = settings.retry.schedule.iter().copied().map(shown_duration).collect();
            format!("[{}]", shown.join(", "))
        },
    },
    Key {
        name: "retry.expire",
        set: |settings, text| {
            settings.retry.expire = duration(one(text, DURATION)?)?;
            Ok(())
        },
        show: |settings| shown_duration(settings.retry.expire),
    },
    Key {
        name: "report.every",
        set: |settings, text| {
            settings.report.every = duration(one(text, DURATION)?)?;
            Ok(())
        },
        show: |settings| shown_duration(settings.report.every),
    },
    Key {
        name: "inject.packet_size",
        set: |settings, text| {
            settings.inject.packet_size = parsed(text, "a number from 1")?;
            Ok(())
        },
        show: |settings| settings.inject.packet_size.to_string(),
    },
    Key {
        name: "inject.priority",
        set: |settings, text| {
            settings.inject.priority = parsed::<Priority>(text, "a priority: 0 (first) to 9, or z (held)")?;
            Ok(())
        },
        show: |settings| quoted(settings.inject.priority),
    },
    Key {
        name: "inject.min_free_space",
        set: |settings, text| {
            settings.inject.min_free_space = size(one(text, SIZE)?)?;
            Ok(())
        },
        show: |settings| shown_size(settings.inject.min_free_space),
    },
    Key {
        name: "cluster.database",
        set: |settings, text| {
            let url = one(text, DatabaseUrl::EXPECTED)?;
            settings.cluster.database = if url.is_empty() { None } else { Some(url.parse()?) };
            if cfg!(not(feature = "cluster")) && settings.cluster.database.is_some() {
                return Err("this program was built without (feature cluster)".to_owned());
            }
            Ok(())
        },
        show: |settings| quoted(settings.cluster.database.as_ref().map_or(String::new(), DatabaseUrl::to_string)),
    },
    Key {
        name: "cluster.password_file",
        set: |settings, text| {
            settings.cluster.password_file = file(text)?;
            Ok(())
        },
        show: |settings| shown_file(settings.cluster.password_file.as_deref()),
    },
    Key {
        name: "cluster.tls",
        set: |settings, text| {
            settings.cluster.tls = match one(text, TLS)? {
                "auto" => Tls::Auto,
                "always" => Tls::Always,
                "never" => Tls::Never,
                _ => return Err(format!("expected {TLS}")),
            };
            Ok(())
        },
        show: |settings| {
            quoted(match settings.cluster.tls {
                Tls::Auto => "auto",
                Tls::Always => "always",
                Tls::Never => "never",
            })
        },
    },
    Key {
        name: "cluster.ca_file",
        set: |settings, text| {
            settings.cluster.ca_file = file(text)?;
            Ok(())
        },
        show: |settings| shown_file(settings.cluster.ca_file.as_deref()),
    },
    Key {
        name: "cluster.lease",
        set: |settings, text| {
            const LEASE: &str = "a duration from \"1s\" to \"1h\"";
            let lease = duration(one(text, LEASE)?)?;
            if !(Duration::from_secs(1)..=LONGEST_LEASE).contains(&lease) {
                return Err(format!("expected {LEASE}"));
            }
            settings.cluster.lease = lease;
            Ok(())
        },
        show: |settings| shown_duration(settings.cluster.lease),
    },
    Key {
        name: "cluster.poll",
        set: |settings, text| {
            settings.cluster.poll = not_zero(duration(one(text, DURATION)?)?)?;
            Ok(())
        },
        show: |settings| shown_duration(settings.cluster.poll),
    },
    Key {
        name: "watch.mode",
        set: |settings, text| {
            settings.watch.mode = match one(text, WATCH)? {
                "auto" => WatchMode::Auto,
                "inotify" => WatchMode::Inotify,
                "poll" => WatchMode::Poll,
                _ => return Err(format!("expected {WATCH}")),
            };
            Ok(())
        },
        show: |settings| {
            quoted(match settings.watch.mode {
                WatchMode::Auto => "auto",
                WatchMode::Inotify => "inotify",
                WatchMode::Poll => "poll",
            })
        },
    },
    Key {
        name: "watch.interval",
        set: |settings, text| {
            settings.watch.interval = not_zero(duration(one(text, DURATION)?)?)?;
            Ok(())
        },
        show: |settings| shown_duration(settings.watch.interval),
    },
    Key {
        name: "http.listen",
        set: |settings, text| {
            let listen = one(text, LISTEN)?;
            match listen.strip_prefix("unix:") {
                Some(path) if SocketAddr::from_pathname(absolute(path)?).is_err() => {
                    return Err("expected a path of at most 107 octets behind unix:, as the kernel does".into());
                }
                Some(_) => {}
                None if listen.is_empty() || listen.parse::<std::net::SocketAddr>().is_ok() => {}
                None => return Err(format!("expected {LISTEN}")),
            }
            settings.http.listen = listen.to_owned();
            Ok(())
        },
        show: |settings| quoted(&settings.http.listen),
    },
    Key {
        name: "http.token_file",
        set: |settings, text| {
            settings.http.token_file = file(text)?;
            Ok(())
        },
        show: |settings| shown_file(settings.http.token_file.as_deref()),
    },
    Key {
        name: "http.tls_certificate",
        set: |settings, text| {
            settings.http.tls_certificate = file(text)?;
            Ok(())
        },
        show: |settings| shown_file(settings.http.tls_certificate.as_deref()),
    },
    Key {
        name: "http.tls_key",
        set: |settings, text| {
            settings.http.tls_key = file(text)?;
            Ok(())
        },
        show: |settings| shown_file(settings.http.tls_key.as_deref()),
    },
    Key {
        name: "http.insecure",
        set: |settings, text| {
            settings.http.insecure = match one(text, TRUTH)? {
                "true" => true,
                "false" => false,
                _ => return Err(format!("expected {TRUTH}")),
            };
            Ok(())
        },
        show: |settings| settings.http.insecure.to_string(),
    },
    Key {
        name: "http.hosts",
        set: |settings, text| {
            let hosts: Vec<String> = match text {
                Text::One(hosts) => {
                    hosts.split([',', ' ']).filter(|host| !host.is_empty()).map(str::to_ascii_lowercase).collect()
                }
                Text::List(hosts) => hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            };
            let is_name = |host: &str| {
                let is_label = |label: &str| {
                    !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                };
                host.split('.').all(is_label)
            };
            if hosts.iter().any(|host| !is_name(host)) {
                return Err("expected host names, without scheme and port".to_owned());
            }
            settings.http.hosts = hosts;
            Ok(())
        },
        show: |settings| {
            let hosts: Vec<String> = settings.http.hosts.iter().map(quoted).collect();
            format!("[{}]", hosts.join(", "))
        },
    },
    Key {
        name: "events.path",
        set: |settings, text| {
            settings.events.path = file(text)?;
            Ok(())
        },
        show: |settings| shown_file(settings.events.path.as_deref()),
    },
    Key {
        name: "events.max_size",
        set: |settings, text| {
            settings.events.max_size = size(one(text, SIZE)?)?;
            Ok(())
        },
        show: |settings| shown_size(settings.events.max_size),
    },
    Key {
        name: "events.keep",
        set: |settings, text| {
            const KEEP: &str = "a number of files, from 0 to 1000";
            settings.events.keep = parsed(text, KEEP)?;
            if settings.events.keep > 1000 { Err(format!("expected {KEEP}")) } else { Ok(()) }
        },
        show: |settings| settings.events.keep.to_string(),
    },
    Key {
        name: "metrics.lists",
        set: |settings, text| {
            let expected = format!("a number from 0 (no list is named) to {MAX_LISTS}");
            let lists: usize = parsed(text, &expected)?;
            if lists > MAX_LISTS {
                return Err(format!("expected {expected}"));
            }
            settings.metrics.lists = lists;
            Ok(())
        },
        show: |settings| settings.metrics.lists.to_string(),
    },
    Key {
        name: "log.format",
        set: |settings, text| {
            settings.log.format = match one(text, LOG_FORMAT)? {
                "auto" => None,
                "human" => Some(LogFormat::Human),
                "json" => Some(LogFormat::Json),
                "journald" => Some(LogFormat::Journald),
                _ => return Err(format!("expected {LOG_FORMAT}")),
            };
            Ok(())
        },
        show: |settings| {
            quoted(match settings.log.format {
                None => "auto",
                Some(LogFormat::Human) => "human",
                Some(LogFormat::Json) => "json",
                Some(LogFormat::Journald) => "journald",
            })
        },
    },
    Key {
        name: "log.level",
        set: |settings, text| {
            let level = one(text, LOG_LEVEL)?;
            level.parse::<tracing_subscriber::EnvFilter>().map_err(|error| format!("expected {LOG_LEVEL}: {error}"))?;
            settings.log.level = level.to_owned();
            Ok(())
        },
        show: |settings| quoted(&settings.log.level),
    },
];

const CHECKPOINT_SYNC: &str = "\"data\" (on disk before the next transaction) or \"none\"";
const ON_UNCERTAIN: &str = "\"resend\" (some may get it twice) or \"skip\" (some may not get it)";
const AGEING: &str = "\"off\" or a duration such as \"2h\"";
const FAIRNESS: &str = "\"fair\" (small ones slip past big ones) or \"fifo\" (by arrival)";
pub(super) const DURATION: &str = "a duration such as \"30s\", \"5m\", \"4h\" or \"5d\"";
const LISTEN: &str = "\"address:port\", \"unix:/path\", or \"\" for nothing";
const TLS: &str = "\"auto\" (beyond this machine), \"always\" or \"never\"";
const WATCH: &str = "\"auto\", \"inotify\" or \"poll\"";
const TRUTH: &str = "true or false";
const LOG_FORMAT: &str = "\"auto\", \"human\", \"json\" or \"journald\"";
const LOG_LEVEL: &str = "\"error\", \"warn\", \"info\", \"debug\", \"trace\" or a filter";

pub(super) fn one<'t>(text: &'t Text, expected: &str) -> Result<&'t str, String> {
    match text {
        Text::One(text) => Ok(text),
        Text::List(_) => Err(format!("expected {expected}, not a list")),
    }
}

pub(super) fn parsed<T: FromStr>(text: &Text, expected: &str) -> Result<T, String> {
    one(text, expected)?.parse().map_err(|_| format!("expected {expected}"))
}

/// A path. The scheduler runs in any directory, and a path from there on would be another file each time.
pub(super) fn absolute(path: &str) -> Result<PathBuf, String> {
    if path.starts_with('/') {
        Ok(path.into())
    } else {
        Err(format!("expected a path that begins with /, not {path:?}"))
    }
}

/// A file, or `""` for none.
fn file(text: &Text) -> Result<Option<PathBuf>, String> {
    let file = one(text, "a file")?;
    (!file.is_empty()).then(|| absolute(file)).transpose()
}

fn shown_file(file: Option<&Path>) -> String {
    quoted(file.map_or(String::new(), |file| file.display().to_string()))
}

const SIZE: &str = "a size, such as 500MiB or 2GiB, or a number of octets";
const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, octets)| Some((text.strip_suffix(name)?.trim_end(), *octets)))
        .unwrap_or((text, 1));
    let number: Option<u64> = number.parse().ok();
    number.and_then(|number| number.checked_mul(unit)).ok_or_else(|| format!("expected {SIZE}"))
}

fn shown_size(octets: u64) -> String {
    match UNITS.iter().find(|(_, unit)| octets > 0 && octets.is_multiple_of(*unit)) {
        Some((name, unit)) => quoted(format!("{}{name}", octets / unit)),
        None => octets.to_string(),
    }
}

pub(super) fn quoted(text: impl Display) -> String {
    toml::Value::String(text.to_string()).to_string()
}

/// Any longer one can neither be added to a date nor be shown in all units.
const LONGEST: Duration = Duration::from_secs(36_525 * 86_400);

/// `90s`, `5m`, `1h30m`, `5d`; a day has 24 hours.
pub fn duration(text: &str) -> Result<Duration, String> {
    let span: Span = text.parse().map_err(|_| format!("expected {DURATION}"))?;
    let exact = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| format!("expected {DURATION}"))?;
    let exact: Duration = exact.try_into().map_err(|_| format!("expected {DURATION}, and not a negative one"))?;
    if exact > LONGEST {
        return Err(format!("expected {DURATION}, and not more than 100 years"));
    }
    Ok(exact)
}

pub(super) fn not_zero(duration: Duration) -> Result<Duration, String> {
    if duration.is_zero() { Err("expected a duration longer than nothing".into()) } else { Ok(duration) }
}

pub(super) fn shown_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let shown = match seconds {
        _ if !duration.subsec_nanos().is_multiple_of(1_000_000) => format!("{}ns", duration.as_nanos()),
        _ if duration.subsec_nanos() > 0 => format!("{}ms", duration.as_millis()),
        0 => "0s".to_owned(),
        _ if seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        _ if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    };
    quoted(shown)
}
