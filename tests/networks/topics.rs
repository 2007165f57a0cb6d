//! Topics: every subscriber gets each message once, and nodes that do not take part get none.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use actix::prelude::*;
#[cfg(feature = "kademlia")]
use actix_peer::peer::KademliaConfig;
use actix_peer::{
    Builder, Peer,
    frame::{TypeCode, Wire},
    peer::GossipConfig,
    sim::{SimError, SimNetwork},
    topics::{
        NetworkBroker, Subscription, TOPIC_QUEUE, Topic, TopicConfig, TopicError, TopicEvent,
    },
};
use serde::{Deserialize, Serialize};

use crate::{common::SECOND, gossip};

/// A message.
#[derive(Debug, Serialize, Deserialize)]
struct Line(u32);

impl Wire for Line {
    const CODE: TypeCode = TypeCode::new(b"LINE");
}

/// What a subscriber got: the author, and a message or the number of those that are missing.
type Read = Rc<RefCell<Vec<(String, Result<u32, u64>)>>>;

struct Reader {
    read: Read,
    /// How long it takes for each message.
    pause: Duration,
}

impl Actor for Reader {
    type Context = Context<Self>;
}

impl Handler<TopicEvent<Line>> for Reader {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, event: TopicEvent<Line>, _: &mut Self::Context) -> Self::Result {
        let (author, what) = match event {
            TopicEvent::Message(said) => (said.author, Ok(said.message.0)),
            TopicEvent::Missed { author, messages, .. } => (author, Err(messages)),
            _ => panic!("an event that this test does not know"),
        };
        self.read.borrow_mut().push((author.id().to_string(), what));
        let pause = self.pause;
        Box::pin(async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        })
    }
}

/// A node's part in the topic `news`.
struct Member {
    topic: Topic<Line>,
    read: Read,
    subscription: Option<Subscription>,
}

fn member(peer: &Peer, config: TopicConfig) -> Member {
    let topic = peer.topic_with("news", config).unwrap();
    let read = Read::default();
    let reader = Reader { read: Rc::clone(&read), pause: Duration::ZERO }.start();
    let subscription = Some(topic.subscribe(reader.recipient()).unwrap());
    Member { topic, read, subscription }
}

fn members(peers: &[Peer]) -> Vec<Member> {
    peers.iter().map(|peer| member(peer, TopicConfig::default())).collect()
}

impl Member {
    /// The numbers of each author, in the order in which they came.
    fn heard(&self) -> BTreeMap<String, Vec<u32>> {
        let mut heard = BTreeMap::<_, Vec<_>>::new();
        for (author, what) in &*self.read.borrow() {
            heard.entry(author.clone()).or_default().extend(what.ok());
        }
        heard
    }
}

/// A network that has had time to form.
async fn network(
    net: &SimNetwork,
    nodes: usize,
    options: impl Fn(Builder) -> Builder + Clone + 'static,
) -> Result<Vec<Peer>, SimError> {
    let peers = gossip::network(net, nodes, options).await?;
    net.advance(SECOND * 3).await;
    Ok(peers)
}

/// Waits until each member has a neighbour in the topic.
async fn formed(members: &[Member], limit: Duration) {
    for member in members {
        let joined = tokio::time::timeout(limit, member.topic.joined()).await;
        joined.expect("a neighbour in the topic").unwrap();
    }
}

/// What all subscribers hear if the members with these numbers publish `0..count`.
fn expected(authors: &[usize], count: u32) -> BTreeMap<String, Vec<u32>> {
    authors.iter().map(|n| (format!("n{n}"), (0..count).collect())).collect()
}

/// The number of payloads of broadcasts and topics that arrived at the nodes, from the history.
fn payloads(net: &SimNetwork, at: impl Fn(&str) -> bool) -> usize {
    net.history().iter().filter(|line| line.contains("@BCP") && at(line)).count()
}

