//! The screen without a terminal: what keys do to it, and how it is drawn.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;

use super::acting::Act;
use super::draw::draw;
use super::keys::Order;
use super::screen::{Screen, Sort};
use super::terminal::Look;
use crate::mail::{Epoch, Moment, Priority};
use crate::monitor::survey::{self, Details, LevelSum, Picture};
use crate::spool::census::State;
use crate::spool::layout::PauseName;
use crate::spool::note::Note;
use crate::spool::pause::{Pause, Paused};
use crate::spool::running::{Pace, Relay, Scheduler, Work};

const ALL: Look = Look { colour: true, attributes: true, unicode: true };
const NONE: Look = Look { colour: false, attributes: false, unicode: false };
/// What somebody may have written.
const NASTY: &str = "\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}é\r\n";

fn message(priority: &str, number: u64, state: State) -> survey::Line {
    let held = (state == State::Held).then(|| Note { since: 5, by: NASTY.into(), why: NASTY.into(), from: "5".into() });
    survey::Line {
        id: format!("list-{number}@lists.example.org.{}.{number}", 1_700_000_000 + number).parse().unwrap(),
        priority: priority.parse().unwrap(),
        state,
        not_before: None,
        left: number,
        deferred: 3,
        done: 10,
        workers: usize::from(state == State::Active),
        rate: if state == State::Active { 12.0 } else { 0.0 },
        stuck: None,
        details: Some(Arc::new(Details {
            size: 1000,
            sender: "a@example.org".into(),
            recipients: 13 + number,
            packets: 2,
            packets_left: 1,
            failed: 0,
            not_after: None,
            next_try: Some(Epoch(1_800_000_000)),
            held,
        })),
    }
}

fn picture(lines: Vec<survey::Line>, schedulers: Vec<Scheduler>) -> Picture {
    let mut levels = [LevelSum::default(); Priority::COUNT];
    for line in &lines {
        let level = &mut levels[line.priority.index()];
        (level.messages, level.oldest) = (level.messages + 1, Some(line.id.arrival()));
    }
    let pause = Pause { since: 5, by: NASTY.into(), why: NASTY.into(), until: None };
    Picture {
        at: Moment::from(Epoch(1_700_100_000)),
        lines,
        levels,
        schedulers,
        pauses: vec![Paused { name: PauseName::List("other@example.org".into()), pause: Some(pause) }],
        rate: 12.0,
        recent: (0..300).map(|n| f64::from(n % 7)).collect(),
        unread: 1,
        trouble: None,
    }
}

fn scheduler() -> Scheduler {
    let relay = Relay {
        relay: "smtp://relay".into(),
        state: "open".into(),
        since: Some(5),
        next_try: Some(7),
        why: Some(NASTY.into()),
    };
    let work = Work {
        worker: 1,
        message: NASTY.repeat(20),
        packet: NASTY.into(),
        priority: NASTY.into(),
        recipients: 5,
        done: 2,
        since: 5,
    };
    let (host, rates) = ("mail".into(), BTreeMap::new());
    let (relays, work) = (vec![relay; 9], vec![work; 9]);
    let (version, pace, sent, silent) = ("1".into(), Pace::default(), [0; 10], None);
    Scheduler { host, pid: 7, since: 5, version, workers: 9, relays, work, rates, sent, pace, written: 5, silent }
}

fn screen(look: Look) -> Screen {
    let mut screen = Screen::new(look, "/var/spool/sympa-dist".into());
    let states = [State::Active, State::Waiting, State::Deferred, State::Scheduled];
    let mut lines: Vec<_> = (0..40).map(|n| message("5", n, states[n as usize % 4])).collect();
    lines.push(message("z", 99, State::Held));
    screen.show(picture(lines, vec![scheduler(), scheduler()]));
    screen
}

fn drawn(screen: &mut Screen, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, screen)).unwrap();
    terminal.backend().buffer().clone()
}

fn press(screen: &mut Screen, key: KeyCode) -> Option<Order> {
    screen.event(&Event::Key(KeyEvent::new(key, KeyModifiers::NONE)))
}

fn text(buffer: &Buffer) -> String {
    let rows = buffer.content().chunks(buffer.area.width.into());
    rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>() + "\n").collect()
}

