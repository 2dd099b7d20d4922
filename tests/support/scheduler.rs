//! The scheduler, run inside the test's process.

use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use sympa_dist::daemon::live::Live;
use sympa_dist::daemon::settings::{OnUncertain, RetrySettings, RunSettings, Settings};
use sympa_dist::daemon::{self, Control, RunError, Summary};
use sympa_dist::deliver::{RelaySettings, RelayUrl};
use sympa_dist::spool::disk::Disk;
use sympa_dist::spool::progress::Sync;

/// What the tests run with where they don't say otherwise.
pub fn settings(spool: &Path, relay: RelayUrl, workers: usize) -> Settings {
    Settings {
        spool: spool.to_owned(),
        run: RunSettings {
            workers: NonZero::new(workers).unwrap(),
            recipients_per_transaction: NonZero::new(10).unwrap(),
            checkpoint_sync: Sync::Data,
            shutdown_grace: Duration::from_secs(30),
            rescan: Duration::from_secs(60),
            on_uncertain: OnUncertain::Resend,
            ..Settings::default().run
        },
        retry: RetrySettings { schedule: vec![Duration::from_secs(1)], expire: Duration::from_secs(86400) },
        relays: vec![RelaySettings::new(relay)],
        ..Settings::default()
    }
}

/// A running scheduler. Dropped, it is stopped.
pub struct Running {
    control: Sender<Control>,
    thread: Option<JoinHandle<Result<Summary, RunError>>>,
}

impl Running {
    pub fn start(settings: Settings) -> Running {
        Running::start_live(settings, &Arc::default())
    }

    /// One that is watched.
    pub fn start_live(settings: Settings, live: &Arc<Live>) -> Running {
        super::log::capture();
        let (control, orders) = bounded(1);
        let live = live.clone();
        let thread = std::thread::spawn(move || daemon::run_on(&Disk::default(), settings, &orders, &live));
        Running { control, thread: Some(thread) }
    }

    pub fn tell(&self, order: Control) {
        self.control.send(order).expect("it listens as long as it runs");
    }

    pub fn reload(&self, settings: Settings) {
        self.tell(Control::Reload(Box::new(Ok(settings))));
    }

    /// Says stop and waits for the end.
    pub fn stop(self) -> Summary {
        self.tell(Control::Stop);
        self.wait()
    }

    pub fn wait(mut self) -> Summary {
        self.thread.take().expect("waited for once").join().expect("no panic").expect("it ran")
    }

    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // It may have ended by itself.
            let _ = self.control.send(Control::Stop);
            let _ = self.control.send_timeout(Control::StopNow, Duration::from_secs(1));
            let _ = thread.join();
        }
    }
}