#[test]
fn every_subscriber_gets_each_message_once_and_in_the_order_of_its_author() {
    for nodes in [2, 12, 60] {
        let run = SimNetwork::new(1).run(async move |net| {
            let peers = network(&net, nodes, |builder| builder.max_peers(4)).await?;
            let members = members(&peers);
            formed(&members, SECOND * 5).await;
            net.advance(SECOND * 5).await;
            let authors = [0, nodes / 2];
            for number in 0..20 {
                for author in authors {
                    members[author].topic.publish(&Line(number)).unwrap();
                }
                net.advance(SECOND / 10).await;
            }
            net.advance(SECOND * 3).await;
            for (n, member) in members.iter().enumerate() {
                assert_eq!(member.heard(), expected(&authors, 20), "{n} of {nodes}");
            }
            Ok::<_, SimError>(())
        });
        run.unwrap();
    }
}

#[test]
fn the_few_subscribers_of_a_large_network_find_each_other_and_no_other_node_gets_their_messages() {
    let run = SimNetwork::new(3).run(async |net| {
        let peers = network(&net, 100, |builder| builder).await?;
        let ten: Vec<_> = peers.iter().skip(5).step_by(10).cloned().collect();
        let members = members(&ten);
        formed(&members, SECOND * 10).await;
        net.advance(SECOND * 5).await;
        let status = |peers: &[Peer]| -> Vec<usize> {
            peers.iter().map(|peer| peer.topics().len()).collect()
        };
        assert_eq!(status(&ten), [1; 10]);
        let before = payloads(&net, |_| true);
        for number in 0..10 {
            members[3].topic.publish(&Line(number)).unwrap();
            net.advance(SECOND / 10).await;
        }
        net.advance(SECOND * 3).await;
        for member in &members {
            assert_eq!(member.heard(), BTreeMap::from([("n35".to_owned(), (0..10).collect())]));
        }
        // Each message goes to nine nodes, over links of a tree with few duplicates.
        let sent = payloads(&net, |_| true) - before;
        assert!((90..200).contains(&sent), "{sent} payloads");
        Ok::<_, SimError>(())
    });
    run.unwrap();
}

#[test]
fn a_topic_forms_although_the_first_node_that_took_part_is_gone() {
    let run = SimNetwork::new(4).run(async |net| {
        let peers = network(&net, 40, |builder| builder).await?;
        let first = member(&peers[7], TopicConfig::default());
        net.advance(SECOND * 2).await;
        let late = members(&peers[20..23]);
        net.crash("n7").await?;
        drop(first);
        formed(&late, SECOND * 20).await;
        net.advance(SECOND * 5).await;
        late[0].topic.publish(&Line(1)).unwrap();
        net.advance(SECOND).await;
        for member in &late {
            assert_eq!(member.heard(), BTreeMap::from([("n20".to_owned(), vec![1])]));
        }
        Ok::<_, SimError>(())
    });
    run.unwrap();
}

#[test]
fn a_newcomer_gets_the_history_that_others_keep_and_a_member_gets_nothing_again() {
    let run = SimNetwork::new(5).run(async |net| {
        let peers = network(&net, 12, |builder| builder).await?;
        let keeps = TopicConfig::default().history(5);
        let mut members: Vec<_> = peers[..6].iter().map(|of| member(of, keeps.clone())).collect();
        formed(&members, SECOND * 5).await;
        // A node without a history takes part as well.
        members.push(member(&peers[6], TopicConfig::default()));
        net.advance(SECOND * 2).await;
        for number in 0..8 {
            members[0].topic.publish(&Line(number)).unwrap();
            net.advance(SECOND).await;
        }
        // Long enough for all other traces of the messages to be forgotten.
        net.advance(SECOND * 1_000).await;
        members.push(member(&peers[7], keeps.clone()));
        members.push(member(&peers[8], TopicConfig::default()));
        // Another actor of a node that takes part.
        let second = member(&peers[1], keeps.clone());
        net.advance(SECOND * 30).await;
        let told = |from| BTreeMap::from([("n0".to_owned(), (from..8).collect::<Vec<_>>())]);
        for (n, member) in members.iter().enumerate() {
            assert_eq!(member.heard(), told(if n < 7 { 0 } else { 3 }), "{n}");
        }
        assert_eq!(second.heard(), told(3));
        Ok::<_, SimError>(())
    });
    run.unwrap();
}

