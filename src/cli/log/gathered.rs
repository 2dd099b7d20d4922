//! Lines for a log file or a pipe, gathered and written together.
//!
//! A line a transaction, each with a system call of its own and all workers after the same file, took a fifth of the
//! throughput (`cargo bench -- sweep`). Here a line is written a tenth of a second later at the latest; a warning or an
//! error at once, with what came before it. kill -9 loses that tenth of a second.

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

const LATEST: Duration = Duration::from_millis(100);
const ENOUGH: usize = 32 * 1024;

static LINES: OnceLock<Arc<Lines>> = OnceLock::new();

#[derive(Default)]
struct Lines {
    text: Mutex<Vec<u8>>,
    some: Condvar,
}

/// Gives each line a writer; all gather in one place.
pub struct Gathered(Arc<Lines>);

/// Where one line goes.
pub struct Line<'a> {
    lines: &'a Lines,
    at_once: bool,
}

impl Gathered {
    pub fn to_stderr() -> io::Result<Gathered> {
        let lines = LINES.get_or_init(Arc::default).clone();
        let theirs = lines.clone();
        let write_now_and_then = move || {
            loop {
                let mut text = theirs.text.lock();
                while text.is_empty() {
                    theirs.some.wait(&mut text);
                }
                drop(text);
                thread::sleep(LATEST);
                write_out(&mut theirs.text.lock());
            }
        };
        thread::Builder::new().name("log".into()).spawn(write_now_and_then)?;
        Ok(Gathered(lines))
    }
}

/// Writes what has gathered: the process is about to end.
pub fn finish() {
    if let Some(lines) = LINES.get() {
        write_out(&mut lines.text.lock());
    }
}

fn write_out(text: &mut Vec<u8>) {
    // Nobody is left to be told that the log can't be written.
    let _ = io::stderr().write_all(text);
    text.clear();
}

impl<'a> MakeWriter<'a> for Gathered {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: &self.0, at_once: false }
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Line<'a> {
        Line { lines: &self.0, at_once: *of.level() <= Level::WARN }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut text = self.lines.text.lock();
        let first = text.is_empty();
        text.extend_from_slice(line);
        if self.at_once || text.len() >= ENOUGH {
            write_out(&mut text);
        } else if first {
            self.lines.some.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
