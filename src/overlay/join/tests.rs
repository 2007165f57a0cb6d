use std::{collections::BTreeMap, time::Duration};

use super::*;

/// A network of pure nodes that answer like the handlers.
struct Network {
    nodes: BTreeMap<Address, PeerList>,
    asked: Vec<(Address, TypeCode)>,
    now: Instant,
    each_takes: Duration,
    paused: Vec<Duration>,
    /// The first questions of these codes, up to this number, are answered with these words.
    busy: Vec<(TypeCode, &'static str, usize)>,
}

fn peer(n: usize) -> PeerInfo {
    format!("n{n} 10.0.{}.{} 9000", n / 250, n % 250 + 1).parse().unwrap()
}

impl Network {
    /// `count` nodes with tables of at most `limit`; `known` gives the nodes that each one knows.
    fn new(count: usize, limit: usize, known: impl Fn(usize) -> Vec<usize>) -> Self {
        let now = tokio::time::Instant::now().into_std();
        let node = |n: usize| {
            let mut list = PeerList::new(peer(n).id().clone(), limit);
            for other in known(n) {
                list.add(peer(other), Learned::Manual, now);
            }
            (peer(n).address().clone(), list)
        };
        Self {
            nodes: (0..count).map(node).collect(),
            asked: Vec::new(),
            now,
            each_takes: Duration::from_millis(1),
            paused: Vec::new(),
            busy: Vec::new(),
        }
    }

    fn answer(&mut self, to: &Address, frame: &Frame) -> JoinEvent {
        self.asked.push((to.clone(), frame.code()));
        self.now += self.each_takes;
        let now = self.now;
        let Some(list) = self.nodes.get_mut(to) else {
            return JoinEvent::Failed(JoinFailure::PortClosed);
        };
        let busy = self.busy.iter_mut().find(|(code, _, left)| *code == frame.code() && *left > 0);
        if let Some((_, words, left)) = busy {
            *left -= 1;
            return JoinEvent::Replies(vec![Frame::text("ERRO", *words)]);
        }
        JoinEvent::Replies(match frame.code() {
            TypeCode::NAME => vec![Frame::text("REPL", list.own().to_string())],
            TypeCode::JOIN => {
                let info: PeerInfo = frame.as_str().unwrap().parse().unwrap();
                vec![match list.add(info.clone(), Learned::Joined, now) {
                    Added::Added => Frame::text("REPL", format!("Join: peer added: {}", info.id())),
                    Added::AlreadyKnown => {
                        Frame::text("ERRO", format!("Join: peer already inserted {}", info.id()))
                    }
                    Added::Own => Frame::text("ERRO", "Join: attempt to insert self"),
                    _ => Frame::text("ERRO", "Join: too many peers"),
                }]
            }
            _ => {
                let count = Frame::text("REPL", list.len().to_string());
                [count]
                    .into_iter()
                    .chain(list.iter().map(|entry| Frame::text("REPL", entry.info().to_string())))
                    .collect()
            }
        })
    }

    /// Runs the walk of node 999 to its end.
    fn walk(&mut self, contact: &Address, config: JoinConfig, own: &mut PeerList) -> JoinReport {
        self.run(JoinWalk::new(peer(999), contact.clone(), config, self.now), own)
    }

