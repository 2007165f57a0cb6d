//! Server-sent events: each event is serialised once and sent to every listener.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use actix_web::{
    HttpResponse,
    http::header,
    web::{Bytes, Data},
};
use futures::stream::{self, Stream};
use tokio::{
    sync::{
        OwnedSemaphorePermit, Semaphore,
        broadcast::{self, error::RecvError},
        watch,
    },
    task::{AbortHandle, spawn_blocking},
    time::timeout,
};

use super::{Site, failure::Failure};
use crate::{app::App, model::Event};

/// The maximum number of listeners. A page and a subcommand are one each.
const MAX_LISTENERS: usize = 64;

/// The number of events that wait for a slow listener. One that is slower gets a new snapshot.
const QUEUE: usize = 256;

/// The interval of keepalives to a listener, so that both sides detect a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The source of events for all listeners.
#[derive(Clone, Debug)]
pub(super) struct Hub {
    /// The pump has the only strong sender: when it ends, the listeners end.
    live: broadcast::WeakSender<Bytes>,
    /// The newest list of files, as an event. It is large, so it is not in the queue.
    files: watch::Receiver<Bytes>,
    listeners: Arc<Semaphore>,
    pump: AbortHandle,
}

impl Hub {
    /// Starts the pump. Call it on an arbiter.
    pub(super) fn start(app: &App) -> Self {
        let ((live, _), (newest, files)) =
            (broadcast::channel(QUEUE), watch::channel(Bytes::new()));
        let weak = live.downgrade();
        let pump = actix_rt::spawn(pump(app.clone(), live, newest)).abort_handle();
        Self { live: weak, files, listeners: Arc::new(Semaphore::new(MAX_LISTENERS)), pump }
    }

    /// Adds a listener, which first receives a snapshot.
    async fn listener(&self, app: &App) -> Result<Listener, Failure> {
        let permit = Arc::clone(&self.listeners).try_acquire_owned();
        let busy = |_| Failure::busy(format!("there are already {MAX_LISTENERS} listeners"));
        let permit = permit.map_err(busy)?;
        // Subscribed before the snapshot: an event may arrive twice, but none is missed.
        let live = self.live.upgrade().ok_or_else(Failure::stopped)?.subscribe();
        let mut files = self.files.clone();
        files.mark_unchanged();
        let (app, waiting) = (app.clone(), snapshot(app).await);
        Ok(Listener { app, live, files, waiting, _permit: permit })
    }

    /// Ends every listener.
    pub(super) fn stop(&self) {
        self.pump.abort();
    }
}

/// Serialises the events of the node and sends them, if there are listeners.
async fn pump(app: App, live: broadcast::Sender<Bytes>, newest: watch::Sender<Bytes>) {
    let mut events = app.events();
    let send = |text| live.send(text).unwrap_or(0);
    loop {
        match events.recv().await {
            Err(RecvError::Closed) => return,
            _ if live.receiver_count() == 0 => {}
            Ok(files @ Event::Files(_)) => {
                event_text(files).await.map(|text| newest.send_replace(text));
            }
            Ok(event) => drop(send(sse(&event))),
            // This task was too slow and missed events.
            Err(RecvError::Lagged(_)) => {
                snapshot(&app).await.into_iter().map(send).for_each(drop);
            }
        }
    }
}

/// One event of each kind but notices.
async fn snapshot(app: &App) -> VecDeque<Bytes> {
    let mut texts = VecDeque::new();
    texts.push_back(sse(&Event::Status(app.status().await)));
    texts.push_back(sse(&Event::Peers(app.network().await)));
    texts.extend(event_text(Event::Files(app.files())).await);
    // The oldest first, as in the order of events.
    texts.extend(app.searches().into_iter().rev().map(|search| sse(&Event::Search(search))));
    let transfers = app.transfers();
    let numbers = transfers.iter().map(|transfer| transfer.number).collect();
    texts.push_back(sse(&Event::Transfers(numbers)));
    texts.extend(transfers.into_iter().rev().map(|transfer| sse(&Event::Transfer(transfer))));
    texts
}

/// The list of files as JSON; `None` if the process is ending.
pub(super) async fn files(app: &App) -> Option<String> {
    let app = app.clone();
    let made = spawn_blocking(move || serde_json::to_string(&app.files())).await;
    made.ok()?.ok()
}

