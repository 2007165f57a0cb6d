//! Interoperation with the original programs, byte for byte, as callers and as callees
//! (src/protocol.md#file-sharing).

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use serde_json::json;

use crate::{
    Instance,
    common::frames::{frame, shown},
    instance::{LIMIT, has},
};

/// Runs one exchange as an original does. Returns all received bytes.
pub(crate) fn exchange(address: &str, code: &[u8; 4], data: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(&frame(code, data)).unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).expect("the connection ends cleanly, not by a reset");
    shown(&heard)
}

fn read_frame(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut header = [0; 8];
    stream.read_exact(&mut header).ok()?;
    let len = u32::from_be_bytes(header[4..].try_into().unwrap());
    let mut data = vec![0; len as usize];
    stream.read_exact(&mut data).ok()?;
    Some((shown(&header[..4]), data))
}

/// A program like the originals: reads one frame per connection, answers and closes.
pub(crate) struct Original {
    pub(crate) address: String,
    pub(crate) heard: Receiver<(String, String)>,
}

impl Original {
    /// `answer` receives its address, the code and the text, and returns the reply. The program
    /// does not support links.
    pub(crate) fn start(answer: impl Fn(&str, &str, &str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell, heard): (Sender<(String, String)>, _) = channel();
        let me = address.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let Some((code, data)) = read_frame(&mut stream) else { continue };
                let text = String::from_utf8(data).unwrap();
                if code != "@LNK" {
                    // The caller may have closed the connection already.
                    stream.write_all(&answer(&me, &code, &text)).ok();
                }
                drop(stream);
                if tell.send((code, text)).is_err() {
                    return;
                }
            }
        });
        Self { address, heard }
    }

    /// The first request with this code.
    pub(crate) fn until(&self, code: &str) -> String {
        loop {
            let (heard, text) = self.heard.recv_timeout(LIMIT).expect("a request");
            if heard == code {
                return text;
            }
        }
    }
}

/// Answers like both originals to the requests of a join and a departure.
pub(crate) fn joins(me: &str, code: &str, text: &str) -> Vec<u8> {
    match code {
        "NAME" => frame(b"REPL", me),
        "JOIN" => {
            let id = text.split(' ').next().unwrap();
            frame(b"REPL", format!("Join: peer added: {id}"))
        }
        "LIST" => frame(b"REPL", "0"),
        "QUIT" => frame(b"REPL", format!("Quit: peer removed: {text}")),
        // The originals close the connection on `PING`.
        _ => Vec::new(),
    }
}

#[test]
fn the_program_answers_an_original_byte_for_byte() {
    let ada = Instance::start("ada", &["--max-peers", "2"]);
    fs::write(ada.share().join("a.txt"), "some text").unwrap();
    fs::write(ada.share().join("empty"), "").unwrap();
    assert_eq!(ada.post("/api/refresh", &json!({})).status, 200);
    let ask = |code, data: &str| exchange(&ada.address, code, data);
    assert_eq!(ask(b"NAME", ""), r"REPL\x00\x00\x00\x03ada");
    assert_eq!(ask(b"PING", ""), r"PONG\x00\x00\x00\x03ada");
    assert_eq!(ask(b"LIST", ""), r"REPL\x00\x00\x00\x010");
    assert_eq!(ask(b"JOIN", "py 127.0.0.1 9"), r"REPL\x00\x00\x00\x14Join: peer added: py");
    assert_eq!(
        ask(b"JOIN", "py 127.0.0.1 9"),
        r"ERRO\x00\x00\x00\x1eJoin: peer already inserted py"
    );
    assert_eq!(
        ask(b"JOIN", "ada 127.0.0.1 9"),
        r"ERRO\x00\x00\x00\x1cJoin: attempt to insert self"
    );
    assert_eq!(ask(b"JOIN", "py"), r"ERRO\x00\x00\x00\x19Join: incorrect arguments");
    assert_eq!(ask(b"LIST", ""), r"REPL\x00\x00\x00\x011REPL\x00\x00\x00\x0epy 127.0.0.1 9");
    assert_eq!(ask(b"QUIT", "py"), r"REPL\x00\x00\x00\x16Quit: peer removed: py");
    assert_eq!(ask(b"QUIT", "py"), r"ERRO\x00\x00\x00\x18Quit: peer not found: py");
    assert_eq!(ask(b"QUER", "127.0.0.1:9 nothing 4"), r"REPL\x00\x00\x00\nQuery: ACK");
    assert_eq!(ask(b"QUER", "127.0.0.1:9 4"), r"ERRO\x00\x00\x00\x1aQuery: incorrect arguments");
    assert_eq!(ask(b"quer", "127.0.0.1:9 other 4"), r"REPL\x00\x00\x00\nQuery: ACK");
    assert_eq!(ask(b"FGET", "a.txt"), r"REPL\x00\x00\x00\tsome text");
    assert_eq!(ask(b"FGET", "empty"), r"REPL\x00\x00\x00\x00");
    assert_eq!(ask(b"FGET", "missing"), r"ERRO\x00\x00\x00\x0eFile not found");
    assert_eq!(ask(b"RESP", "a.txt"), r"ERRO\x00\x00\x00\x19Resp: incorrect arguments");
    ada.search("song");
    assert_eq!(
        ask(b"RESP", "My Song.ogg 127.0.0.1:9"),
        r"REPL\x00\x00\x00!Resp: file info added My Song.ogg"
    );
    assert_eq!(
        ask(b"RESP", "My Song.ogg 127.0.0.1:9"),
        r"ERRO\x00\x00\x00*Resp: can\'t add duplicate file My Song.ogg"
    );
}

