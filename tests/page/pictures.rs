//! The pictures of the README, of the page as it is: dark, light, and on a phone.
//!
//! `PICTURES_AFTER=900 cargo test --test page -- --ignored pictures` lets a scheduler work for so many seconds, so
//! that there is a past to be shown, and writes them to `src/monitor/page/screenshots/`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::browser::Browser;
use super::house::House;
use crate::support::random::Random;
use crate::support::relay::{Dot, Policy, Rcpt, Relay};
use crate::support::spool::{TestSpool, members, now};

const LISTS: [(&str, &str, u64); 8] = [
    ("alerts@ops.example.org", "0", 40),
    ("council@city.example.org", "2", 300),
    ("staff@campus.example.org", "3", 2_500),
    ("announce@campus.example.org", "5", 9_000),
    ("library-news@campus.example.org", "5", 3_000),
    ("students-2026@campus.example.org", "6", 12_000),
    ("newsletter@city.example.org", "8", 30_000),
    ("digest@lists.example.org", "9", 6_000),
];
/// For a page of a README.
const MOST_OCTETS: u64 = 150 * 1024;

/// What goes on at a site of medium size, so far as it can be seen.
struct Site {
    spool: std::path::PathBuf,
    random: Random,
    serial: u32,
}

impl Site {
    fn post(&mut self, house: &House, list: usize, suffix: &str, priority: &str) {
        let (name, _, usual) = LISTS[list];
        self.serial += 1;
        let count = usual / 2 + self.random.within(1..usual);
        let all = members(name.split('@').next().unwrap(), count as usize);
        let packets: Vec<Vec<String>> = all.chunks(1000).map(<[String]>::to_vec).collect();
        let id = format!("{name}.{}.{}{suffix}", now().0, self.serial);
        assert!(self.spool.exists());
        // As inject writes it: how many there were is known also when most have got it.
        let head = format!("X-Sympa-Dist-Recipients: {count}\nX-Sympa-Dist-Packets: {}\n", packets.len());
        let message = head + &crate::support::spool::message(&id);
        let names: Vec<String> = (1..=packets.len()).map(|n| format!("recipients.mail.{n:04}")).collect();
        let texts: Vec<String> = packets.iter().map(|packet| crate::support::spool::lines(packet)).collect();
        let mut files: Vec<(&str, &str)> = names.iter().zip(&texts).map(|(n, t)| (n.as_str(), t.as_str())).collect();
        files.push(("message", &message));
        house.spool.put(priority, &id, &files);
    }
}

#[test]
#[ignore = "makes the pictures of the README; see the module"]
fn pictures_of_the_page_are_small_and_taken_without_an_error_in_the_console() {
    let lasts = std::env::var("PICTURES_AFTER").map_or(30, |seconds| seconds.parse().expect("seconds"));
    let took = Arc::new(AtomicU64::new(20));
    let slow = took.clone();
    let policy = Policy::new()
        .rcpt(|address, tries| {
            match address.bytes().fold(0_u32, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into())) % 997 {
                0 => Rcpt::Say("550 5.1.1 no such mailbox"),
                1..=4 if tries < 3 => Rcpt::Say("451 4.7.1 greylisted, come back later"),
                _ => Rcpt::Take,
            }
        })
        .dot(move |_| Dot::TakeAfter(Duration::from_millis(slow.load(Ordering::Relaxed))));
    let house = House::start(TestSpool::new(), Relay::start(policy), 6);
    let mut site = Site { spool: house.spool.path().to_owned(), random: Random::new(7), serial: 0 };
    site.post(&house, 2, &format!(":at{}", now().0 + lasts + 5_400), "3");
    site.post(&house, 7, &format!(":at{}", now().0 + lasts + 40_000), "9");
    site.post(&house, 4, "", "z");
    let browsers = [
        ("light", Browser::sized(1440, 1240, json!({})), "light"),
        ("dark", Browser::sized(1440, 1240, json!({})), "dark"),
        ("phone", phone(), "light"),
    ];
    for (_, browser, theme) in &browsers {
        house.visit(browser);
        let choose =
            "const s = document.querySelector('#theme'); s.value = arguments[0]; s.dispatchEvent(new Event('change'))";
        browser.script(choose, *theme);
    }
    let begin = Instant::now();
    let end = begin + Duration::from_secs(lasts);
    while Instant::now() < end {
        let list = site.random.below(LISTS.len());
        site.post(&house, list, "", LISTS[list].1);
        took.store(120 + site.random.within(0..160), Ordering::Relaxed);
        // Five minutes of more than can be sent, three of less.
        let usual = if begin.elapsed().as_secs() / 60 % 8 < 5 { 4 } else { 11 };
        let pause = Duration::from_secs(usual - 2 + site.random.within(0..5));
        std::thread::sleep(pause.min(end.saturating_duration_since(Instant::now())));
    }
    for list in [6, 5, 3, 2, 7, 4, 6] {
        site.post(&house, list, "", LISTS[list].1);
    }
    std::thread::sleep(Duration::from_secs(4));
    site.post(&house, 1, "", "2");
    site.post(&house, 0, "", "0");
    let to = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/monitor/page/screenshots");
    std::fs::create_dir_all(&to).unwrap();
    for (name, browser, _) in &browsers {
        browser.wait_for("a preemption", |browser| browser.count("#preemptions li") > 0);
        std::thread::sleep(Duration::from_secs(1));
        let file = to.join(format!("{name}.webp"));
        browser.save_picture(&file);
        let octets = std::fs::metadata(&file).unwrap().len();
        assert!(octets <= MOST_OCTETS, "{} has {octets} octets", file.display());
    }
    for (name, browser, _) in &browsers {
        assert_eq!(browser.console(), Vec::<Value>::new(), "{name}");
    }
}

fn phone() -> Browser {
    let metrics = json!({ "width": 390, "height": 1180, "pixelRatio": 1.5, "touch": true });
    Browser::sized(390, 1180, json!({ "mobileEmulation": { "deviceMetrics": metrics } }))
}
