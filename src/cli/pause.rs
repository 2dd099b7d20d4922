//! `sympa-dist pause`: nothing of a list, of a priority, over a relay, or nothing at all, is sent until it is resumed.

use std::io::Write;

use clap::Args;

use super::words::{local_time, paused};
use super::{CliError, Exit, Global, configuration, person, relay_from_here};
use crate::daemon::{clock, relay_names};
use crate::deliver::{RelaySettings, RelayUrl};
use crate::mail::{Priority, message_id};
use crate::spool::layout::PauseName;
use crate::spool::pause::{self, Pause};
use crate::spool::running;

/// Pauses a list, a priority, a relay, or everything, on all hosts, from the next boundary on
#[derive(Args, Debug)]
pub struct PauseCommand {
    #[command(flatten)]
    what: What,
    /// Ends by itself after that time: 30m, 2h, 1d [default: when it is resumed]
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<String>,
    /// For whoever looks at the queue next
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// What is paused or resumed.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub struct What {
    /// The relay of that URL, or of that name in the configuration
    #[arg(long, value_name = "RELAY")]
    relay: Option<String>,
    /// The messages of this list
    #[arg(long, value_name = "ADDRESS")]
    list: Option<String>,
    /// The messages at this priority
    #[arg(long, value_name = "P")]
    priority: Option<Priority>,
}

impl What {
    /// `relays`: those of the configuration.
    pub fn name(&self, relays: &[RelaySettings]) -> Result<PauseName, CliError> {
        let refuse = |what: String| Err(CliError::Usage(format!("{what}; nothing was paused or resumed")));
        let name = match self {
            What { relay: Some(relay), .. } => match relays.iter().find(|known| known.is_called(relay)) {
                Some(known) => PauseName::Relay(known.url.to_string()),
                None => match relay_from_here(relay).parse::<RelayUrl>() {
                    Ok(url) => PauseName::Relay(url.to_string()),
                    Err(error) => return refuse(error.to_string()),
                },
            },
            What { list: Some(list), .. } => {
                if let Err(why) = message_id::check_list(list) {
                    return refuse(format!("--list {list:?}: {why}"));
                }
                PauseName::List(list.clone())
            }
            What { priority: Some(priority), .. } => match priority.level() {
                Some(level) => PauseName::Level(level),
                None => return refuse("--priority z: what is held is not sent anyway".into()),
            },
            What { .. } => PauseName::Everything,
        };
        if name.fits() { Ok(name) } else { refuse("its name is too long for a file's".into()) }
    }

    pub fn is_given(&self) -> bool {
        self.relay.is_some() || self.list.is_some() || self.priority.is_some()
    }
}

impl PauseCommand {
    pub fn run(self, global: &Global) -> Result<Exit, CliError> {
        let settings = global.load()?.settings;
        let name = self.what.name(&settings.relays)?;
        let now = clock::epoch();
        let until = match &self.duration {
            None => None,
            Some(text) => match configuration::duration(text) {
                Ok(time) if time.as_secs() > 0 => Some(now.plus(time.as_secs()).0),
                Ok(_) => return Err(CliError::Usage("--for: expected at least a second; nothing was paused".into())),
                Err(why) => return Err(CliError::Usage(format!("--for: {why}; nothing was paused"))),
            },
        };
        let spool = global.open_spool()?;
        if let PauseName::Relay(url) = &name
            && !relay_names::is_there(&spool, &settings.relays, url)?
        {
            let why = format!("--relay {url}: neither the configuration nor a scheduler that runs has it");
            return Err(CliError::Usage(format!("{why}; nothing was paused")));
        }
        let by = format!("{}@{}", person(), running::host());
        pause::pause(&spool, &name, &Pause { since: now.0, by, why: self.reason, until })?;
        let until = until.map_or("until it is resumed".into(), |until| format!("until {}", local_time(until)));
        writeln!(std::io::stdout(), "{} is paused {until}", paused(&name))?;
        Ok(Exit::Done)
    }
}