#[test]
fn a_header_and_a_small_body_arrive_in_one_read() {
    let ada = Instance::start("ada", &[]);
    fs::write(ada.share().join("a.txt"), "some text").unwrap();
    for (code, data, len) in [
        (b"NAME", "", 11),
        (b"QUER", "127.0.0.1:9 x 1", 18),
        (b"FGET", "a.txt", 17),
        (b"FGET", "missing", 22),
    ] {
        let mut stream = TcpStream::connect(&ada.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(&frame(code, data)).unwrap();
        // The Java original reads the header with one call and the body with the next one.
        let mut header = [0; 8];
        assert_eq!(stream.read(&mut header).unwrap(), 8);
        let mut body = [0; 64];
        assert_eq!(stream.read(&mut body).unwrap() + 8, len, "{}", shown(&header));
        assert_eq!(stream.read(&mut body).unwrap(), 0);
    }
}

#[test]
fn an_original_that_searches_receives_one_response_for_each_match() {
    let ada = Instance::start("ada", &[]);
    for name in ["one song.ogg", "Two SONGS.ogg", "other.txt"] {
        fs::write(ada.share().join(name), "x").unwrap();
    }
    assert_eq!(ada.post("/api/refresh", &json!({})).status, 200);
    let python = Original::start(joins);
    let joining = format!("{0} 127.0.0.1 {1}", python.address, &python.address[10..]);
    assert!(exchange(&ada.address, b"JOIN", joining).contains("peer added"));
    let query = format!("{} song 4", python.address);
    assert_eq!(exchange(&ada.address, b"QUER", &query), r"REPL\x00\x00\x00\nQuery: ACK");
    let heard = [python.until("RESP"), python.until("RESP")];
    assert_eq!(
        heard,
        [format!("Two SONGS.ogg {}", ada.address), format!("one song.ogg {}", ada.address)]
    );
}

#[test]
fn an_original_is_joined_searched_and_fetched_from_and_receives_a_quit() {
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 249) as u8).collect();
    let (file, (give, found)) = (content.clone(), channel());
    let java = Original::start(move |me, code, text| match code {
        // The Java original acknowledges, closes, and sends its matches afterwards.
        "QUER" => {
            give.send((me.to_owned(), text.to_owned())).unwrap();
            frame(b"REPL", "Query: ACK")
        }
        "FGET" if text == "my song.ogg" => frame(b"REPL", &file),
        "FGET" => frame(b"ERRO", format!("Fget: file not found {text}")),
        _ => joins(me, code, text),
    });
    let mut ada = Instance::start("ada", &["--join", &java.address]);
    let joined = java.until("JOIN");
    assert_eq!(joined, format!("ada 127.0.0.1 {}", &ada.address[10..]));
    let network = ada.events().wait("peers", |network| network["peers"][0]["speaks"] == "classic");
    assert_eq!(network["peers"][0]["id"], json!(java.address));

    ada.search("song");
    let (me, query) = found.recv_timeout(LIMIT).unwrap();
    assert_eq!(query, format!("{} song 4", ada.address));
    let answer = exchange(&ada.address, b"RESP", format!("my song.ogg {me}"));
    assert_eq!(answer, r"REPL\x00\x00\x00!Resp: file info added my song.ogg");
    let row = ada.until_file(|file| file["name"] == "my song.ogg");
    assert_eq!(
        row,
        json!({
            "name": "my song.ogg", "owners": [me], "local": false, "size": null, "digest": null
        })
    );
    let ended = ada.fetched(&json!({"name": "my song.ogg"}));
    assert_eq!(
        (&ended["state"], ended["size"].as_u64()),
        (&json!("done"), Some(3_000_000)),
        "{ended}"
    );
    assert_eq!(fs::read(ada.downloads().join("my song.ogg")).unwrap(), content);
    // The file has a digest now, and is shared.
    ada.until_file(|file| file["local"] == true && file["digest"].is_string());
    let missing = ada.fetched(&json!({"name": "other", "from": me}));
    let error = missing["error"].as_str().unwrap();
    assert!(error.contains("Fget: file not found other"), "{error}");
    assert_eq!(ada.interrupt().0, Some(0));
    assert_eq!(java.until("QUIT"), "ada");
}

