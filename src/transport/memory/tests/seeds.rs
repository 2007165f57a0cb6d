//! The same seed gives the same history.

use std::fmt::Write as _;

use super::*;

/// The history that every host sees while all of them talk to all and one of them crashes, and the
/// record of the network.
fn trace(seed: u64, chaos: Chaos) -> String {
    const HOSTS: [&str; 6] = ["n0", "n1", "n2", "n3", "n4", "n5"];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let network = MemoryNetwork::new(seed);
        network.latency(ms(1)..ms(50));
        network.chaos(chaos);
        let start = Instant::now();
        let log = Arc::new(std::sync::Mutex::new(String::new()));
        let recorded = Arc::clone(&log);
        let recording = network.record(move |event| {
            writeln!(recorded.lock().unwrap(), "{:?} {event}", event.at()).unwrap();
        });
        let note = |line: String| {
            writeln!(log.lock().unwrap(), "{:?} {line}", start.elapsed()).unwrap();
        };
        let serve = HOSTS.map(|me| {
            let (network, note) = (&network, &note);
            async move {
                let mut listener = network.listen_at(&format!("{me}:9000")).await;
                let mut echoes = Vec::new();
                while let Ok(Ok(mut io)) = timeout(ms(500), accept(&mut listener)).await {
                    note(format!("{me} took {}", io.remote));
                    #[expect(clippy::disallowed_methods, reason = "the test's own runtime")]
                    echoes.push(tokio::spawn(async move {
                        tokio::io::copy(&mut io.reader, &mut io.writer).await.ok();
                    }));
                }
                join_all(echoes).await;
            }
        });
        let ask = async |me: &'static str, to: &'static str| {
            let at = format!("{to}:9000");
            for _ in 0..3 {
                let dial = network.dial_from(me, &at);
                let Ok(Ok(mut io)) = timeout(ms(200), dial).await else {
                    note(format!("{me} cannot reach {to}"));
                    continue;
                };
                io.writer.write_all(me.as_bytes()).await.ok();
                io.writer.shutdown().await.ok();
                let got = read_all(&mut io).await;
                note(format!("{me} got {got:?} from {to}"));
            }
        };
        let asks = HOSTS.iter().flat_map(|me| HOSTS.map(|to| ask(me, to)));
        let fault = async {
            sleep(ms(60)).await;
            network.crash(&host("n3"));
            network.partition(&[host("n0")], &[host("n1")]);
            sleep(ms(60)).await;
            network.heal();
        };
        tokio::join!(join_all(serve), join_all(asks), fault);
        drop((recording, network));
        Arc::into_inner(log).unwrap().into_inner().unwrap()
    })
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    for chaos in [Chaos::none(), Chaos::light(), Chaos::heavy()] {
        let first = trace(42, chaos);
        assert!(first.lines().count() > 100, "{first}");
        assert_eq!(first, trace(42, chaos));
        assert_ne!(first, trace(43, chaos));
    }
}
