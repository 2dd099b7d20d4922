//! Fairness inside a level, and ageing: the bounds that are promised, over random workloads in virtual time.

use std::collections::HashMap;
use std::num::NonZero;

use proptest::prelude::*;

use super::*;
use crate::schedule::{Ageing, Order, Policy, Slowdown};

/// A message that comes at a time and takes so many transactions of one time unit each.
#[derive(Clone, Copy, Debug)]
struct Post {
    comes: u64,
    transactions: u32,
    level: u8,
}

/// How a history went.
struct History {
    /// By post: when its last transaction ended.
    ended: Vec<u64>,
    /// By post: transactions handed to younger ones of its level while it had a packet that nobody had.
    passed: Vec<u64>,
}

/// Lets `workers` work off the posts, in time units of one transaction, in packets of `packet` transactions.
///
/// Checks on the way that no worker idles while a packet is there, and that nobody is handed a transaction while a more
/// urgent packet, as lifted, is there.
fn work_off(posts: &[Post], policy: Policy, workers: usize, packet: u32) -> History {
    let mut backlog = Backlog::with(policy);
    let mut posts_by_time: Vec<usize> = (0..posts.len()).collect();
    posts_by_time.sort_by_key(|&n| posts[n].comes);
    let mut coming = posts_by_time.into_iter().peekable();
    // Of each message that is there: which post, packets that nobody has (by what is left of each).
    let mut there: HashMap<Key, (usize, Vec<u32>)> = HashMap::new();
    let mut opened: HashMap<Key, bool> = HashMap::new();
    let mut busy: Vec<Option<(Key, u32)>> = vec![None; workers];
    let mut history = History { ended: vec![0; posts.len()], passed: vec![0; posts.len()] };
    for now in 0.. {
        while let Some(n) = coming.next_if(|&n| posts[n].comes <= now) {
            let Post { transactions, level, .. } = posts[n];
            let key = backlog.arrive(arrival(level, posts[n].comes));
            let packets = (0..transactions).step_by(packet as usize).map(|from| packet.min(transactions - from));
            there.insert(key, (n, packets.collect()));
        }
        if coming.peek().is_none() && there.is_empty() {
            return history;
        }
        for hands in &mut busy {
            let next = match *hands {
                None => backlog.take(at(now)),
                Some((current, left)) => match backlog.boundary(current, at(now)) {
                    Boundary::Continue => None,
                    Boundary::Yield(Preemption { to, .. }) => {
                        backlog.give_back(current);
                        there.get_mut(&current).unwrap().1.push(left);
                        Some(to)
                    }
                    answer => panic!("{answer:?}"),
                },
            };
            if let Some(next) = next {
                let (n, packets) = there.get_mut(&next).unwrap();
                *hands = Some((next, packets.pop().expect("what is handed out is there")));
                if opened.insert(next, true).is_none() {
                    backlog.opened(next, packets.len() as u32, posts[*n].transactions);
                }
            }
            let waiting = there.iter().filter(|(_, (_, packets))| !packets.is_empty());
            let Some((current, left)) = hands else {
                assert_eq!(waiting.count(), 0, "a worker idles at {now} while packets wait");
                continue;
            };
            let (own, own_level) = (there[current].0, backlog.chosen_at(*current));
            for (key, (n, _)) in waiting.filter(|(key, _)| **key != *current) {
                assert!(backlog.chosen_at(*key) >= own_level, "post {n} is more urgent than {own} at {now}");
                let is_elder = (posts[*n].comes, *key) < (posts[own].comes, *current);
                history.passed[*n] += u64::from(is_elder && backlog.chosen_at(*key) == own_level);
            }
            *left -= 1;
            if *left == 0 {
                let current = *current;
                backlog.done(current);
                *hands = None;
                if backlog.is_idle(current) {
                    backlog.gone(current);
                    let (n, _) = there.remove(&current).unwrap();
                    history.ended[n] = now + 1;
                }
            }
        }
    }
    unreachable!()
}

fn fair(slowdown: f64) -> Policy {
    Policy { order: Order::Fair(Slowdown::new(slowdown).unwrap()), ageing: None }
}

const FIFO: Policy = Policy { order: Order::Fifo, ageing: None };

