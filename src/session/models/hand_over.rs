//! Two links of a pair: one replaces the other.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    link::Role,
    message::{Outgoing, Over, outgoing::OutgoingKind},
    node::Config,
    session::{
        Endpoint, Path,
        messages::{path, request},
        models::network::{Network, message},
        reach::{decide, reach},
        send::SendFailure,
    },
    sync::model::{block_on, explore, explore_for, join, quiet, run},
};

/// Sends a request over links alone. The caller must not get a link again that has refused it.
async fn request_over_links(from: Arc<Endpoint>, to: Arc<Endpoint>, text: &'static str) {
    let (mut kind, mut refused) = (OutgoingKind::Frame(message(text)), BTreeSet::new());
    let replies = loop {
        let taken = path(&from, (to.me.address(), None), Over::Link).await.unwrap();
        let Path::Link(session) = taken else { panic!("no link") };
        assert!(!refused.contains(&session.id), "link {} is closed", session.id);
        match session.request(kind, from.config.reply_timeout).await {
            Ok(replies) => break replies,
            Err(SendFailure::Gone(Some(frame))) => kind = OutgoingKind::Frame(frame),
            Err(failed) => panic!("{failed:?}"),
        }
        refused.insert(session.id);
    };
    assert_eq!(replies.collect().await.unwrap(), [message(text)]);
}

#[test]
fn a_caller_gets_a_link_that_is_replaced_at_most_once_and_its_exchange_ends_on_one_of_the_two() {
    explore(80, || {
        let network = Network::default();
        let (ada, of_ada) = network.start("ada", Config::default());
        let (bob, of_bob) = network.start("bob", Config::default());
        // While ada dials, bob opens a link. The one that ada opens replaces it.
        let (_, dial) = decide(&ada, bob.me.address(), None);
        block_on(request_over_links(Arc::clone(&bob), Arc::clone(&ada), "first"));
        let replaces = run(dial.unwrap());
        let callers = [
            run(request_over_links(Arc::clone(&ada), Arc::clone(&bob), "one")),
            run(request_over_links(Arc::clone(&ada), Arc::clone(&bob), "two")),
            run(request_over_links(Arc::clone(&bob), Arc::clone(&ada), "second")),
        ];
        join([replaces]);
        join(callers);
        quiet();
        let links = [ada.links.all(), bob.links.all()];
        for (links, role) in links.iter().zip([Role::Dialler, Role::Acceptor]) {
            assert_eq!(links.iter().map(|link| link.role).collect::<Vec<_>>(), [role]);
        }
        assert_eq!(of_ada.heard(), ["first", "second"].map(|text| (text.to_owned(), 1)).into());
        assert_eq!(of_bob.heard(), ["one", "two"].map(|text| (text.to_owned(), 1)).into());
    });
}

#[test]
fn of_two_links_that_open_at_once_one_stays_and_the_exchanges_on_both_end() {
    explore(60, || {
        let network = Network::default();
        let (ada, of_ada) = network.start("ada", Config::default());
        let (bob, of_bob) = network.start("bob", Config::default());
        let ask = |from: &Arc<Endpoint>, to: &Arc<Endpoint>, text| {
            let (from, to) = (Arc::clone(from), to.me.address().clone());
            run(async move {
                let replies = request(&from, &to, Outgoing::from(message(text))).await.unwrap();
                assert_eq!(replies.collect().await.unwrap(), [message(text)]);
            })
        };
        let asked = [
            ask(&ada, &bob, "one from ada"),
            ask(&bob, &ada, "one from bob"),
            ask(&ada, &bob, "two from ada"),
        ];
        join(asked);
        quiet();
        let links = [ada.links.all(), bob.links.all()];
        assert_eq!(links.each_ref().map(Vec::len), [1, 1], "{links:?}");
        let both = links.concat();
        assert_ne!(both[0].role, both[1].role);
        for (from, to) in [(&ada, &bob), (&bob, &ada)] {
            let found = block_on(reach(from, to.me.address(), Some(to.me.id()))).unwrap();
            assert!(both.iter().any(|link| Arc::ptr_eq(link, &found)));
        }
        assert_eq!(of_ada.heard(), [("one from bob".to_owned(), 1)].into());
        let two = ["one from ada", "two from ada"].map(|text| (text.to_owned(), 1));
        assert_eq!(of_bob.heard(), two.into());
    });
}

#[test]
fn a_caller_that_waits_for_a_dial_gets_its_result_while_a_link_of_the_peer_comes_and_goes() {
    explore_for(Duration::from_secs(1), 60, || {
        let network = Network::default();
        let (ada, _of_ada) = network.start("ada", Config::default());
        let (bob, of_bob) = network.start("bob", Config::default());
        let (from, to) = (Arc::clone(&bob), ada.me.address().clone());
        let comes_and_goes = run(async move {
            if let Ok(session) = reach(&from, &to, None).await {
                session.abort(true);
            }
        });
        let callers = ["one", "two", "three"].map(|text| {
            let (from, to) = (Arc::clone(&ada), bob.me.address().clone());
            run(async move {
                let found = reach(&from, &to, None).await;
                if let Err(why) = &found {
                    assert!(!format!("{why:?}").contains("cut short"), "{why:?}");
                }
                found.is_ok_and(|session| session.try_notify(&message(text)))
            })
        });
        join([comes_and_goes]);
        join(callers);
        assert!(of_bob.heard().values().all(|times| *times == 1));
    });
}
