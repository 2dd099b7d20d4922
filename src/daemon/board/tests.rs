//! What the board answers, and what of it is told once.

use super::*;

#[test]
fn a_message_that_its_last_worker_is_removing_is_not_taken_for_missing() {
    let board = Board::new(Policy::default(), Box::new(|_| None));
    let name: MessageName = "my-list@my.dom.1192613090.972".parse().unwrap();
    board.found(name.clone(), Level::LAST, clock::now());
    let Next::Work(assignment) = board.next(Crew::Any, None) else { panic!("there is one") };
    assert_eq!(board.missing(&name, Level::LAST), Missing::Busy, "somebody works on it");
    assert!(board.done(assignment.key), "that was its last packet");
    let why = "the folder goes before the worker says that it is distributed";
    assert_eq!(board.missing(&name, Level::LAST), Missing::Busy, "{why}");
    board.gone(assignment.key);
    assert_eq!(board.found(name.clone(), Level::LAST, clock::now()), Found::New);
    assert_eq!(board.missing(&name, Level::LAST), Missing::Forgotten);
    assert_eq!(board.missing(&name, Level::LAST), Missing::Unknown);
}

#[test]
fn a_hold_is_told_by_whoever_sees_it_first_and_a_release_is_one() {
    let board = Board::new(Policy::default(), Box::new(|_| None));
    let name: MessageName = "my-list@my.dom.1192613090.972".parse().unwrap();
    board.found(name.clone(), Level::LAST, clock::now());
    let Next::Work(Assignment { key, .. }) = board.next(Crew::Any, None) else { panic!("there is one") };
    assert_eq!([board.left(key, Away::Held), board.left(key, Away::Held)], [true, false]);
    assert_eq!(board.found_held(&name), Found::Known);
    assert!(board.missing_held(&name) && !board.missing_held(&name));
    assert_eq!(board.found(name.clone(), Level::LAST, clock::now()), Found::From(Priority::Held));
    assert_eq!(board.found(name.clone(), Level::LAST, clock::now()), Found::Known);
    assert_eq!(board.found_held(&name), Found::From(Priority::At(Level::LAST)));
    assert!(!board.left(key, Away::Held));
    assert_eq!(board.moved(key, Level::FIRST), Some(Priority::Held));
    assert_eq!([board.left(key, Away::Gone), board.left(key, Away::Gone)], [true, false]);
}

#[test]
fn what_is_held_is_nobodys_work_and_what_left_without_a_word_is_asked_for_once() {
    let board = Board::new(Policy::default(), Box::new(|_| None));
    let [name, later, other]: [MessageName; 3] =
        ["a@my.dom.1192613090.1", "a@my.dom.1192613090.1:at7", "b@my.dom.1192613090.2"].map(|n| n.parse().unwrap());
    let found = |name: &MessageName| board.found(name.clone(), Level::LAST, clock::now());
    assert_eq!([found(&name), board.found_held(&name)], [Found::New, Found::From(Priority::At(Level::LAST))]);
    assert_eq!(board.missing(&name, Level::LAST), Missing::Unknown, "nobody had it in hand");
    let spot = |priority| Some(Spot { priority, name: name.clone() });
    assert_eq!(board.other(&later), spot(Priority::Held));
    board.begin_look();
    assert_eq!(board.found_held(&other), Found::New);
    assert_eq!(board.end_look_at_held(), std::slice::from_ref(&name));
    assert_eq!([found(&name), found(&name)], [Found::New, Found::Known]);
    assert_eq!(board.other(&later), spot(Priority::At(Level::LAST)));
    // It may have come back since: a second worker looks, and finds nothing, which is no news.
    for expected in [vec![(Level::LAST, name.clone())], vec![]] {
        let Next::Work(Assignment { key, .. }) = board.next(Crew::Any, None) else { panic!("there is one") };
        board.lost(key);
        assert_eq!(board.take_strays(), expected);
    }
    // Nor is it when a message was seen again and distributed.
    assert_eq!([found(&name), found(&name)], [Found::New, Found::Known]);
    let Next::Work(Assignment { key, .. }) = board.next(Crew::Any, None) else { panic!("there is one") };
    board.gone(key);
    assert_eq!(board.missing(&name, Level::LAST), Missing::Unknown);
    assert_eq!(board.take_strays(), []);
}

#[test]
fn that_a_message_has_come_is_told_once_and_before_anybody_begins_it() {
    let board = Board::new(Policy::default(), Box::new(|_| None));
    let [first, second]: [MessageName; 2] = ["a@b.1.1", "a@b.1.2"].map(|name| name.parse().unwrap());
    let told = std::cell::RefCell::new(Vec::new());
    let tell = |what: &'static str| told.borrow_mut().push(what);
    for name in [&first, &second] {
        board.found(name.clone(), Level::FIRST, clock::now());
    }
    let next = || match board.next(Crew::Any, None) {
        Next::Work(Assignment { key, .. }) => key,
        _ => panic!("there is one"),
    };
    // The worker is faster.
    board.begins(next(), || tell("the first, by a worker"));
    board.came(&first, || tell("the first, by the scheduler"));
    // The scheduler is.
    board.came(&second, || tell("the second, by the scheduler"));
    board.begins(next(), || tell("the second, by a worker"));
    assert_eq!(told.take(), ["the first, by a worker", "the second, by the scheduler"]);
    // It comes once more.
    board.came(&first, || tell("the first, again"));
    assert_eq!(told.take(), ["the first, again"]);
}
