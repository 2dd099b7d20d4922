//! The terminal: taken over and given back, whatever happens; and watched, since nothing outlives it.

use std::io::{self, Write, stdin, stdout};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::{DefaultTerminal, Frame};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Signal, getpid, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Why it ends, but for a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Signal,
    TerminalGone,
}

/// How long the main thread has to end by itself. One that writes to a terminal that nobody reads would not.
const GRACE: Duration = Duration::from_secs(1);

/// Watches for signals and for the terminal's end, and says which came. Behind that the process ends, with or without the
/// main thread's help.
pub fn guard() -> io::Result<Receiver<End>> {
    let (signalled, theirs) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, theirs.try_clone()?)?;
    }
    let (sender, ends) = bounded(1);
    let watch = move || {
        let end = wait(&signalled);
        let _ = sender.send(end);
        thread::sleep(GRACE);
        // No more than that: writing might block for ever.
        let _ = disable_raw_mode();
        std::process::exit(0);
    };
    thread::Builder::new().name("guard".into()).spawn(watch)?;
    Ok(ends)
}

fn wait(signalled: &UnixStream) -> End {
    loop {
        let (stdin, stdout) = (stdin(), stdout());
        // Of the terminal only its end is of interest: that is told without being asked for.
        let mut polled = [
            PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::empty()),
            PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty()),
            PollFd::from_borrowed_fd(signalled.as_fd(), PollFlags::IN),
        ];
        match poll(&mut polled, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return End::TerminalGone,
        }
        let ends = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        if polled[..2].iter().any(|polled| polled.revents().intersects(ends)) {
            return End::TerminalGone;
        }
        if !polled[2].revents().is_empty() {
            return End::Signal;
        }
    }
}

/// Keys, and changes of the terminal's size, in a thread that ends with the process.
pub fn keys() -> io::Result<Receiver<Event>> {
    let (sender, keys) = bounded(64);
    let read = move || {
        while let Ok(event) = event::read() {
            if sender.send(event).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("keys".into()).spawn(read)?;
    Ok(keys)
}

/// The whole terminal, as long as this lives. A panic gives it back as well.
pub struct Screenful(DefaultTerminal);

impl Screenful {
    pub fn enter() -> io::Result<Screenful> {
        // Some leave the terminal half taken over.
        ratatui::try_init().map(Screenful).inspect_err(|_| leave())
    }

    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame)) -> io::Result<()> {
        self.0.draw(draw).map(drop)
    }

    /// Draws everything anew next time: something else may have written to the terminal.
    pub fn clear(&mut self) -> io::Result<()> {
        let size = self.0.size()?;
        // Not `clear`: that asks the terminal where its cursor is, and it is the key thread that would get the answer.
        self.0.resize(size.into())
    }

    /// Gives the terminal back and stops, until the shell lets it go on.
    pub fn suspend(&mut self) -> io::Result<()> {
        leave();
        kill_process(getpid(), Signal::TSTP)?;
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen)?;
        self.clear()
    }
}

impl Drop for Screenful {
    fn drop(&mut self) {
        leave();
    }
}

/// What fails here fails since the terminal has gone.
fn leave() {
    let _ = disable_raw_mode();
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = stdout().flush();
}

/// What the terminal can show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    pub colour: bool,
    /// Bold, reverse.
    pub attributes: bool,
    /// Letters beyond ASCII.
    pub unicode: bool,
}

impl Look {
    pub fn of_environment() -> Look {
        Look::of(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// By the variables of the environment that are not empty.
    fn of(variable: impl Fn(&str) -> Option<String>) -> Look {
        let terminal = variable("TERM").unwrap_or_else(|| "dumb".into());
        let is_dumb = terminal == "dumb";
        // DEC's terminals before the colour ones, and those that say it in their names.
        let is_grey = is_dumb || terminal.starts_with("vt") || terminal.ends_with("-m") || terminal.ends_with("-mono");
        let locale = variable("LC_ALL").or_else(|| variable("LC_CTYPE")).or_else(|| variable("LANG"));
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        let is_utf8 = locale.ends_with("utf-8") || locale.ends_with("utf8") || locale.contains("utf-8@");
        Look {
            colour: !is_grey && variable("NO_COLOR").is_none(),
            attributes: !is_dumb,
            unicode: is_utf8 && !is_dumb && !terminal.starts_with("vt"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_can_show_is_taken_from_its_environment() {
        let look = |variables: &[(&str, &str)]| {
            Look::of(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        };
        let all = Look { colour: true, attributes: true, unicode: true };
        assert_eq!(look(&[("TERM", "screen-256color"), ("LANG", "en_GB.UTF-8")]), all);
        assert_eq!(look(&[("TERM", "xterm"), ("LANG", "C.UTF-8"), ("NO_COLOR", "1")]), Look { colour: false, ..all });
        let plain = Look { unicode: false, ..all };
        assert_eq!(look(&[("TERM", "xterm"), ("LANG", "C.UTF-8"), ("LC_ALL", "C")]), plain);
        let vt100 = Look { colour: false, attributes: true, unicode: false };
        assert_eq!(look(&[("TERM", "vt100"), ("LANG", "C.UTF-8")]), vt100);
        assert_eq!(look(&[("LANG", "C.UTF-8")]), Look { colour: false, attributes: false, unicode: false });
    }
}