#[test]
fn a_topic_is_left_with_its_last_handle_and_what_was_published_still_reaches_the_others() {
    let run = SimNetwork::new(6).run(async |net| {
        let peers = network(&net, 12, |builder| builder).await?;
        let mut members = members(&peers[..4]);
        formed(&members, SECOND * 5).await;
        // Its subscription keeps a node in the topic.
        let Member { topic, subscription, .. } = members.pop().unwrap();
        drop(topic);
        net.advance(SECOND * 2).await;
        assert_eq!(peers[3].topics().len(), 1);
        drop(subscription);
        net.advance(SECOND * 2).await;
        assert_eq!(peers[3].topics(), []);
        for member in &members {
            assert!(!member.topic.neighbors().contains(peers[3].info()));
        }
        // A node that takes part only for one message.
        peers[9].topic("news").unwrap().publish(&Line(7)).unwrap();
        net.advance(SECOND * 5).await;
        assert_eq!(peers[9].topics().len(), 1);
        for member in &members {
            assert_eq!(member.heard(), BTreeMap::from([("n9".to_owned(), vec![7])]));
        }
        net.advance(SECOND * 30).await;
        assert_eq!(peers[9].topics(), []);
        // A subscription that was dropped gets nothing more.
        members[0].subscription = None;
        members[1].topic.publish(&Line(8)).unwrap();
        net.advance(SECOND * 2).await;
        assert_eq!(members[0].read.borrow().len(), 1);
        assert_eq!(members[2].read.borrow().len(), 2);
        Ok::<_, SimError>(())
    });
    run.unwrap();
}

#[test]
fn a_slow_subscriber_is_told_what_it_missed_and_holds_up_no_other() {
    let run = SimNetwork::new(7).run(async |net| {
        let peers = network(&net, 3, |builder| builder).await?;
        let members = members(&peers);
        formed(&members, SECOND * 5).await;
        let slow = Read::default();
        let pause = Duration::from_millis(5);
        let reader = Reader { read: Rc::clone(&slow), pause }.start();
        let _subscribed = members[1].topic.subscribe(reader.recipient()).unwrap();
        let all = TOPIC_QUEUE as u32 + 500;
        for number in 0..all {
            members[0].topic.publish(&Line(number)).unwrap();
            if number % 100 == 0 {
                net.advance(SECOND / 100).await;
            }
        }
        net.advance(SECOND * 3).await;
        for member in &members {
            assert_eq!(member.heard(), expected(&[0], all));
        }
        net.advance(SECOND * 60).await;
        let (mut next, mut missed) = (0, 0);
        for (_, what) in &*slow.borrow() {
            match what {
                Ok(number) => {
                    assert_eq!(*number, next, "in order, with the gaps told before");
                    next += 1;
                }
                Err(messages) => {
                    missed += messages;
                    next += *messages as u32;
                }
            }
        }
        assert!(next == all && missed > 0, "{next} {missed}");
        Ok::<_, SimError>(())
    });
    run.unwrap();
}

#[test]
fn a_burst_that_fits_into_no_queue_arrives_whole() {
    for (count, len) in [(3_000, 10), (130, 60_000)] {
        let run = SimNetwork::new(11).run(async move |net| {
            let peers = network(&net, 2, |builder| builder).await?;
            let parts: Vec<Topic<Long>> =
                peers.iter().map(|peer| peer.topic("files").unwrap()).collect();
            let read = Rc::new(RefCell::new(Vec::new()));
            let reader = Lengths(Rc::clone(&read)).start();
            let _subscribed = parts[1].subscribe(reader.recipient()).unwrap();
            parts[0].joined().await.unwrap();
            net.advance(SECOND).await;
            for n in 0..count {
                parts[0].publish(&Long(vec![n as u8; len])).unwrap();
            }
            net.advance(SECOND * 30).await;
            let expected: Vec<_> = (0..count).map(|n| Some((n as u8, len))).collect();
            let read = read.borrow();
            let of_one = |n: &Length| n.map(|(n, _)| n);
            assert!(*read == expected, "{:?}", read.iter().map(of_one).collect::<Vec<_>>());
            assert_eq!(peers[1].topics()[0].neighbors.len(), 1);
            Ok::<_, SimError>(())
        });
        run.unwrap();
    }
}

