//! The thread that hears what other processes announce.
//!
//! A hint like any other: what is missed while there is no connection costs time, and is made good by "look at
//! everything" once there is one again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use tracing::debug;

use super::database::{Access, Hearing, News};

/// How often a database that is away is tried.
const RETRY: Duration = Duration::from_secs(1);

/// Hears until `is_over`, and tells what it hears.
pub fn run(access: &Access, process: &Arc<AtomicI64>, is_over: &Arc<AtomicBool>, tell: &(dyn Fn(News) + Send)) {
    let mut hearing: Option<Box<dyn Hearing>> = None;
    while !is_over.load(Ordering::Relaxed) {
        let Some(connection) = &mut hearing else {
            let me = process.load(Ordering::Relaxed);
            match if me == 0 { None } else { Some(access.listen(me)) } {
                Some(Ok(connection)) => {
                    hearing = Some(connection);
                    tell(News::Everything);
                }
                // The keeper says what is wrong with the database.
                Some(Err(error)) => {
                    debug!("cannot hear what other hosts announce: {error}");
                    thread::sleep(RETRY);
                }
                None => thread::sleep(RETRY),
            }
            continue;
        };
        match connection.next() {
            Ok(Some(news)) => tell(news),
            Ok(None) => {}
            Err(error) => {
                debug!("does not hear what other hosts announce any more: {error}");
                hearing = None;
                thread::sleep(RETRY);
            }
        }
    }
}