/// Small ones mostly, and some of thousands of transactions.
fn posts(levels: std::ops::Range<u8>) -> impl Strategy<Value = Vec<Post>> {
    let size = prop_oneof![6 => 1..4u32, 3 => 4..100u32, 1 => 100..2000u32];
    let post = (0..1500u64, size, levels).prop_map(|(comes, transactions, level)| Post { comes, transactions, level });
    prop::collection::vec(post, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nobodys_end_comes_later_than_the_slowdown_allows(posts in posts(5..6), slowdown in 1.0..2.0f64) {
        let ended = work_off(&posts, fair(slowdown), 1, 20).ended;
        let in_order = work_off(&posts, FIFO, 1, 20).ended;
        for (n, post) in posts.iter().enumerate() {
            let (took, takes) = (ended[n] - post.comes, in_order[n] - post.comes);
            // To open it, before anything is known of it, costs each message's worker one transaction at most.
            prop_assert!(took as f64 <= slowdown.max(1.0005) * takes as f64 + 1.0, "{n} of {posts:?}: {took} for {takes}");
        }
    }

    /// What a class has earned is worth no more than a message of that class may lose: not what one before it has left
    /// behind, nor what is there at the start. So many small ones come that all of it is spent.
    #[test]
    fn a_flood_of_small_ones_passes_nobody_by_more_than_that_either(
        class in 3..9u32,
        (before, more) in (prop::option::of(0..1000u32), prop_oneof![Just(0), 0..1000u32]),
        slowdown in 1.05..2.0f64,
    ) {
        let transactions = |per_mille: u32| (1 << class) + (1 << class) * per_mille / 1000;
        let before = before.map(transactions);
        let comes = u64::from(before.unwrap_or(0));
        let first = before.map(|transactions| Post { comes: 0, transactions, level: 5 });
        let big = Post { comes, transactions: transactions(more), level: 5 };
        let flood = (0..3u64 << class).map(|n| Post { comes: comes + 1 + n / 2, transactions: 1, level: 5 });
        let posts: Vec<Post> = first.into_iter().chain([big]).chain(flood).collect();
        let ended = work_off(&posts, fair(slowdown), 1, 20).ended;
        let in_order = work_off(&posts, FIFO, 1, 20).ended;
        let n = usize::from(before.is_some());
        let (took, takes) = (ended[n] - comes, in_order[n] - comes);
        prop_assert!(took as f64 <= slowdown * takes as f64 + 1.0, "{took} for {takes}");
    }

    #[test]
    fn several_workers_pass_nobody_by_more_than_the_slowdown_allows(posts in posts(5..6), workers in 2..6usize) {
        let passed = work_off(&posts, fair(1.25), workers, 20).passed;
        for (n, post) in posts.iter().enumerate() {
            let elders: u32 = posts.iter().filter(|other| other.comes <= post.comes).map(|post| post.transactions).sum();
            prop_assert!(passed[n] as f64 <= 0.25 * f64::from(elders), "{n} of {posts:?}: passed by {}", passed[n]);
        }
    }

    /// No matter what comes later: what waits is chosen at level 0 after its level's steps, and then by arrival, but for
    /// the slowdown.
    #[test]
    fn with_ageing_nobody_starves(transactions in 1..50u32, level in 1..10u8, step in 1..40u64, workers in 1..4usize) {
        let mut posts = vec![Post { comes: 0, transactions, level }];
        // More urgent ones keep all workers busy for ever.
        posts.extend((0..1500).map(|n| Post { comes: n / workers as u64, transactions: 1, level: 0 }));
        let ageing = Some(Ageing(NonZero::new(step).unwrap()));
        let ended = work_off(&posts, Policy { ageing, ..fair(1.25) }, workers, 20).ended[0];
        let first_at = step * u64::from(level);
        prop_assert!(ended <= first_at + u64::from(transactions) * 2 + 2, "{ended}");
        let never = work_off(&posts, fair(1.25), workers, 20).ended[0];
        prop_assert!(never > 1500 / workers as u64, "without ageing it does: {never}");
    }

    #[test]
    fn between_levels_order_is_strict_and_nobody_idles(posts in posts(0..10), workers in 1..6usize, step in 1..500u64) {
        work_off(&posts, fair(1.25), workers, 7);
        let ageing = Some(Ageing(NonZero::new(step).unwrap()));
        work_off(&posts, Policy { ageing, ..fair(1.25) }, workers, 7);
    }
}

#[test]
fn a_five_member_post_does_not_wait_behind_a_newsletter_of_its_level() {
    let newsletter = Post { comes: 0, transactions: 20_000, level: 5 };
    let small = Post { comes: 500, transactions: 1, level: 5 };
    let ended = work_off(&[newsletter, small], fair(1.25), 4, 20).ended;
    assert!(ended[1] <= 502, "{ended:?}");
    assert_eq!(work_off(&[newsletter, small], FIFO, 4, 20).ended[1], 5001);
}

#[test]
fn two_big_ones_share() {
    let posts = [(0, 20_000), (10, 20_000)].map(|(comes, transactions)| Post { comes, transactions, level: 5 });
    let halfway = |ended: &[u64]| ended[0];
    let (fair, fifo) = (work_off(&posts, fair(1.25), 4, 20).ended, work_off(&posts, FIFO, 4, 20).ended);
    assert!(halfway(&fair) > halfway(&fifo) * 11 / 10 && halfway(&fair) <= halfway(&fifo) * 5 / 4, "{fair:?} {fifo:?}");
    // But for the last packet, which no two workers can share.
    assert!(fair[1] <= fifo[1] + 20);
}

#[test]
fn what_small_ones_pass_by_is_not_used_up_by_big_ones_that_share() {
    let big = [(0, 20_000), (10, 20_000)].map(|(comes, transactions)| Post { comes, transactions, level: 5 });
    let small = (1..20).map(|n| Post { comes: n * 400, transactions: 1, level: 5 });
    let posts: Vec<Post> = big.into_iter().chain(small).collect();
    let ended = work_off(&posts, fair(1.25), 4, 20).ended;
    for (post, ended) in posts.iter().zip(ended).skip(2) {
        assert!(ended <= post.comes + 2, "{post:?} at {ended}");
    }
}

#[test]
fn by_arrival_alone_if_it_is_asked_for() {
    let posts =
        [(0, 300), (1, 1), (2, 400), (3, 2)].map(|(comes, transactions)| Post { comes, transactions, level: 5 });
    assert_eq!(work_off(&posts, FIFO, 1, 20).ended, [300, 301, 701, 703]);
}