/// Serialises an event on a blocking thread, because it may have thousands of rows.
async fn event_text(event: Event) -> Option<Bytes> {
    spawn_blocking(move || sse(&event)).await.ok()
}

fn sse(event: &Event) -> Bytes {
    Bytes::from(match event.to_lines() {
        Ok(lines) => lines,
        // The model always serialises. If not, a comment keeps the stream valid.
        Err(error) => format!(": {error}\n\n"),
    })
}

/// One connection at `/api/events`.
struct Listener {
    app: App,
    live: broadcast::Receiver<Bytes>,
    files: watch::Receiver<Bytes>,
    waiting: VecDeque<Bytes>,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(text) = self.waiting.pop_front() {
                return Some(text);
            }
            let event = tokio::select! {
                event = timeout(KEEP_ALIVE, self.live.recv()) => event,
                Ok(()) = self.files.changed() => return Some(self.files.borrow_and_update().clone()),
            };
            match event {
                Err(_) => return Some(Bytes::from_static(b": still here\n\n")),
                Ok(Ok(text)) => return Some(text),
                Ok(Err(RecvError::Lagged(_))) => {
                    // The events in the queue are older than the snapshot.
                    self.live = self.live.resubscribe();
                    self.files.mark_unchanged();
                    self.waiting = snapshot(&self.app).await;
                }
                Ok(Err(RecvError::Closed)) => return None,
            }
        }
    }

    fn stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        stream::unfold(self, async |mut listener| {
            let text = listener.next().await?;
            Some((Ok(text), listener))
        })
    }
}

/// `GET /api/events`.
pub(super) async fn listen(site: Data<Site>) -> Result<HttpResponse, Failure> {
    let listener = site.hub.listener(&site.app).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .streaming(listener.stream()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::Options;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    async fn app(folder: &tempfile::TempDir) -> App {
        let share = folder.path().to_str().unwrap();
        App::start(Line::parse_from(["fileshare", "--share", share]).options).await.unwrap()
    }

    fn name(text: &Bytes) -> String {
        let text = std::str::from_utf8(text).unwrap();
        let name = text.strip_prefix("event: ").and_then(|rest| rest.split('\n').next());
        name.unwrap_or_else(|| panic!("{text:?} has no name")).to_owned()
    }

    #[actix::test]
    async fn a_listener_that_is_too_slow_gets_a_fresh_snapshot_instead() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(&folder).await;
        let hub = Hub::start(&app);
        let mut listener = hub.listener(&app).await.unwrap();
        for expected in ["status", "peers", "files", "transfers"] {
            assert_eq!(name(&listener.next().await.unwrap()), expected);
        }
        let live = hub.live.upgrade().unwrap();
        for _ in 0..=QUEUE {
            live.send(Bytes::from_static(b"event: old\n\n")).unwrap();
        }
        for expected in ["status", "peers", "files", "transfers"] {
            assert_eq!(name(&listener.next().await.unwrap()), expected);
        }
        live.send(Bytes::from_static(b"event: new\n\n")).unwrap();
        drop(live);
        let mut seen = String::new();
        while seen != "new" {
            seen = name(&listener.next().await.unwrap());
            assert_ne!(seen, "old", "the snapshot is newer");
        }
        hub.stop();
        while listener.next().await.is_some() {}
        assert!(hub.listener(&app).await.is_err(), "nobody listens to a hub that has stopped");
        app.stop().await;
    }

    #[actix::test]
    async fn of_several_lists_of_files_a_slow_listener_gets_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(&folder).await;
        let hub = Hub::start(&app);
        let mut listener = hub.listener(&app).await.unwrap();
        listener.waiting.clear();
        let (newest, files) = watch::channel(Bytes::new());
        listener.files = files;
        for n in 0..9 {
            newest.send_replace(Bytes::from(format!("event: files {n}\n\n")));
        }
        let last = Bytes::from_static(b"event: last\n\n");
        let mut seen = Vec::new();
        while seen.last().is_none_or(|last| last != "last") {
            seen.push(name(&listener.next().await.unwrap()));
            if seen.last().unwrap().starts_with("files") {
                hub.live.upgrade().unwrap().send(last.clone()).unwrap();
            }
        }
        seen.retain(|name| name.starts_with("files") || name == "last");
        assert_eq!(seen, ["files 8", "last"]);
        hub.stop();
        app.stop().await;
    }
}
