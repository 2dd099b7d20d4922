//! Described days of mail. A message's size is in transactions of 50 recipients.

/// A message that will come.
#[derive(Clone, Copy, Debug)]
pub struct Post {
    /// Microseconds from the start.
    pub comes: u64,
    pub level: u8,
    pub transactions: u32,
}

/// What comes, and onto what.
pub struct Workload {
    pub scenario: &'static str,
    /// The plot's file.
    pub plot: &'static str,
    pub what: &'static str,
    /// By time.
    pub posts: Vec<Post>,
    /// The level that most messages have.
    pub common: u8,
    pub workers: usize,
    /// A transaction's median, microseconds, and the spread of its logarithm.
    pub latency: (f64, f64),
    /// When the relay takes nothing, from and until, microseconds.
    pub outages: Vec<(u64, u64)>,
}

/// Transactions a packet: 1000 recipients.
pub const PACKET: u32 = 20;

pub const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3600 * SECOND;

/// 6,000 lists with a heavy tail to 50,000 members; posts all day, and at the full hour the newsletters of the faculties, and
/// what machines send by the clock. The relay is down for half a minute. Real Postfix takes 10,000 recipients a second.
pub fn university(quick: bool) -> Workload {
    let mut random = Random(1);
    // Pareto: half of the lists have less than 10 members, one in a thousand several thousand.
    let lists: Vec<(u32, u8)> = (0..6000)
        .map(|_| {
            let members = (5.0 * (1.0 - random.unit()).powf(-1.0 / 0.95)).min(50_000.0);
            ((members / 50.0).ceil() as u32, level_of(&mut random))
        })
        .collect();
    let hours = if quick { 1 } else { 4 };
    let mut posts = Vec::new();
    for hour in 0..hours {
        for _ in 0..1500 {
            let (transactions, level) = lists[random.below(lists.len())];
            posts.push(Post { comes: hour * HOUR + (random.unit() * HOUR as f64) as u64, level, transactions });
        }
        // In the first minute of the hour.
        for n in 0..520 {
            let comes = hour * HOUR + (random.unit() * 60.0 * SECOND as f64) as u64;
            let (transactions, level) = match n {
                0..20 => (200 + random.below(800) as u32, 5),
                _ => lists[random.below(lists.len())],
            };
            posts.push(Post { comes, level, transactions });
        }
    }
    let outages = vec![(40 * 60 * SECOND, 40 * 60 * SECOND + 30 * SECOND)];
    workload(
        ["simulate-university", "simulate-university.svg"],
        "6,000 lists, bursts at the full hour, 8 workers of 40 ms",
        posts,
        8,
        (40_000.0, 0.5),
        outages,
    )
}

/// Six lists of 1,000,000, one behind the other every minute, all at the same level as the house's small mail; and a few
/// urgent ones.
pub fn newsletters(quick: bool) -> Workload {
    let mut random = Random(2);
    let transactions = if quick { 4_000 } else { 20_000 };
    let mut posts: Vec<Post> = (0..6).map(|n| Post { comes: (1 + n * 60) * SECOND, level: 5, transactions }).collect();
    let seconds = if quick { 200 } else { 1200 };
    for n in 0..seconds * 2 {
        let comes = n * SECOND / 2 + random.below(SECOND as usize / 2) as u64;
        posts.push(Post { comes, level: 5, transactions: 1 });
        if n % 10 == 0 {
            posts.push(Post { comes: comes + 1, level: 0, transactions: 1 });
        }
    }
    workload(
        ["simulate-newsletters", "simulate-newsletters.svg"],
        "six lists of 1,000,000 among small mail, 16 workers of 40 ms",
        posts,
        16,
        (40_000.0, 0.5),
        Vec::new(),
    )
}

/// One of 64 hosts that share 10,000,000 queued packets: 156,250 at the start, and more coming.
pub fn internet(quick: bool) -> Workload {
    let mut random = Random(3);
    let mut packets = if quick { 15_000 } else { 156_250 };
    let mut posts = Vec::new();
    while packets > 0 {
        let of_it = match random.below(1000) {
            0 => 1000,
            1..20 => 50,
            20..100 => 5,
            _ => 1,
        };
        let of_it = of_it.min(packets);
        packets -= of_it;
        let transactions = if of_it == 1 { 1 + random.below(PACKET as usize) as u32 } else { of_it as u32 * PACKET };
        posts.push(Post { comes: 0, level: level_of(&mut random), transactions });
    }
    for _ in 0..posts.len() / 4 {
        let comes = (random.unit() * HOUR as f64) as u64;
        posts.push(Post { comes, level: level_of(&mut random), transactions: 1 });
    }
    workload(
        ["simulate-internet", "simulate-internet.svg"],
        "one of 64 hosts with 10,000,000 packets, 64 workers of 100 ms",
        posts,
        64,
        (100_000.0, 0.8),
        vec![(600 * SECOND, 660 * SECOND)],
    )
}

/// Most sites never change the default.
fn level_of(random: &mut Random) -> u8 {
    match random.below(100) {
        0..2 => 0,
        2..10 => 1 + random.below(3) as u8,
        10..22 => 7 + random.below(3) as u8,
        _ => 5,
    }
}

fn workload(
    [scenario, plot]: [&'static str; 2],
    what: &'static str,
    mut posts: Vec<Post>,
    workers: usize,
    latency: (f64, f64),
    outages: Vec<(u64, u64)>,
) -> Workload {
    posts.sort_by_key(|post| post.comes);
    Workload { scenario, plot, what, posts, common: 5, workers, latency, outages }
}

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to 1, without 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    /// Normally distributed (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.unit(), self.unit());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}