#[test]
fn a_query_of_an_original_is_forwarded_and_its_copies_are_dropped() {
    let carol = Instance::start("carol", &[]);
    fs::write(carol.share().join("song.ogg"), "x").unwrap();
    assert_eq!(carol.post("/api/refresh", &json!({})).status, 200);
    let bob = Instance::start("bob", &["--table-only", "--hops", "1", "--join", &carol.address]);
    bob.until_peers(|ids| ids == ["carol"]);
    let ada = Instance::start("ada", &["--table-only", "--hops", "1", "--join", &bob.address]);
    ada.until_peers(|ids| ids == ["bob"]);
    let python = Original::start(joins);
    // The caller is not in any table, so the limit for unknown peers applies to the answers.
    let query = format!("{} song 2", python.address);
    for _ in 0..3 {
        assert_eq!(exchange(&ada.address, b"QUER", &query), r"REPL\x00\x00\x00\nQuery: ACK");
    }
    assert_eq!(python.until("RESP"), format!("song.ogg {}", carol.address));
    let echo = python.heard.recv_timeout(Duration::from_millis(700));
    assert!(echo.is_err(), "a copy of a query is answered: {echo:?}");
    // A ttl of 0 ends the query at ada.
    let query = format!("{} song.o 0", python.address);
    exchange(&ada.address, b"QUER", &query);
    assert!(python.heard.recv_timeout(Duration::from_millis(700)).is_err());
    assert!(!has(&ada.get("/api/files").json(), "song.ogg"));
}

/// Starts a node with the files r1 to r6 that is not a peer of the node that searches.
fn with_six_files(id: &str, options: &[&str]) -> Instance {
    let node = Instance::start(id, options);
    for n in 1..=6 {
        fs::write(node.share().join(format!("r{n}.txt")), "x").unwrap();
    }
    assert_eq!(node.post("/api/refresh", &json!({})).status, 200);
    node
}

#[test]
fn every_repeated_search_over_two_hops_is_answered() {
    let ada = Instance::start("ada", &[]);
    let bob = Instance::start("bob", &["--table-only", "--hops", "1", "--join", &ada.address]);
    bob.until_peers(|ids| ids == ["ada"]);
    let carol = with_six_files("carol", &["--table-only", "--hops", "1", "--join", &bob.address]);
    carol.until_peers(|ids| ids == ["bob"]);
    bob.until_peers(|ids| ids == ["ada", "carol"]);
    for n in 1..=6 {
        ada.find(&format!("r{n}.txt"), true);
    }
}

/// An original that forwards queries to `next` with one hop less, as the originals do.
fn passes_on(next: String) -> Original {
    Original::start(move |me, code, text| match code {
        "QUER" => {
            let (query, ttl) = text.rsplit_once(' ').unwrap();
            let (next, ttl) = (next.clone(), ttl.parse::<u32>().unwrap());
            let query = format!("{query} {}", ttl.saturating_sub(1));
            thread::spawn(move || {
                let heard = exchange(&next, b"QUER", query);
                assert_eq!(heard, r"REPL\x00\x00\x00\nQuery: ACK");
            });
            frame(b"REPL", "Query: ACK")
        }
        _ => joins(me, code, text),
    })
}

#[test]
fn every_search_through_an_original_is_answered() {
    let carol = with_six_files("carol", &[]);
    let middle = passes_on(carol.address.clone());
    let ada = Instance::start("ada", &["--table-only", "--hops", "1", "--join", &middle.address]);
    ada.until_peers(|ids| ids == [middle.address.as_str()]);
    for n in 1..=6 {
        ada.find(&format!("r{n}.txt"), true);
    }
}