#[test]
fn any_size_is_drawn_and_the_chosen_message_is_in_view() {
    let mut screen = screen(ALL);
    for key in [KeyCode::Tab, KeyCode::Tab, KeyCode::Char('?'), KeyCode::Char('p'), KeyCode::Char('p')] {
        for (width, height) in [(1, 1), (2, 3), (19, 5), (40, 12), (79, 20), (80, 24), (81, 31), (250, 90)] {
            press(&mut screen, KeyCode::PageDown);
            drawn(&mut screen, width, height);
        }
        press(&mut screen, KeyCode::Esc);
        press(&mut screen, key);
    }
    press(&mut screen, KeyCode::Esc);
    for (height, chosen) in [(24, KeyCode::End), (8, KeyCode::Up), (40, KeyCode::PageUp), (5, KeyCode::Home)] {
        press(&mut screen, chosen);
        let shown = text(&drawn(&mut screen, 80, height));
        assert!(shown.lines().any(|line| line.starts_with("> ")), "{shown}");
    }
}

#[test]
fn what_others_wrote_is_letters_and_a_plain_terminal_gets_ascii_without_attributes() {
    for (look, is_plain) in [(ALL, false), (NONE, true)] {
        let mut screen = screen(look);
        let mut seen = String::new();
        for key in [KeyCode::End, KeyCode::Tab, KeyCode::Tab] {
            press(&mut screen, key);
            let buffer = drawn(&mut screen, 200, 50);
            let is_bare = |cell: &ratatui::buffer::Cell| cell.fg == Color::Reset && cell.modifier.is_empty();
            assert_eq!(buffer.content().iter().all(is_bare), is_plain);
            seen += &text(&buffer);
        }
        assert!(seen.contains("?]0;owned??31m?"), "{seen}");
        assert!(!seen.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'));
        assert_eq!(seen.is_ascii(), is_plain);
    }
}

#[test]
fn the_choice_stays_with_its_message_and_a_question_with_the_one_it_was_asked_about() {
    let mut screen = screen(ALL);
    press(&mut screen, KeyCode::Down);
    let id = screen.chosen().unwrap().id.clone();
    press(&mut screen, KeyCode::Char('r'));
    let again = |ids: &[u64]| picture(ids.iter().map(|&n| message("5", n, State::Waiting)).collect(), vec![]);
    screen.show(again(&[70, 71, 1]));
    assert_eq!(
        (screen.chosen().unwrap().id.clone(), id.as_str()),
        (id.clone(), message("5", 1, State::Waiting).id.as_str())
    );
    screen.show(again(&[70, 71]));
    assert_ne!(screen.chosen().unwrap().id, id, "it has gone");
    let order = press(&mut screen, KeyCode::Char('0'));
    assert_eq!(order, Some(Order::Do(Act::Requeue(id, "0".parse().unwrap()))));
    // Whoever has chosen nothing sees the first one, whatever comes.
    press(&mut screen, KeyCode::Home);
    screen.show(again(&[5, 70, 71]));
    assert_eq!(screen.chosen().unwrap().left, 5);
}

#[test]
fn a_filter_takes_all_words_and_orders_are_by_what_they_say() {
    let mut screen = screen(ALL);
    let mut find = |words: &str| {
        press(&mut screen, KeyCode::Esc);
        press(&mut screen, KeyCode::Char('/'));
        words.chars().for_each(|c| drop(press(&mut screen, KeyCode::Char(c))));
        press(&mut screen, KeyCode::Enter);
        screen.count()
    };
    assert_eq!(
        (find("HELD"), find("active lists"), find("priority:5"), find("a@example.org"), find("x y")),
        (1, 10, 40, 41, 0)
    );
    press(&mut screen, KeyCode::Esc);
    screen.sort = Sort::TimeLeft;
    press(&mut screen, KeyCode::Char('s'));
    assert_eq!(screen.chosen().unwrap().left, 0, "by priority, again");
    while screen.sort != Sort::Left {
        press(&mut screen, KeyCode::Char('s'));
    }
    assert_eq!(screen.chosen().unwrap().left, 99);
}
