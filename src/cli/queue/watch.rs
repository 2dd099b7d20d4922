//! `sympa-dist queue --watch`: the same again and again.
//!
//! A terminal is repainted in place, each frame by one write, over what was there and not after wiping it, so nothing
//! flickers; afterwards it is as it was. Anything else gets the frames one after another. INT and TERM end it; so does a
//! reader, or a terminal, that has gone, at once and not at the next frame.

use std::io::{IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use ratatui::crossterm::cursor::{Hide, MoveTo, Show};
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate,
    EnterAlternateScreen, LeaveAlternateScreen, size,
};
use ratatui::crossterm::{execute, queue};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};

use crate::cli::{CliError, Exit, say};

/// A picture of the queue.
pub struct Frame {
    pub text: Vec<u8>,
    /// What could not be shown, and why.
    pub complaints: Vec<String>,
}

/// `2`, `0.5`: seconds.
pub fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected seconds, from 0.1 to 86400".into())
}

/// Shows what `frame` gives, every `interval`, until somebody ends it.
pub fn watch(
    interval: Duration,
    title: &str,
    mut frame: impl FnMut() -> Result<Frame, CliError>,
) -> Result<Exit, CliError> {
    let cannot = |error: std::io::Error| CliError::TryAgain(format!("cannot listen for signals: {error}"));
    let mut signals = Signals::listen().map_err(cannot)?;
    let is_terminal = std::io::stdout().is_terminal();
    let mut screen = None;
    loop {
        let started = Instant::now();
        let frame = frame()?;
        // A spool that takes long to be read is not read all the time.
        let next = (started + interval).max(Instant::now() + started.elapsed());
        if is_terminal {
            let screen = match &mut screen {
                None => screen.insert(Screen::take().map_err(gone)?),
                Some(screen) => screen,
            };
            screen.paint(title, &frame).map_err(gone)?;
        } else {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(&frame.text)?;
            // Where one ends; readers of JSON pass over it.
            writeln!(stdout)?;
            stdout.flush()?;
            frame.complaints.iter().for_each(|complaint| say(complaint));
        }
        match signals.wait_until(next).map_err(cannot)? {
            Next::Frame => {}
            Next::End => return Ok(Exit::Done),
        }
    }
}

/// A terminal that was hung up answers with an input/output error.
fn gone(error: std::io::Error) -> CliError {
    match error.raw_os_error() {
        Some(libc::EIO | libc::ENXIO) => CliError::NobodyReads,
        _ => error.into(),
    }
}

enum Next {
    Frame,
    End,
}

/// Those that end it, and the one that says that the terminal has another size.
struct Signals {
    end: UnixStream,
    resized: UnixStream,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        let (end, ends) = UnixStream::pair()?;
        let (resized, resizes) = UnixStream::pair()?;
        let again = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In the middle of a write to somebody who does not read, the first is not heard.
            signal_hook::flag::register_conditional_default(signal, again.clone())?;
            signal_hook::flag::register(signal, again.clone())?;
            signal_hook::low_level::pipe::register(signal, ends.try_clone()?)?;
        }
        signal_hook::low_level::pipe::register(SIGWINCH, resizes)?;
        resized.set_nonblocking(true)?;
        Ok(Signals { end, resized })
    }

    /// Sleeps until then, or until a signal, or until nobody reads any more.
    fn wait_until(&mut self, next: Instant) -> std::io::Result<Next> {
        loop {
            let left = next.saturating_duration_since(Instant::now());
            let stdout = std::io::stdout();
            // Errors and hang-ups are told without being asked for; a file never has any.
            let mut looked = [
                PollFd::new(&stdout, PollFlags::empty()),
                PollFd::new(&self.end, PollFlags::IN),
                PollFd::new(&self.resized, PollFlags::IN),
            ];
            let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            match poll(&mut looked, Some(&left)) {
                Ok(0) => return Ok(Next::Frame),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if !looked[0].revents().is_empty() || !looked[1].revents().is_empty() {
                return Ok(Next::End);
            }
            // However many there were, one new frame does.
            let mut signals = [0; 64];
            while self.resized.read(&mut signals).is_ok_and(|read| read > 0) {}
            return Ok(Next::Frame);
        }
    }
}

/// The terminal, taken over. Dropped, it is as it was.
struct Screen;

impl Screen {
    fn take() -> std::io::Result<Screen> {
        // Made first: what half of this has done is undone, too.
        let screen = Screen;
        execute!(std::io::stdout(), EnterAlternateScreen, Hide, DisableLineWrap)?;
        Ok(screen)
    }

    fn paint(&self, title: &str, frame: &Frame) -> std::io::Result<()> {
        let mut text = format!("{title}\n").into_bytes();
        text.extend_from_slice(&frame.text);
        frame.complaints.iter().for_each(|complaint| text.extend(format!("-- {complaint}\n").into_bytes()));
        let lines: Vec<&[u8]> = text.strip_suffix(b"\n").unwrap_or(&text).split(|&b| b == b'\n').collect();
        let height = size().map_or(24, |(_, height)| usize::from(height).max(1));
        let shown = if lines.len() > height { height - 1 } else { lines.len() };
        let mut painted = Vec::with_capacity(text.len() + 16 * lines.len());
        queue!(painted, BeginSynchronizedUpdate, MoveTo(0, 0))?;
        for (at, line) in lines[..shown].iter().enumerate() {
            if at > 0 {
                painted.extend(b"\r\n");
            }
            painted.extend_from_slice(line);
            queue!(painted, Clear(ClearType::UntilNewLine))?;
        }
        if shown < lines.len() {
            painted.extend(format!("\r\n-- {} more lines", lines.len() - shown).into_bytes());
            queue!(painted, Clear(ClearType::UntilNewLine))?;
        }
        queue!(painted, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(&painted)?;
        stdout.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Where the terminal has gone, there is nothing to restore.
        let _ = execute!(std::io::stdout(), EnableLineWrap, Show, LeaveAlternateScreen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_some_seconds() {
        assert_eq!(interval("2"), Ok(Duration::from_secs(2)));
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        for text in ["", "0", "-1", "nan", "inf", "1e9", "2s"] {
            assert!(interval(text).is_err(), "{text:?}");
        }
    }
}