/// Notes the first byte and the length of each message, and `None` for those that are missing.
struct Lengths(Rc<RefCell<Vec<Length>>>);

type Length = Option<(u8, usize)>;

impl Actor for Lengths {
    type Context = Context<Self>;
}

impl Handler<TopicEvent<Long>> for Lengths {
    type Result = ();

    fn handle(&mut self, event: TopicEvent<Long>, _: &mut Self::Context) {
        self.0.borrow_mut().push(match event {
            TopicEvent::Message(said) => Some((said.message.0[0], said.message.0.len())),
            _ => None,
        });
    }
}

#[test]
fn a_subscriber_gets_the_whole_history_however_long_it_is() {
    let run = SimNetwork::new(12).run(async |net| {
        let ada = net.start("ada").await?;
        let keeps = TopicConfig::default().history(4_096);
        let first = member(&ada, keeps.clone());
        for number in 0..4_096 {
            first.topic.publish(&Line(number)).unwrap();
        }
        let late = member(&ada, keeps);
        first.topic.publish(&Line(4_096)).unwrap();
        net.advance(SECOND).await;
        let all = BTreeMap::from([("ada".to_owned(), (0..=4_096).collect())]);
        assert!(late.heard() == all && late.read.borrow().len() == 4_097);
        Ok::<_, SimError>(())
    });
    run.unwrap();
}

#[test]
fn a_node_with_subscriptions_stops_at_once_and_frees_their_actors() {
    let run = SimNetwork::new(13).run(async |net| {
        let peers = network(&net, 2, |builder| builder).await?;
        let members = members(&peers);
        formed(&members, SECOND * 5).await;
        let fan = Fan(peers[1].clone(), Read::default()).start();
        net.advance(SECOND).await;
        members[0].topic.publish(&Line(1)).unwrap();
        net.advance(SECOND).await;
        let report = peers[1].stop().await;
        assert!(report.is_clean() && report.took < SECOND, "{report:?}");
        let weak = fan.downgrade();
        drop(fan);
        net.advance(SECOND).await;
        assert!(weak.upgrade().is_none(), "nothing holds the actor any more");
        // The other node was told.
        assert_eq!(members[0].topic.neighbors(), []);
        Ok::<_, SimError>(())
    });
    run.unwrap();
}

#[test]
fn a_node_that_leaves_the_network_and_joins_again_is_in_its_topics_and_hears_nothing_twice() {
    let run = SimNetwork::new(14).run(async |net| {
        let peers = network(&net, 6, |builder| builder).await?;
        let members = members(&peers);
        formed(&members, SECOND * 5).await;
        for number in 0..9 {
            members[1].topic.publish(&Line(number)).unwrap();
            members[2].topic.publish(&Line(number)).unwrap();
            if number == 3 {
                peers[2].leave().await.unwrap();
                net.advance(SECOND * 5).await;
                assert_eq!(members[2].topic.neighbors(), []);
                peers[2].join("n0:9000").await.unwrap();
            }
            net.advance(SECOND).await;
        }
        net.advance(SECOND * 5).await;
        for (n, member) in members.iter().enumerate() {
            assert_eq!(member.heard(), expected(&[1, 2], 9), "{n}");
        }
        Ok::<_, SimError>(())
    });
    run.unwrap();
}

