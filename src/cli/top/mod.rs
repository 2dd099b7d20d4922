//! `sympa-dist top`: the spool in a terminal, kept current, with keys for the operators' moves.
//!
//! It reads the spool's files and talks to no scheduler, so it works with or without one, and on any host. What it does to
//! messages is what the commands do.
//!
//! ```text
//! input thread ─keys─▶ main thread ◀─pictures─ survey thread (reads the spool once a second)
//!                        ▲     └─draws, moves
//! guard thread ─end──────┘  (a signal, or the terminal has gone)
//! ```
//!
//! It ends when its terminal does. Reading keys is a library's, which tries for ever to read from a terminal that has
//! gone; so a thread of its own watches the terminal, and the process ends whatever the others are at.

mod acting;
mod columns;
mod draw;
mod foot;
mod format;
mod keys;
mod prompt;
mod screen;
mod terminal;
mod tone;

#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::thread;
use std::time::Duration;

use clap::Args;
use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::{CliError, Exit, Global, configuration};
use crate::daemon::clock;
use crate::daemon::settings::Settings;
use crate::monitor::survey::{Picture, Survey};
use acting::Hands;
use keys::Order;
use screen::Screen;
use terminal::{End, Look, Screenful};

/// Shows levels, messages, workers and rates in a terminal, with keys to move messages; ? tells them
#[derive(Args, Debug)]
pub struct Top {
    /// How often it looks
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    interval: String,
}

const SHORTEST: Duration = Duration::from_millis(100);

impl Top {
    pub fn run(self, global: &Global) -> Result<Exit, CliError> {
        let interval = configuration::duration(&self.interval)
            .map_err(|why| CliError::Usage(format!("--interval: {why}")))?
            .max(SHORTEST);
        let (_, settings) = global.open_spool_and_settings()?;
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            return Err(CliError::Usage(
                "top draws on a terminal, and standard input or output is none; `queue` prints the same".into(),
            ));
        }
        show(settings, interval)
    }
}

fn show(settings: Settings, interval: Duration) -> Result<Exit, CliError> {
    let cannot = |error: std::io::Error| CliError::TryAgain(format!("cannot use the terminal: {error}"));
    let ends = terminal::guard().map_err(cannot)?;
    let (look_now, looks) = bounded(1);
    let pictures = survey(&settings, interval, looks).map_err(cannot)?;
    let mut screenful = Screenful::enter().map_err(cannot)?;
    let keys = terminal::keys().map_err(cannot)?;
    let mut screen = Screen::new(Look::of_environment(), settings.spool.display().to_string());
    let mut hands = Hands::new(settings);
    loop {
        if let Err(error) = screenful.draw(|frame| draw::draw(frame, &mut screen)) {
            // Most likely it has just gone.
            return Err(match ends.recv_timeout(Duration::from_millis(500)) {
                Ok(_) => CliError::NobodyReads,
                Err(_) => cannot(error),
            });
        }
        let order = select! {
            recv(ends) -> end => match end {
                Ok(End::Signal) => return Ok(Exit::Done),
                Ok(End::TerminalGone) | Err(_) => return Err(CliError::NobodyReads),
            },
            recv(pictures) -> picture => match picture {
                Ok(picture) => {
                    screen.show(picture);
                    None
                }
                Err(_) => return Err(CliError::TryAgain("nothing looks at the spool any more: a bug".into())),
            },
            recv(keys) -> event => match event {
                Ok(event) => screen.event(&event),
                Err(_) => return Err(CliError::NobodyReads),
            },
        };
        match order {
            None => {}
            Some(Order::Quit) => return Ok(Exit::Done),
            Some(Order::Suspend) => screenful.suspend().map_err(cannot)?,
            Some(Order::Redraw) => screenful.clear().map_err(cannot)?,
            Some(Order::Do(act)) => {
                screen.tell(hands.act(act));
                // Full: it is about to look anyway.
                let _ = look_now.try_send(());
            }
        }
    }
}

/// Looks at the spool again and again, in a thread that ends with the process.
fn survey(settings: &Settings, interval: Duration, looks: Receiver<()>) -> std::io::Result<Receiver<Picture>> {
    let (sender, pictures): (Sender<Picture>, _) = bounded(1);
    let mut survey = Survey::new(settings.spool.clone(), settings.lists.clone());
    let look = move || {
        loop {
            let picture = survey.look(clock::now());
            // What is new is read at once, and shown as far as it has been.
            let wait = if picture.unread > 0 { Duration::ZERO } else { interval };
            if sender.send(picture).is_err() {
                return;
            }
            let _ = looks.recv_timeout(wait);
        }
    };
    thread::Builder::new().name("survey".into()).spawn(look)?;
    Ok(pictures)
}