    fn run(&mut self, mut walk: JoinWalk, own: &mut PeerList) -> JoinReport {
        let mut event = JoinEvent::Start;
        loop {
            event = match walk.step(event, own, self.now) {
                JoinStep::Ask { to, frame, .. } => {
                    assert_ne!(to, *peer(999).address(), "a node never dials itself");
                    self.answer(&to, &frame)
                }
                JoinStep::Add { info, learned } => {
                    JoinEvent::Added(own.add(info, learned, self.now))
                }
                JoinStep::Wait(pause) => {
                    self.paused.push(pause);
                    self.now += pause;
                    JoinEvent::Waited
                }
                JoinStep::Done(report) => return report,
            };
        }
    }
}

fn own(limit: usize) -> PeerList {
    PeerList::new(peer(999).id().clone(), limit)
}

fn ids(list: &PeerList) -> Vec<String> {
    list.iter().map(|entry| entry.info().id().to_string()).collect()
}

#[test]
fn the_walk_asks_name_join_and_list_and_goes_depth_first() {
    let mut network = Network::new(4, 0, |n| [vec![1, 3], vec![2], vec![], vec![]][n].clone());
    let mut own = own(0);
    let report = network.walk(peer(0).address(), JoinConfig::new().hops(3), &mut own);
    assert_eq!(report.end(), JoinEnd::Complete);
    assert_eq!(ids(&own), ["n0", "n1", "n2", "n3"]);
    let learned: Vec<_> = own.iter().map(|entry| entry.learned().clone()).collect();
    let by = |n: usize| Learned::Listed { by: peer(n).id().clone() };
    assert_eq!(learned, [Learned::Contact, by(0), by(1), by(0)]);
    let of_contact: Vec<_> = network.asked[..3].iter().map(|(_, code)| *code).collect();
    assert_eq!(of_contact, [TypeCode::NAME, TypeCode::JOIN, TypeCode::LIST]);
    assert!(network.nodes.values().all(|list| list.contains(peer(999).id())));
}

#[test]
fn the_walk_goes_no_deeper_than_its_hops() {
    for (hops, expected) in [(1, 1), (2, 2), (3, 3)] {
        let mut network = Network::new(9, 0, |n| vec![n + 1]);
        let mut own = own(0);
        network.walk(peer(0).address(), JoinConfig::new().hops(hops), &mut own);
        assert_eq!(own.len(), expected);
    }
}

#[test]
fn the_walk_ends_when_the_own_table_is_full_or_reaches_the_target() {
    let mut network = Network::new(9, 0, |n| vec![n + 1]);
    let mut small = own(2);
    assert_eq!(
        network.walk(peer(0).address(), JoinConfig::new().hops(9), &mut small).end(),
        JoinEnd::TableFull
    );
    assert_eq!(small.len(), 2);
    let mut network = Network::new(9, 0, |n| vec![n + 1]);
    let mut large = own(0);
    let config = JoinConfig::new().hops(9).target(4);
    assert_eq!(network.walk(peer(0).address(), config, &mut large).end(), JoinEnd::TargetReached);
    assert_eq!(large.len(), 4);
}

#[test]
fn a_newcomer_whose_contact_is_full_still_joins() {
    // 0 is full with 1; 1 has room for one more.
    let mut network = Network::new(2, 1, |n| if n == 0 { vec![1] } else { vec![] });
    let mut own = own(0);
    let report = network.walk(peer(0).address(), JoinConfig::new(), &mut own);
    assert_eq!(ids(&own), ["n1"]);
    let full = JoinFailure::NoPlace { words: "Join: too many peers".to_owned() };
    assert_eq!(report.refused(), [(peer(0).address().clone(), full)]);
    assert_eq!(report.listed_by(), [peer(1)]);
}

#[test]
fn a_node_that_returns_is_added_by_peers_that_still_know_it() {
    let mut network = Network::new(1, 0, |_| vec![999]);
    let mut own = own(0);
    assert_eq!(network.walk(peer(0).address(), JoinConfig::new(), &mut own).added(), [peer(0)]);
}

#[test]
fn rings_and_cliques_are_walked_once() {
    let mut network = Network::new(30, 0, |n| (0..30).filter(|other| *other != n).collect());
    let mut own = own(0);
    let report = network.walk(
        peer(0).address(),
        JoinConfig::new().hops(99).fan_out(99).max_asks(1_000),
        &mut own,
    );
    assert_eq!((own.len(), report.asked()), (30, 90));
}

#[test]
fn dead_nodes_are_reported_and_skipped() {
    let mut network = Network::new(2, 0, |n| if n == 0 { vec![7, 1, 8] } else { vec![] });
    let mut own = own(0);
    let report = network.walk(peer(0).address(), JoinConfig::new(), &mut own);
    assert_eq!(ids(&own), ["n0", "n1"]);
    let dead = |n: usize| (peer(n).address().clone(), JoinFailure::PortClosed);
    assert_eq!(report.failed(), [dead(7), dead(8)]);
}

#[test]
fn a_contact_that_does_not_answer_ends_the_walk_with_its_own_result() {
    let report =
        Network::new(0, 0, |_| vec![]).walk(peer(0).address(), JoinConfig::new(), &mut own(0));
    assert_eq!((report.end(), report.asked()), (JoinEnd::ContactFailed, 1));
}

#[test]
fn the_own_address_and_the_own_id_are_never_joined() {
    let report =
        Network::new(0, 0, |_| vec![]).walk(peer(999).address(), JoinConfig::new(), &mut own(0));
    assert_eq!((report.end(), report.asked()), (JoinEnd::ContactIsSelf, 0));
    // Under another address of its own, the node recognises itself by its name.
    let mut network = Network::new(0, 0, |_| vec![]);
    let alias: Address = "127.0.0.1:9000".parse().unwrap();
    network.nodes.insert(alias.clone(), own(0));
    assert_eq!(network.walk(&alias, JoinConfig::new(), &mut own(0)).end(), JoinEnd::ContactIsSelf);
}

#[test]
fn a_list_of_ten_thousand_costs_no_more_than_the_bounds() {
    let mut network = Network::new(1, 0, |_| (1..10_000).filter(|n| *n != 999).collect());
    let report = network.walk(peer(0).address(), JoinConfig::new(), &mut own(0));
    assert_eq!(report.failed().len(), 8, "the fan-out");
    let mut network = Network::new(1, 0, |_| (1..10_000).filter(|n| *n != 999).collect());
    let config = JoinConfig::new().fan_out(usize::MAX).max_asks(50);
    let report = network.walk(peer(0).address(), config, &mut own(0));
    assert_eq!((report.end(), report.asked()), (JoinEnd::AskLimit, 50));
}

#[test]
fn a_slow_network_ends_the_walk_in_time() {
    let mut network = Network::new(500, 0, |n| vec![n + 1]);
    network.each_takes = Duration::from_secs(4);
    let config = JoinConfig::new().hops(500).max_asks(1_000);
    let report = network.walk(peer(0).address(), config, &mut own(0));
    assert_eq!((report.end(), report.asked()), (JoinEnd::TimeUp, 8));
}

#[test]
fn malformed_answers_are_failures_and_nothing_more() {
    let name = |replies| {
        let now = tokio::time::Instant::now().into_std();
        let mut walk = JoinWalk::new(peer(999), peer(0).address().clone(), JoinConfig::new(), now);
        walk.step(JoinEvent::Start, &own(0), now);
        walk.step(JoinEvent::Replies(replies), &own(0), now)
    };
    let malformed = JoinFailure::Malformed { code: TypeCode::NAME };
    for (replies, why) in [
        (vec![], JoinFailure::NoReply),
        (vec![Frame::text("REPL", "two words")], malformed.clone()),
        (vec![Frame::new("REPL", vec![0xff])], malformed),
        (vec![Frame::text("ERRO", "n0")], JoinFailure::Refused { words: "n0".to_owned() }),
        (vec![Frame::text("HTTP", "n0")], JoinFailure::NotThisProtocol),
        (
            vec![Frame::text("ERRO", "Unknown message type")],
            JoinFailure::NoHandler { code: TypeCode::NAME },
        ),
    ] {
        let JoinStep::Done(report) = name(replies.clone()) else { panic!("{replies:?}") };
        assert_eq!((report.end(), &report.failed()[0].1), (JoinEnd::ContactFailed, &why));
    }
    assert!(matches!(name(vec![Frame::text("REPL", " n0\n")]), JoinStep::Ask { .. }));
}

#[test]
fn each_question_names_the_expected_id_if_one_is_known() {
    let me: PeerInfo = "me 10.0.0.1 1".parse().unwrap();
    let contact: Address = "10.0.0.2:1".parse().unwrap();
    let list = PeerList::new(me.id().clone(), 0);
    let now = tokio::time::Instant::now().into_std();
    let mut walk = JoinWalk::new(me, contact, JoinConfig::default(), now);
    let replies = |texts: &[&str]| {
        JoinEvent::Replies(texts.iter().map(|text| Frame::text("REPL", *text)).collect())
    };
    let mut asked = |event, list: &PeerList| match walk.step(event, list, now) {
        JoinStep::Ask { whom, .. } => Some(whom.map(|id| id.to_string())),
        _ => None,
    };
    assert_eq!(asked(JoinEvent::Start, &list), Some(None));
    assert_eq!(asked(replies(&["a"]), &list), Some(Some("a".to_owned())), "JOIN");
    assert_eq!(asked(replies(&["Join: peer added: me"]), &list), None, "the peer is added");
    assert_eq!(asked(JoinEvent::Added(Added::Added), &list), Some(Some("a".to_owned())), "LIST");
    let listed = replies(&["1", "b 10.0.0.3 1"]);
    assert_eq!(asked(listed, &list), Some(Some("b".to_owned())), "NAME of a listed one");
}

#[test]
fn a_busy_contact_is_asked_again_with_growing_pauses() {
    for code in [TypeCode::NAME, TypeCode::JOIN] {
        let mut network = Network::new(1, 0, |_| vec![]);
        network.busy = vec![(code, "Busy", 3)];
        let mut own = own(0);
        let report = network.walk(peer(0).address(), JoinConfig::new(), &mut own);
        assert_eq!((report.added(), report.end()), (&[peer(0)][..], JoinEnd::Complete));
        assert_eq!(
            (report.refused(), report.failed()),
            (&[][..], &[][..]),
            "the last answer counts"
        );
        assert_eq!(network.paused.len(), 3);
        for (pause, least) in network.paused.iter().zip([250, 500, 1_000]) {
            let least = Duration::from_millis(least);
            assert!((least..2 * least).contains(pause), "{pause:?}");
        }
    }
}

#[test]
fn a_contact_that_stays_busy_ends_the_walk_in_time_and_is_reported() {
    let mut network = Network::new(1, 0, |_| vec![]);
    network.busy = vec![(TypeCode::NAME, "Busy", usize::MAX)];
    let begun = network.now;
    let report = network.walk(peer(0).address(), JoinConfig::new(), &mut own(0));
    assert_eq!(report.why_not(peer(0).address()), Some(&JoinFailure::Busy));
    assert!(report.listed_by().is_empty() && report.end() == JoinEnd::TimeUp);
    assert!(network.now - begun <= Duration::from_secs(30) && report.asked() < 20);
}

#[test]
fn a_full_table_is_not_waited_for_and_the_first_node_that_admits_the_newcomer_ends_the_pauses() {
    let mut network = Network::new(1, 0, |_| vec![]);
    network.busy = vec![(TypeCode::JOIN, "Join: too many peers", usize::MAX)];
    let report = network.walk(peer(0).address(), JoinConfig::new(), &mut own(0));
    assert_eq!((report.end(), network.paused.len()), (JoinEnd::Complete, 0));
    assert!(report.listed_by().is_empty());
    let mut network = Network::new(2, 0, |n| if n == 0 { vec![1] } else { vec![] });
    network.busy = vec![(TypeCode::JOIN, "Busy", 1)];
    let report = network.walk(peer(0).address(), JoinConfig::new(), &mut own(0));
    assert_eq!((report.listed_by(), network.paused.len()), (&[peer(1)][..], 0));
}

#[test]
fn a_peer_that_is_in_the_own_table_still_receives_an_introduction() {
    let mut network = Network::new(1, 0, |_| vec![]);
    let mut own = own(0);
    own.add(peer(0), Learned::Manual, network.now);
    let report = network.walk(peer(0).address(), JoinConfig::new(), &mut own);
    assert_eq!((report.added(), report.listed_by()), (&[][..], &[peer(0)][..]));
}

#[test]
fn many_newcomers_with_one_contact_follow_different_parts_of_its_list() {
    let followed = |turn| {
        let mut network =
            Network::new(200, 0, |n| if n == 0 { (1..200).collect() } else { vec![] });
        let now = network.now;
        let walk = JoinWalk::new(peer(999), peer(0).address().clone(), JoinConfig::new(), now);
        let mut own = own(0);
        network.run(walk.turn(turn), &mut own);
        ids(&own)
    };
    assert_eq!(followed(0).len(), 9);
    assert_eq!(followed(0), followed(0));
    assert_ne!(followed(0), followed(1));
}

#[test]
fn a_node_with_another_id_than_listed_is_not_joined() {
    let mut network = Network::new(3, 0, |n| if n == 0 { vec![1] } else { vec![] });
    let moved = network.nodes.remove(peer(2).address()).unwrap();
    network.nodes.insert(peer(1).address().clone(), moved);
    let mut own = own(0);
    let report = network.walk(peer(0).address(), JoinConfig::new(), &mut own);
    let (expected, found) = (peer(1).id().clone(), peer(2).id().clone());
    let why = JoinFailure::AnotherId { expected, found };
    assert_eq!(report.why_not(peer(1).address()), Some(&why));
    assert_eq!(ids(&own), ["n0"]);
}
