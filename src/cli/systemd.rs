//! What systemd is told of a running scheduler, by sd_notify(3): readiness, reloading, stopping, the watchdog, and a
//! status line for `systemctl status`.
//!
//! Without `NOTIFY_SOCKET` in the environment, nothing. A message that can't be handed over is logged once and mail goes
//! on: whether it is missed is for systemd to say.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sd_notify::NotifyState;
use tracing::warn;

use crate::daemon::live::Readiness;
use crate::daemon::supervisor::{Sign, Supervisor};

const DISTRIBUTING: &str = "distributing";

/// The service manager that has started this process.
pub struct Systemd {
    /// A sign of life is missed after so long.
    watchdog: Option<Duration>,
    /// What is wrong with the configuration that it was told to take up last.
    refused: Mutex<Option<String>>,
    is_stopping: AtomicBool,
    has_failed: AtomicBool,
}

impl Systemd {
    /// It, if it wants to be told.
    pub fn from_environment() -> Option<Box<dyn Supervisor>> {
        std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty())?;
        let watchdog = sd_notify::watchdog_enabled().filter(|within| !within.is_zero());
        Some(Box::new(Systemd {
            watchdog,
            refused: Mutex::default(),
            is_stopping: AtomicBool::default(),
            has_failed: AtomicBool::default(),
        }))
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        match sd_notify::notify(states) {
            Ok(()) => self.has_failed.store(false, Ordering::Relaxed),
            Err(error) => {
                if !self.has_failed.swap(true, Ordering::Relaxed) {
                    warn!("cannot tell systemd by NOTIFY_SOCKET how the scheduler is: {error}; mail goes on");
                }
            }
        }
    }
}

impl Supervisor for Systemd {
    fn hear(&self, sign: Sign<'_>) {
        match sign {
            Sign::Distributing => self.tell(&[NotifyState::Ready, NotifyState::Status(DISTRIBUTING)]),
            Sign::Reloading => match NotifyState::monotonic_usec_now() {
                Ok(now) => self.tell(&[NotifyState::Reloading, now]),
                // systemd 253 and newer end a service that says the one without the other.
                Err(error) => warn!("cannot tell systemd of the reload: {error}; it goes on"),
            },
            Sign::Reloaded(Ok(())) => {
                *self.refused.lock() = None;
                self.tell(&[NotifyState::Ready, NotifyState::Status(DISTRIBUTING)]);
            }
            Sign::Reloaded(Err(why)) => {
                let status = status_line(DISTRIBUTING, Some(why));
                *self.refused.lock() = Some(why.to_owned());
                self.tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
            }
            // Its status says so already.
            Sign::Alive(_) if self.is_stopping.load(Ordering::Relaxed) => self.tell(&[NotifyState::Watchdog]),
            Sign::Alive(readiness) => {
                let status = status_line(state(&readiness), self.refused.lock().as_deref());
                self.tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
            }
            Sign::Stopping { within } => {
                self.is_stopping.store(true, Ordering::Relaxed);
                // The unit's own limit may be shorter than the grace that is configured here.
                let extend = format!("EXTEND_TIMEOUT_USEC={}", within.as_micros());
                self.tell(&[
                    NotifyState::Stopping,
                    NotifyState::Custom(&extend),
                    NotifyState::Status("stopping: final dots that are out are waited for"),
                ]);
            }
        }
    }

    /// Twice as often as it would be missed (sd_watchdog_enabled(3)).
    fn heartbeat(&self) -> Option<Duration> {
        self.watchdog.map(|within| within / 2)
    }
}

fn state(readiness: &Readiness) -> &'static str {
    let Readiness { spool, room, watch, relay } = *readiness;
    let in_the_way = [
        (spool, "no mail is sent: the spool can't be read"),
        (room, "no mail is sent: the spool's disk has no room to record it"),
        (relay, "no mail is sent: no relay is in use"),
        (watch, "distributing; new messages are found by scans only"),
    ];
    in_the_way.iter().find(|(is_well, _)| !is_well).map_or(DISTRIBUTING, |(_, line)| line)
}

/// What `systemctl status` shows: one line, since a line break would begin another assignment.
fn status_line(state: &str, refused: Option<&str>) -> String {
    let Some(refused) = refused else { return state.to_owned() };
    let lines: Vec<_> = refused.split(['\n', '\r', '\0']).map(str::trim).filter(|line| !line.is_empty()).collect();
    format!("{state}; configuration not reloaded, the old one stays in force: {}", lines.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_what_is_in_the_way() {
        let well = Readiness { spool: true, room: true, watch: true, relay: true };
        assert_eq!(state(&well), "distributing");
        assert_eq!(state(&Readiness { relay: false, ..well.clone() }), "no mail is sent: no relay is in use");
        assert_eq!(state(&Readiness { watch: false, ..well }), "distributing; new messages are found by scans only");
        assert_eq!(state(&Readiness::default()), "no mail is sent: the spool can't be read");
    }

    #[test]
    fn what_is_wrong_with_a_configuration_stays_in_one_status_line() {
        assert_eq!(
            status_line("distributing", Some("c.toml:1: a\nREADY=0\r\n\n c.toml:2: b\n")),
            "distributing; configuration not reloaded, the old one stays in force: c.toml:1: a; READY=0; c.toml:2: b"
        );
    }
}
