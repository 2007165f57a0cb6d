//! Lines, history, presence, private lines and bans.

use crate::instance::Instance;

/// The text of a line of a room, without its time.
fn said(line: &str) -> &str {
    line.split_once(": ").unwrap().1
}

#[test]
fn a_line_of_one_is_seen_by_all_though_tables_are_small() {
    let small = ["--max-peers", "4"];
    let mut all = vec![Instance::start("node-0", &small)];
    for n in 1..12 {
        let next = Instance::join(&format!("node-{n}"), &all[0], &small);
        all.push(next);
    }
    all[7].say("to all of you");
    for one in &mut all {
        assert_eq!(said(&one.until("to all of you")), "to all of you");
    }
}

#[test]
fn a_newcomer_sees_the_history_in_its_order() {
    let mut ada = Instance::start("ada", &[]);
    let mut bob = Instance::join("bob", &ada, &[]);
    bob.until("ada~");
    for n in 0..4 {
        ada.say(&format!("from ada {n}"));
        bob.until(&format!("from ada {n}"));
        bob.say(&format!("from bob {n}"));
        ada.until(&format!("from bob {n}"));
    }
    let label = ada.label.clone();
    ada.end_input();
    bob.until("has left");
    drop(ada);
    let mut carol = Instance::join("carol", &bob, &[]);
    let first = carol.until("from ada 0");
    assert!(first.starts_with("[lobby] ") && first.contains(&format!(" {label}: ")), "{first}");
    let time: Vec<char> = first.chars().skip("[lobby] ".len()).take(5).collect();
    assert!(time[2] == ':' && time[0].is_ascii_digit() && time[4].is_ascii_digit(), "{first}");
    carol.until("from bob 3");
    let lines = carol.printed();
    let texts: Vec<&str> =
        lines.iter().filter(|line| line.contains("from ")).map(|line| said(line)).collect();
    let expected: Vec<String> =
        (0..4).flat_map(|n| [format!("from ada {n}"), format!("from bob {n}")]).collect();
    assert_eq!(texts, expected);
    // A person who has left is in the history, and not in the room.
    carol.look_again().until(&format!("* {} is here", bob.label));
    carol.say("/who");
    carol.until("2 people here lately");
    assert!(!carol.printed().iter().any(|line| line.contains("has left")));
}

#[test]
fn rooms_are_apart_and_are_left() {
    let mut ada = Instance::start("ada", &["--room", "rust"]);
    let mut bob = Instance::join("bob", &ada, &[]);
    bob.say("not for ada");
    bob.say("/join rust");
    bob.until("[rust] * ada~");
    bob.say("for ada");
    ada.until(&format!("{}: for ada", bob.label));
    assert!(!ada.printed().iter().any(|line| line.contains("not for ada")));
    bob.say("/rooms");
    bob.until("room lobby: 1 here");
    assert!(bob.until("room rust: 2 here").ends_with("the current one"));
    bob.say("/leave");
    bob.until("you have left rust");
    ada.until(&format!("{} has left", bob.label));
}

#[test]
fn a_private_line_is_for_one_person_who_can_answer() {
    let mut ada = Instance::start("ada", &[]);
    let mut bob = Instance::join("bob", &ada, &[]);
    let mut eve = Instance::join("eve", &ada, &[]);
    for one in [&mut ada, &mut eve] {
        one.until("bob~");
    }
    ada.say("/msg bob a secret");
    assert!(bob.until("a secret").contains(&format!("{} to you: ", ada.label)));
    ada.until(&format!("you to {}: a secret", bob.label));
    bob.say(&format!("/msg {} thanks", ada.label));
    ada.until(&format!("{} to you: thanks", bob.label));
    bob.say("the end");
    eve.until("the end");
    assert!(!eve.printed().iter().any(|line| line.contains("secret") || line.contains("thanks")));
}

#[test]
fn the_lines_of_a_banned_person_are_not_shown() {
    let mut ada = Instance::start("ada", &[]);
    let mut bob = Instance::join("bob", &ada, &[]);
    let mut eve = Instance::join("eve", &bob, &[]);
    eve.until("bob~");
    ada.until("eve~");
    ada.say("/ban eve");
    ada.until(&format!("{} is banned", eve.label));
    ada.say("/ban");
    ada.until(&format!("banned: {}", eve.label));
    eve.say("spam");
    bob.until("spam");
    bob.say("/msg ada it is quiet");
    ada.until("it is quiet");
    assert!(!ada.printed().iter().any(|line| line.contains("spam")));
    // What was said meanwhile may still be on its way, and is shown then.
    ada.say("/unban eve");
    ada.until("no longer banned");
    eve.say("sorry");
    ada.until(&format!("{}: sorry", eve.label));
}

#[test]
fn a_nick_of_two_people_is_warned_of_and_means_no_one() {
    let mut ada = Instance::start("ada", &[]);
    let mut bob = Instance::join("bob", &ada, &[]);
    let mut other = Instance::join("carol", &ada, &[]);
    ada.until("is here");
    ada.until("is here");
    other.say("/nick BOB");
    other.until("you are now BOB~");
    let warning = ada.until("two people use the nick");
    assert!(warning.contains(&bob.label) && warning.contains("BOB~"), "{warning}");
    bob.until("two people use the nick");
    ada.say("/msg bob hello");
    ada.until("! bob is not one person: write ");
    ada.say(&format!("/msg {} hello", bob.label));
    bob.until("to you: hello");
}