#[test]
fn a_topic_that_is_left_only_for_its_last_messages_makes_room_and_takes_other_options() {
    let run = SimNetwork::new(15).run(async |net| {
        let two = GossipConfig::default().topics(2);
        let ada = net.start_with("ada", move |b| Ok(b.gossip(two.clone()))).await?;
        for name in ["a", "b"] {
            assert_eq!(ada.topic(name).unwrap().publish(&Line(1)).unwrap(), 0);
        }
        assert_eq!(ada.topics().len(), 2);
        let c = ada.topic::<Line>("c").unwrap();
        net.advance(SECOND).await;
        assert_eq!(ada.topics().len(), 2, "the oldest has ended");
        let b = ada.topic_with::<Line>("b", TopicConfig::default().history(7)).unwrap();
        assert_eq!(b.publish(&Line(2)).unwrap(), 1);
        drop((b, c));
        net.advance(SECOND * 31).await;
        assert_eq!(ada.topics(), []);
        // The numbers go on.
        assert_eq!(ada.topic("a").unwrap().publish(&Line(2)).unwrap(), 1);
        Ok::<_, SimError>(())
    });
    run.unwrap();
}

#[test]
fn the_two_halves_of_a_network_are_one_topic_again_after_a_partition() {
    for seed in 0..3 {
        let run = SimNetwork::new(seed).run(async |net| {
            let peers = network(&net, 20, |builder| builder).await?;
            let members = members(&peers);
            formed(&members, SECOND * 5).await;
            let names = net.names();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            net.partition(&names[..10], &names[10..])?;
            net.advance(SECOND * 60).await;
            net.heal();
            net.advance(SECOND * 30).await;
            members[2].topic.publish(&Line(1)).unwrap();
            net.advance(SECOND * 2).await;
            for (n, member) in members.iter().enumerate() {
                let heard = member.heard().remove("n2").unwrap_or_default();
                assert_eq!(heard, [1], "{n}");
            }
            Ok::<_, SimError>(())
        });
        run.unwrap();
    }
}

#[test]
fn two_groups_that_formed_apart_from_each_other_become_one_topic() {
    let run = SimNetwork::new(8).run(async |net| {
        net.wires().latency(Duration::from_millis(1)..Duration::from_millis(30));
        let recipe = |n: usize, builder: Builder| {
            let contact = if n < 40 { "n0:9000" } else { "n40:9000" };
            Ok(if n.is_multiple_of(40) {
                builder.well_known()
            } else {
                builder.contacts([contact])
            })
        };
        let peers = net.start_many(80, recipe).await?;
        // Two in each network, so that with this seed no two are neighbours in the network.
        let part: Vec<_> = peers.iter().skip(2).step_by(20).cloned().collect();
        let members = members(&part);
        formed(&members, SECOND * 20).await;
        // No node keeps their first questions any more.
        net.advance(SECOND * 60).await;
        // The networks become one.
        peers[0].join("n40:9000").await.unwrap();
        net.advance(SECOND * 240).await;
        members[0].topic.publish(&Line(1)).unwrap();
        net.advance(SECOND * 2).await;
        for (n, member) in members.iter().enumerate() {
            assert_eq!(member.heard(), BTreeMap::from([("n2".to_owned(), vec![1])]), "{n}");
        }
        Ok::<_, SimError>(())
    });
    run.unwrap();
}

#[cfg(feature = "kademlia")]
#[test]
fn nodes_of_a_topic_that_no_neighbours_connect_find_each_other_by_kademlia() {
    let run = SimNetwork::new(10).run(async |net| {
        let on = |builder: Builder| Ok(builder.well_known().kademlia(KademliaConfig::default()));
        let peers = net.start_many(4, move |_, builder| on(builder)).await?;
        for peer in &peers[1..] {
            peer.join_kademlia("n0:9000").await.unwrap();
        }
        assert!(peers.iter().all(|peer| peer.active_neighbors().is_empty()));
        let members = members(&peers[2..]);
        formed(&members, SECOND * 60).await;
        members[0].topic.publish(&Line(1)).unwrap();
        net.advance(SECOND).await;
        assert_eq!(members[1].heard(), BTreeMap::from([("n2".to_owned(), vec![1])]));
        Ok::<_, SimError>(())
    });
    run.unwrap();
}

