//! `sympa-dist run`: the long-running scheduler.
//!
//! TERM and INT stop it: no new transaction, final dots that are out are waited for during `run.shutdown_grace`, exit 0. A
//! second one ends it at once, and says what may be repeated. HUP reads the configuration again; a bad one is reported and
//! the old one stays; of a good one, what has to wait for a restart is named. Where systemd has started it, systemd is told
//! of all this.

use std::fmt::Display;
use std::sync::Arc;
use std::thread;

use clap::Args;
use crossbeam_channel::{Sender, bounded};
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::warn;

use super::configuration::{self, Overrides};
use super::systemd::Systemd;
use super::{CliError, Exit, Global, log, relay_from_here};
use crate::daemon::live::Live;
use crate::daemon::settings::Settings;
use crate::daemon::{self, Control};
use crate::monitor::event_log::EventLog;
#[cfg(feature = "http")]
use crate::monitor::{http, view::View};
use crate::spool::disk::Disk;

/// Distributes what the spool holds, and goes on until it is told to stop
#[derive(Args, Debug)]
pub struct Run {
    /// Where mail is handed to: smtp://host[:port], smtps://…, lmtp://host:port, lmtp:///socket, sendmail:/path,
    /// maildir:DIR; several: the next is used when the ones before it are down [key: [[relay]] url]
    #[arg(long, value_name = "URL")]
    relay: Vec<String>,
    /// Threads, each with one connection [key: run.workers]
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// [key: run.recipients_per_transaction]
    #[arg(long, value_name = "N")]
    recipients_per_transaction: Option<String>,
    /// data: on disk before the next transaction; none: in the kernel [key: run.checkpoint_sync]
    #[arg(long, value_name = "SYNC")]
    checkpoint_sync: Option<String>,
    /// resend: recipients of uncertain transactions may get the message twice; skip: they may not get it
    /// [key: run.on_uncertain]
    #[arg(long, value_name = "POLICY")]
    on_uncertain: Option<String>,
    /// How long answers to final dots are waited for after TERM [key: run.shutdown_grace]
    #[arg(long, value_name = "DURATION")]
    shutdown_grace: Option<String>,
}

impl Run {
    pub fn run(self, global: &Global) -> Result<Exit, CliError> {
        // Kept until it is asked for. As long as there is nothing to stop, TERM and INT end the process as the system has it.
        let signals = Signals::new([SIGHUP]).map_err(no_signals)?;
        let overrides = self.overrides(global);
        let loaded = configuration::load(&overrides)?;
        log::start(&loaded.settings.log)
            .map_err(|error| CliError::TryAgain(format!("cannot log: {error}; no mail is sent")))?;
        // Room for what a person may send before it is looked at; more is dropped, and a dropped TERM follows another.
        let (orders, control) = bounded(16);
        obey_signals(signals, orders, overrides, loaded.settings.clone())?;
        if let Some(unserved) = loaded.unserved(cfg!(feature = "http")) {
            warn!("{unserved}; mail is distributed all the same");
        }
        let live = Arc::new(Systemd::from_environment().map_or_else(Live::default, Live::supervised));
        let _serving = serve(&loaded.settings, &live);
        let events = EventLog::start(&live, &loaded.settings.events)
            .inspect_err(|error| warn!("cannot keep what happens: {error}; mail is distributed all the same"));
        let summary = daemon::run_on(&Disk::default(), loaded.settings, &control, &live)
            .map_err(|error| CliError::TryAgain(error.to_string()));
        if let Ok(events) = events {
            events.finish();
        }
        let summary = summary?;
        if summary.uncertain.is_empty() {
            return Ok(Exit::Done);
        }
        let list = summary.uncertain.join("\n  ");
        Err(CliError::TryAgain(format!(
            "ended in the middle of transactions; these recipients may get the message twice:\n  {list}"
        )))
    }

    fn overrides(&self, global: &Global) -> Overrides {
        let mut overrides = global.overrides();
        let flags = [
            ("run.workers", &self.workers),
            ("run.recipients_per_transaction", &self.recipients_per_transaction),
            ("run.checkpoint_sync", &self.checkpoint_sync),
            ("run.on_uncertain", &self.on_uncertain),
            ("run.shutdown_grace", &self.shutdown_grace),
        ];
        overrides.flags.extend(flags.into_iter().filter_map(|(key, text)| Some((key, text.clone()?))));
        overrides.relays = self.relay.iter().map(|relay| relay_from_here(relay)).collect();
        overrides
    }
}

/// Lets others look. Mail doesn't wait for that.
#[cfg(feature = "http")]
fn serve(settings: &Settings, live: &Arc<Live>) -> Option<http::Serving> {
    if !http::is_wanted(&settings.http) {
        return None;
    }
    let served = View::start(live.clone(), &settings.spool)
        .map_err(|error| error.to_string())
        .and_then(|view| http::start(view, settings).map_err(|error| error.to_string()));
    served.inspect_err(|error| warn!("{error}; nothing is served over HTTP, mail is distributed all the same")).ok()
}

/// This program was built without: see [`Loaded::unserved`](configuration::Loaded::unserved).
#[cfg(not(feature = "http"))]
fn serve(_: &Settings, _: &Arc<Live>) -> Option<std::convert::Infallible> {
    None
}

/// INT by ctrlc; TERM and HUP by signal-hook, which tells which one it was.
fn obey_signals(
    mut signals: Signals,
    orders: Sender<Control>,
    overrides: Overrides,
    start: Settings,
) -> Result<(), CliError> {
    let interrupted = orders.clone();
    ctrlc::set_handler(move || drop(interrupted.try_send(Control::Stop))).map_err(no_signals)?;
    signals.add_signal(SIGTERM).map_err(no_signals)?;
    // A file may take its time, and TERM does not wait for it. One HUP more than the one in work says as much as many.
    let (reloads, asked) = bounded(1);
    let reloaded = orders.clone();
    let reloading = move || {
        for () in asked {
            let _ = reloaded.try_send(Control::Reload(Box::new(reload(&overrides, &start))));
        }
    };
    let listen = move || {
        for signal in signals.forever() {
            match signal {
                SIGHUP => drop(reloads.try_send(())),
                _ => drop(orders.try_send(Control::Stop)),
            }
        }
    };
    thread::Builder::new().name("reload".into()).spawn(reloading).map_err(no_signals)?;
    thread::Builder::new().name("signals".into()).spawn(listen).map_err(no_signals)?;
    Ok(())
}

fn no_signals(error: impl Display) -> CliError {
    CliError::TryAgain(format!("cannot listen for signals: {error}; no mail is sent"))
}

/// The settings as they are now, or what is wrong with them.
fn reload(overrides: &Overrides, start: &Settings) -> Result<Settings, String> {
    let settings = configuration::load(overrides).map_err(|error| error.to_string())?.settings;
    let waiting = configuration::after_restart(&settings, start);
    if !waiting.is_empty() {
        warn!("the configuration has changed in what only a restart takes up: {}", waiting.join(", "));
    }
    Ok(settings)
}
