//! Where the log goes: to standard error, for people on a terminal and as JSON otherwise, or to journald.

mod gathered;

use std::fmt;
use std::io::IsTerminal;

use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::words::is_unprintable;
use crate::daemon::settings::{LogFormat, LogSettings};
use gathered::Gathered;
pub use gathered::finish;

/// Starts logging for the rest of the process; [`finish`] comes at its end. A second call changes nothing.
pub fn start(settings: &LogSettings) -> std::io::Result<()> {
    let filter = settings.level.parse().unwrap_or_else(|_| EnvFilter::new("info"));
    let format = settings.format.unwrap_or_else(|| {
        if std::io::stderr().is_terminal() {
            LogFormat::Human
        } else if stderr_is_the_journal() {
            LogFormat::Journald
        } else {
            LogFormat::Json
        }
    });
    let registry = tracing_subscriber::registry().with(filter);
    let json = |lines: Gathered| tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(lines);
    // A logger that is there already belongs to a program that embeds this one.
    let _ = match format {
        LogFormat::Human => {
            let human = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
            let human = human.fmt_fields(debug_fn(tell).delimited(" "));
            registry.with(human.with_ansi(std::io::stderr().is_terminal())).try_init()
        }
        LogFormat::Json => registry.with(json(Gathered::to_stderr()?)).try_init(),
        LogFormat::Journald => match tracing_journald::layer() {
            Ok(journald) => registry.with(journald).try_init(),
            Err(error) => {
                let logger = registry.with(json(Gathered::to_stderr()?)).try_init();
                tracing::warn!("cannot reach journald: {error}; logging to standard error");
                logger
            }
        },
    };
    Ok(())
}

/// One field, for people. What somebody else wrote makes no second line, and nothing that a terminal would obey.
fn tell(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    match field.name() {
        "message" => {}
        name if writer.has_ansi_escapes() => write!(writer, "\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m")?,
        name => write!(writer, "{name}=")?,
    }
    format!("{value:?}").chars().try_for_each(|c| match is_unprintable(c) {
        true => write!(writer, "{}", c.escape_debug()),
        false => writer.write_char(c),
    })
}

/// systemd says in JOURNAL_STREAM which device and inode its journal's stream has; the variable is inherited by processes
/// whose standard error goes elsewhere.
fn stderr_is_the_journal() -> bool {
    let Some(journal) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    rustix::fs::fstat(std::io::stderr()).is_ok_and(|stat| journal == format!("{}:{}", stat.st_dev, stat.st_ino))
}