#[test]
fn a_topic_that_cannot_be_used_is_an_error_that_says_why() {
    let run = SimNetwork::new(1).run(async |net| {
        let two = GossipConfig::default().topics(2);
        let ada = net.start_with("ada", move |b| Ok(b.gossip(two.clone()))).await?;
        let error = |result: Result<Topic<Line>, TopicError>| result.unwrap_err();
        for name in ["", &"t".repeat(65)] {
            let len = name.len();
            assert!(matches!(error(ada.topic(name)), TopicError::Name { len: of } if of == len));
        }
        let options = error(ada.topic_with("news", TopicConfig::default().history(5_000)));
        assert!(matches!(options, TopicError::Options(_)), "{options}");
        let news = ada.topic::<Line>("news").unwrap();
        let other = error(ada.topic_with("news", TopicConfig::default().history(1)));
        assert!(matches!(other, TopicError::OtherOptions), "{other}");
        let _sports = ada.topic::<Line>("sports").unwrap();
        let many = error(ada.topic("weather"));
        assert!(matches!(many, TopicError::TooManyTopics { limit: 2 }), "{many}");
        let long = ada.topic::<Long>("news").unwrap().publish(&Long(vec![0; 65_536])).unwrap_err();
        assert!(matches!(long, TopicError::TooLong { len: 65_539 }), "{long}");
        let bob = net.start_with("bob", |builder| Ok(builder.without_gossip())).await?;
        assert!(matches!(error(bob.topic("news")), TopicError::NotEnabled));
        ada.stop().await;
        assert!(matches!(news.publish(&Line(1)), Err(TopicError::Down(_))));
        assert!(matches!(error(ada.topic("news")), TopicError::Down(_)));
        assert!(news.joined().await.is_err());
        Ok::<_, SimError>(())
    });
    run.unwrap();
}

/// A message of any length.
#[derive(Debug, Serialize, Deserialize)]
struct Long(Vec<u8>);

impl Wire for Long {
    const CODE: TypeCode = TypeCode::new(b"LONG");
}

/// Subscribes by itself, in the words of actix-broker.
struct Fan(Peer, Read);

impl Actor for Fan {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The second time does nothing, as after a restart by a supervisor.
        for _ in 0..2 {
            self.subscribe_network::<Line>(&self.0, ctx).unwrap();
        }
    }
}

impl Handler<TopicEvent<Line>> for Fan {
    type Result = ();

    fn handle(&mut self, event: TopicEvent<Line>, ctx: &mut Self::Context) {
        if let TopicEvent::Message(said) = event {
            self.1.borrow_mut().push((said.author.id().to_string(), Ok(said.message.0)));
            if said.message.0 == 9 {
                ctx.stop();
            }
        }
    }
}

#[test]
fn an_actor_subscribes_to_a_type_of_messages_and_its_node_leaves_the_topic_when_the_actor_ends() {
    let run = SimNetwork::new(9).run(async |net| {
        let peers = network(&net, 5, |builder| builder).await?;
        let read: Vec<_> = (0..2).map(|_| Read::default()).collect();
        for (peer, read) in peers.iter().zip(&read) {
            Fan(peer.clone(), Rc::clone(read)).start();
        }
        net.advance(SECOND * 5).await;
        for number in [1, 9] {
            peers[4].issue_network(&Line(number)).unwrap();
            net.advance(SECOND * 5).await;
        }
        for read in &read {
            assert_eq!(*read.borrow(), [("n4".to_owned(), Ok(1)), ("n4".to_owned(), Ok(9))]);
        }
        assert!(peers[0].topics().is_empty() && peers[1].topics().is_empty());
        Ok::<_, SimError>(())
    });
    run.unwrap();
}
