//! The scheduler as a whole, against a real SMTP server on loopback.

use std::num::NonZero;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use sympa_dist::daemon::settings::{RetrySettings, RunSettings, Settings};
use sympa_dist::daemon::{self, Control};
use sympa_dist::deliver::sink::{Sink, SinkOptions};
use sympa_dist::deliver::{RelaySettings, RelayUrl};
use sympa_dist::spool::progress::Sync;

fn settings(spool: &Path, relay: RelayUrl, workers: usize) -> Settings {
    Settings {
        spool: spool.to_owned(),
        run: RunSettings {
            workers: NonZero::new(workers).unwrap(),
            recipients_per_transaction: NonZero::new(50).unwrap(),
            checkpoint_sync: Sync::Data,
            shutdown_grace: Duration::from_secs(30),
            rescan: Duration::from_secs(60),
        },
        retry: RetrySettings { schedule: vec![Duration::from_secs(1)], expire: Duration::from_secs(86400) },
        relays: vec![RelaySettings::new(relay)],
    }
}

fn put(spool: &Path, priority: &str, id: &str, packets: u32, size: u32) {
    let dir = spool.join("incoming").join(id);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::create_dir_all(spool.join("distribute").join(priority)).unwrap();
    for p in 1..=packets {
        let text: String = (0..size).map(|n| format!("user{p:04}x{n:06}@example.org\n")).collect();
        std::fs::write(dir.join(format!("recipients.mail.{p:04}")), text).unwrap();
    }
    std::fs::write(dir.join("message"), format!("Subject: {id}\n\n{}", "hello world, this is a line\n".repeat(140)))
        .unwrap();
    std::fs::rename(dir, spool.join("distribute").join(priority).join(id)).unwrap();
}

#[test]
fn a_message_is_distributed() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN).init();
    let dir = tempfile::tempdir_in("/work").unwrap();
    let sink = Sink::start(SinkOptions::default()).unwrap();
    let n: u32 = std::env::var("N").map_or(10, |n| n.parse().unwrap());
    put(dir.path(), "9", "big@x.org.1700000000.1", n, 5000);
    let (send, control) = bounded(1);
    let s = settings(dir.path(), sink.url(), std::env::var("W").map_or(4, |n| n.parse().unwrap()));
    let start = Instant::now();
    let running = thread::spawn(move || daemon::run(s, &control));
    while sink.recipients() < u64::from(n) * 5000 {
        thread::sleep(Duration::from_millis(1));
    }
    eprintln!("{:?} {}/s", start.elapsed(), f64::from(n * 5000) / start.elapsed().as_secs_f64());
    put(dir.path(), "0", "small@x.org.1700000000.1", 1, 3);
    while sink.recipients() < u64::from(n) * 5000 + 3 {
        thread::sleep(Duration::from_millis(1));
    }
    send.send(Control::Stop).unwrap();
    assert!(running.join().unwrap().unwrap().uncertain.is_empty());
    assert_eq!(std::fs::read_dir(dir.path().join("distribute/9")).unwrap().count(), 0);
}
