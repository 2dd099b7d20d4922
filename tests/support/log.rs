//! What the program logs, kept for the tests of this process to look at.
//!
//! Tests run side by side and share the log: each looks for lines with its own message ids or its own relay's port.

use std::io::{self, Write};
use std::sync::Once;

use parking_lot::Mutex;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Keeper;

impl Write for Keeper {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        LINES.lock().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to keep the log; what is logged before is lost.
pub fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::DEBUG).with_writer(|| Keeper).init();
    });
}

/// The lines so far that contain all of `words`.
pub fn lines_with(words: &[&str]) -> Vec<String> {
    let text = String::from_utf8_lossy(&LINES.lock()).into_owned();
    text.lines().filter(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned).collect()
}

/// Waits for such a line. The program logs a thing after it has done it.
#[track_caller]
pub fn wait_for_line(words: &[&str]) -> String {
    super::spool::wait_until(&format!("{words:?} in the log"), || !lines_with(words).is_empty(), String::new);
    lines_with(words).remove(0)
}
