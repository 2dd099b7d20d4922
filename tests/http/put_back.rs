//! What a cancel left in `bad/` is put back, by who has the token, if it can be sent.

use serde_json::{Value, json};

use crate::served::{BIG, HELD, Served, two_messages};
use crate::support::spool::members;

/// Cancels it; gives what is left of it is called.
fn cancelled(served: &Served, id: &str) -> String {
    let (status, answer) = served.act(&format!("/api/v1/messages/{id}/cancel"), json!({"reason": "a mistake"}));
    assert_eq!((status, &answer["rest"]), (200, &json!("bad/")), "{answer}");
    answer["entry"].as_str().unwrap().to_owned()
}

fn put_back(served: &Served, entry: &str, body: Value) -> (u16, Value) {
    served.act(&format!("/api/v1/bad/{entry}/retry"), body)
}

#[test]
fn what_a_cancel_left_is_put_back_to_where_it_was_or_elsewhere() {
    let served = Served::idle(two_messages());
    let entry = cancelled(&served, BIG);
    assert_eq!(served.spool.bad(), [entry.as_str()]);
    let (status, ..) = served.ask("POST", &format!("/api/v1/bad/{entry}/retry"), &[], "");
    assert_eq!((status, served.spool.waiting()), (401, vec![format!("z/{HELD}")]));
    for wrong in [json!({"priority": "10"}), json!({"priority": null}), json!({"to": "5"})] {
        assert_eq!(put_back(&served, &entry, wrong).0, 400);
    }
    assert_eq!(put_back(&served, &entry, json!({})), (200, json!({"result": "put-back", "to": "5"})));
    assert_eq!(served.spool.waiting(), [format!("5/{BIG}"), format!("z/{HELD}")]);
    assert_eq!(put_back(&served, &entry, json!({})).0, 404, "it is there no more");

    let entry = cancelled(&served, HELD);
    assert_eq!(put_back(&served, &entry, json!({"priority": "8"})), (200, json!({"result": "put-back", "to": "8"})));
    assert_eq!((served.spool.waiting(), served.spool.bad().len()), (vec![format!("5/{BIG}"), format!("8/{HELD}")], 0));
}

#[test]
fn what_keeps_it_from_being_put_back_is_said_and_it_stays() {
    let served = Served::idle(two_messages());
    let entry = cancelled(&served, BIG);
    // Another one with its id, which is cancelled too.
    served.spool.put_packets("3", BIG, &[members("other", 2)]);
    let (status, problem) = put_back(&served, &entry, json!({}));
    assert_eq!(status, 409);
    assert!(problem["detail"].as_str().unwrap().contains("its id is in use at 3"), "{problem}");
    let second = cancelled(&served, BIG);
    assert_eq!(served.spool.bad(), [entry.clone(), second.clone()]);
    assert_eq!(put_back(&served, &second, json!({})).1["to"], "3");
    assert_eq!(cancelled(&served, BIG), second);

    let status = served.spool.path().join("bad").join(&entry).join("recipients.mail.0001.status");
    std::fs::write(status, "nobody@example.org\n").unwrap();
    let (status, problem) = put_back(&served, &entry, json!({}));
    assert_eq!(status, 409);
    assert!(problem["detail"].as_str().unwrap().contains("nobody@example.org"), "{problem}");
    assert_eq!((served.spool.waiting(), served.spool.bad()), (vec![format!("z/{HELD}")], vec![entry, second]));
}

#[test]
fn only_messages_in_bad_are_put_back_whatever_they_are_called() {
    let served = Served::idle(two_messages());
    let entry = cancelled(&served, BIG);
    let bad = served.spool.path().join("bad");
    let link = "link@http.example.org.1700000000.3";
    std::os::unix::fs::symlink(bad.join(&entry), bad.join(link)).unwrap();
    let file = "file@http.example.org.1700000000.4";
    std::fs::write(bad.join(file), "no folder").unwrap();
    std::fs::create_dir_all(bad.join("stray")).unwrap();
    let before = (served.spool.waiting(), served.spool.bad());
    let long = "9".repeat(5000);
    let into = format!("..%2fdistribute%2fz%2f{HELD}");
    let inside = format!("{entry}%2f.");
    let names = [
        "..",
        ".",
        "%2e%2e",
        "%2e%2e%2fdistribute",
        &into,
        &inside,
        &format!("{entry}/"),
        &format!("{entry}%00"),
        &format!("{entry}%0a"),
        &format!("%1b[31m{entry}"),
        &format!("{entry}~"),
        &format!("{entry}~2"),
        &format!("{entry}~-1"),
        "%ff",
        "%00",
        "~2",
        "",
        "stray",
        "reason",
        link,
        file,
        HELD,
        &long,
    ];
    for name in names {
        let (status, problem) = put_back(&served, name, json!({}));
        assert_eq!((status, &problem["status"]), (404, &json!(404)), "{name:?}: {problem}");
        assert!(!problem.to_string().contains('\u{1b}'), "{problem}");
    }
    assert_eq!((served.spool.waiting(), served.spool.bad()), before);
    assert_eq!(put_back(&served, &entry, json!({})).0, 200);
}