#[test]
fn every_search_of_an_original_through_another_original_is_answered() {
    let carol = with_six_files("carol", &[]);
    let middle = passes_on(carol.address.clone());
    let python = Original::start(joins);
    for n in 1..=6 {
        let query = format!("{} r{n} 4", python.address);
        assert_eq!(exchange(&middle.address, b"QUER", query), r"REPL\x00\x00\x00\nQuery: ACK");
        assert_eq!(python.until("RESP"), format!("r{n}.txt {}", carol.address));
    }
    // One search with many answers, repeated as soon as it no longer counts as a copy.
    let query = format!("{} .txt 4", python.address);
    let all: Vec<_> = (1..=6).map(|n| format!("r{n}.txt {}", carol.address)).collect();
    for _ in 0..2 {
        let first = loop {
            exchange(&middle.address, b"QUER", &query);
            if let Ok((code, text)) = python.heard.recv_timeout(Duration::from_millis(200)) {
                assert_eq!(code, "RESP");
                break text;
            }
        };
        let others = (1..6).map(|_| python.until("RESP"));
        assert_eq!(std::iter::once(first).chain(others).collect::<Vec<_>>(), all);
    }
}

#[test]
fn a_repeated_query_is_answered_with_files_that_were_added_since() {
    let ada = Instance::start("ada", &[]);
    let python = Original::start(joins);
    let query = format!("{} late 0", python.address);
    assert_eq!(exchange(&ada.address, b"QUER", &query), r"REPL\x00\x00\x00\nQuery: ACK");
    fs::write(ada.share().join("late.txt"), "x").unwrap();
    assert_eq!(ada.post("/api/refresh", &json!({})).status, 200);
    assert_eq!(exchange(&ada.address, b"QUER", &query), r"REPL\x00\x00\x00\nQuery: ACK");
    assert_eq!(python.until("RESP"), format!("late.txt {}", ada.address));
}

#[test]
fn repeated_queries_of_busy_programs_on_this_machine_are_never_refused() {
    let ada = with_six_files("ada", &[]);
    let python = Original::start(joins);
    for n in 0..200 {
        for _ in 0..2 {
            let query = format!("{} nothing{n} 0", python.address);
            assert_eq!(exchange(&ada.address, b"QUER", query), r"REPL\x00\x00\x00\nQuery: ACK");
        }
    }
    exchange(&ada.address, b"QUER", format!("{} r1 0", python.address));
    assert_eq!(python.until("RESP"), format!("r1.txt {}", ada.address));
}

#[test]
fn a_response_that_the_peer_refuses_is_not_reported_as_delivered() {
    let ada = Instance::start("ada", &[]);
    fs::write(ada.share().join("my song.ogg"), "x").unwrap();
    fs::write(ada.share().join("song.ogg"), "x").unwrap();
    assert_eq!(ada.post("/api/refresh", &json!({})).status, 200);
    // Like the Java original, which reads exactly two words.
    let java = Original::start(|me, code, text| match code {
        "RESP" if text.split(' ').count() == 2 => {
            frame(b"REPL", format!("Resp: file info added {}", text.split(' ').next().unwrap()))
        }
        "RESP" => frame(b"ERRO", "Resp: incorrect arguments"),
        _ => joins(me, code, text),
    });
    let mut events = ada.events();
    exchange(&ada.address, b"QUER", format!("{} song 0", java.address));
    let is = |part: &'static str| {
        move |notice: &serde_json::Value| notice["text"].as_str().unwrap().contains(part)
    };
    let told = events.wait("notice", is("told"));
    assert_eq!(told["text"], format!("told {} about 1 file with \"song\"", java.address));
    let untold = events.wait("notice", is("was not told"));
    assert_eq!(
        untold["text"],
        format!(
            "{} was not told about 1 file with \"song\": it refused: Resp: incorrect arguments",
            java.address
        )
    );
}

#[test]
fn a_response_that_cannot_be_sent_is_reported() {
    let ada = Instance::start("ada", &[]);
    fs::write(ada.share().join("song.ogg"), "x").unwrap();
    assert_eq!(ada.post("/api/refresh", &json!({})).status, 200);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut events = ada.events();
    exchange(&ada.address, b"QUER", format!("{nobody} song 0"));
    let words = format!("{nobody} was not told about 1 file with \"song\"");
    let untold =
        events.wait("notice", |notice| notice["text"].as_str().unwrap().starts_with(&words));
    assert_eq!(untold["level"], "error");
}

#[test]
fn a_peer_that_refuses_a_search_is_not_reported_as_asked() {
    let busy = Original::start(|me, code, text| match code {
        "QUER" => frame(b"ERRO", "Busy"),
        _ => joins(me, code, text),
    });
    let ada = Instance::start("ada", &["--table-only", "--hops", "1", "--join", &busy.address]);
    ada.until_peers(|ids| ids == [busy.address.as_str()]);
    let mut events = ada.events();
    ada.search("song");
    let notice = Instance::until_notice(&mut events, "was not asked");
    assert_eq!(notice["text"], format!("{} was not asked: it refused: Busy", busy.address));
}
