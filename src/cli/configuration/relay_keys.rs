//! The keys of a `[[relay]]` table.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use super::keys::{DURATION, Text, absolute, duration, not_zero, one, parsed, quoted, shown_duration};
use crate::deliver::settings::{BadRelayUrl, Limits, Login, RelaySettings, RelayUrl, Starttls};

/// What becomes of `run`.
const NOT_WITHOUT: &str = "run does not start, or keeps the configuration that it has";
const STARTTLS: &str = "\"never\", \"opportunistic\" or \"required\"";

/// A `[[relay]]` table while it is read: its keys come in any order.
#[derive(Default)]
pub struct RelayText {
    pub url: Option<RelayUrl>,
    name: Option<String>,
    starttls: Option<Starttls>,
    username: Option<String>,
    password_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    helo: Option<String>,
    connect_timeout: Option<Duration>,
    command_timeout: Option<Duration>,
    dot_timeout: Option<Duration>,
    limits: Limits,
}

/// A key of `[[relay]]`.
pub struct RelayKey {
    pub name: &'static str,
    pub set: fn(&mut RelayText, &Text) -> Result<(), String>,
    /// As TOML; `None` where it is not set.
    pub show: fn(&RelaySettings) -> Option<String>,
}

pub const RELAY_KEYS: &[RelayKey] = &[
    RelayKey {
        name: "url",
        set: |relay, text| {
            let url = one(text, "a relay's URL")?.parse();
            relay.url = Some(url.map_err(|error: BadRelayUrl| error.to_string())?);
            Ok(())
        },
        show: |relay| Some(quoted(&relay.url)),
    },
    RelayKey {
        name: "name",
        set: |relay, text| {
            let name = one(text, "a name without a colon")?;
            if name.is_empty() || name.contains(|c: char| c == ':' || c.is_control()) {
                return Err("expected a name without a colon".into());
            }
            relay.name = Some(name.to_owned());
            Ok(())
        },
        show: |relay| relay.name.as_ref().map(quoted),
    },
    RelayKey {
        name: "starttls",
        set: |relay, text| {
            relay.starttls = Some(match one(text, STARTTLS)? {
                "never" => Starttls::Never,
                "opportunistic" => Starttls::Opportunistic,
                "required" => Starttls::Required,
                _ => return Err(format!("expected {STARTTLS}")),
            });
            Ok(())
        },
        show: |relay| {
            Some(quoted(match relay.starttls {
                Starttls::Never => "never",
                Starttls::Opportunistic => "opportunistic",
                Starttls::Required => "required",
            }))
        },
    },
    RelayKey {
        name: "username",
        set: |relay, text| {
            relay.username = Some(one(text, "a user's name")?.to_owned());
            Ok(())
        },
        show: |relay| relay.login.as_ref().map(|login| quoted(&login.username)),
    },
    RelayKey {
        name: "password_file",
        set: |relay, text| {
            relay.password_file = Some(absolute(one(text, "a file")?)?);
            Ok(())
        },
        // What was read from it is nobody's to see.
        show: |_| None,
    },
    RelayKey {
        name: "ca_file",
        set: |relay, text| {
            relay.ca_file = Some(absolute(one(text, "a file")?)?);
            Ok(())
        },
        show: |relay| relay.ca_file.as_ref().map(|file| quoted(file.display())),
    },
    RelayKey {
        name: "helo",
        set: |relay, text| {
            let helo = one(text, "a host name")?;
            if helo.is_empty() || !helo.bytes().all(|b| b.is_ascii_graphic()) {
                return Err("expected a host name".into());
            }
            relay.helo = Some(helo.to_owned());
            Ok(())
        },
        show: |relay| relay.helo.as_ref().map(quoted),
    },
    RelayKey {
        name: "connect_timeout",
        set: |relay, text| {
            relay.connect_timeout = Some(not_zero(duration(one(text, DURATION)?)?)?);
            Ok(())
        },
        show: |relay| Some(shown_duration(relay.connect_timeout)),
    },
    RelayKey {
        name: "command_timeout",
        set: |relay, text| {
            relay.command_timeout = Some(not_zero(duration(one(text, DURATION)?)?)?);
            Ok(())
        },
        show: |relay| Some(shown_duration(relay.command_timeout)),
    },
    RelayKey {
        name: "dot_timeout",
        set: |relay, text| {
            relay.dot_timeout = Some(not_zero(duration(one(text, DURATION)?)?)?);
            Ok(())
        },
        show: |relay| Some(shown_duration(relay.dot_timeout)),
    },
    RelayKey {
        name: "max_connections",
        set: |relay, text| {
            relay.limits.max_connections = Some(parsed(text, "a number from 1")?);
            Ok(())
        },
        show: |relay| relay.limits.max_connections.map(|most| most.to_string()),
    },
    RelayKey {
        name: "max_transaction_rate",
        set: |relay, text| {
            relay.limits.max_transaction_rate = Some(rate(text)?);
            Ok(())
        },
        show: |relay| relay.limits.max_transaction_rate.map(|rate| rate.to_string()),
    },
    RelayKey {
        name: "max_recipient_rate",
        set: |relay, text| {
            relay.limits.max_recipient_rate = Some(rate(text)?);
            Ok(())
        },
        show: |relay| relay.limits.max_recipient_rate.map(|rate| rate.to_string()),
    },
    RelayKey {
        name: "transactions_per_connection",
        set: |relay, text| {
            relay.limits.transactions_per_connection = Some(parsed(text, "a number from 1")?);
            Ok(())
        },
        show: |relay| relay.limits.transactions_per_connection.map(|most| most.to_string()),
    },
    RelayKey {
        name: "weight",
        set: |relay, text| {
            relay.limits.weight = Some(parsed(text, "a number from 1")?);
            Ok(())
        },
        show: |relay| relay.limits.weight.map(|weight| weight.to_string()),
    },
];

impl RelayText {
    /// The relay as meant; reads the password.
    pub fn finish(self) -> Result<RelaySettings, String> {
        let url = self.url.ok_or("a relay needs a url")?;
        let login = match (self.username, self.password_file) {
            (None, None) => None,
            (Some(username), Some(file)) => {
                let unfit = |why: &dyn Display| format!("password_file {}: {why}; {NOT_WITHOUT}", file.display());
                let text = std::fs::read_to_string(&file).map_err(|error| unfit(&error))?;
                let password = text.lines().next().unwrap_or_default().to_owned();
                if password.is_empty() {
                    return Err(unfit(&"its first line is empty"));
                }
                Some(Login { username, password })
            }
            (Some(_), None) => return Err("username needs password_file".into()),
            (None, Some(_)) => return Err("password_file needs username".into()),
        };
        let plain = RelaySettings::new(url);
        Ok(RelaySettings {
            name: self.name,
            starttls: self.starttls.unwrap_or(plain.starttls),
            login,
            ca_file: self.ca_file,
            helo: self.helo,
            connect_timeout: self.connect_timeout.unwrap_or(plain.connect_timeout),
            command_timeout: self.command_timeout.unwrap_or(plain.command_timeout),
            dot_timeout: self.dot_timeout.unwrap_or(plain.dot_timeout),
            limits: self.limits,
            ..plain
        })
    }
}

/// Of something a second.
fn rate(text: &Text) -> Result<f64, String> {
    const RATE: &str = "a number a second, such as 20 or 0.5";
    let rate: f64 = parsed(text, RATE)?;
    // A year between two transactions is a pause, and not a rate.
    if rate.is_finite() && rate > 1e-7 { Ok(rate) } else { Err(format!("expected {RATE}")) }
}
