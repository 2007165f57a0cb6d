//! The start of the program.

use std::{
    fs,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use actix_peer::{Config, Peer, PingSweep};
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::mpsc};

use crate::{
    app::{App, Inner, StartFailed, background, folders::Folders},
    options::Options,
    serve,
    share::Share,
    state::State,
    test_handlers,
};

/// The maximum number of acknowledged queries that wait to be handled.
const QUERY_QUEUE: usize = 256;

/// The time-out of replies: short, so that a source that hangs is replaced soon.
const REPLY_TIMEOUT: Duration = Duration::from_secs(15);

/// How long running exchanges may take when the program stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// Writes a sample file, which has a different name for each instance.
fn sample(folder: &Path, port: u16) -> std::io::Result<()> {
    let text = format!(
        "This file is shared by the peer on port {port}.\n\n\
         Put files of your own into a folder and start with --share FOLDER.\n"
    );
    fs::write(folder.join(format!("sample-from-{port}.txt")), text)
}

impl App {
    /// Starts the node and its background tasks, on the current arbiter.
    ///
    /// It joins in the background, so that the program starts even if its contacts are down.
    pub(crate) async fn start(options: Options) -> Result<Self, StartFailed> {
        let Folders { share: shared, downloads, temporary } = Folders::of(&options)?;
        let share = Arc::new(Share::new(shared.clone(), downloads.clone()));
        let (queries, work) = mpsc::channel(QUERY_QUEUE);
        let state =
            Arc::new(State::new(Arc::clone(&share), downloads.clone(), options.ttl, queries));
        let config = Config::default()
            .max_peers(options.max_peers)
            .reply_timeout(REPLY_TIMEOUT)
            .drain_timeout(DRAIN_TIMEOUT);
        let mut builder = Peer::builder()
            .listen(options.listen.to_string())
            .config(config)
            .well_known()
            .stabilizer(PingSweep::new().every(options.ping_every));
        if options.table_only {
            builder = builder.without_gossip();
        }
        if let Some(id) = &options.id {
            builder = builder.id(id);
        }
        if options.test_handlers {
            builder = test_handlers::register(builder)?;
        }
        #[cfg(feature = "metrics")]
        crate::prometheus::install();
        let peer = serve::register(builder, &state)?.start().await?;
        state.set_peer(&peer);
        if temporary.is_some() {
            sample(&shared, peer.info().port()).map_err(StartFailed::Temporary)?;
        }
        let runtime = Handle::current();
        let inner = Inner {
            state: Arc::clone(&state),
            peer,
            runtime,
            shared,
            hops: options.hops,
            contacts: options.join,
            temporary: Mutex::new(temporary),
            web: OnceLock::new(),
        };
        let app = Self(Arc::new(inner));
        background::start(&app, work);
        Ok(app)
    }
}
