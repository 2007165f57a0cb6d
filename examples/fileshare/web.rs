//! The web server of an instance: the JSON API, the live events and the page. `API.md` describes
//! it.

mod api;
mod assets;
mod body;
mod events;
mod failure;
mod guard;
mod upload;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use actix_peer::{overlay::Address, transport::tcp::bind_all};
use actix_web::{App as Pages, HttpServer, dev::ServerHandle, middleware, web};
use tokio::{sync::Semaphore, task::JoinHandle};

use crate::{app::App, instances::Announced};

use events::Hub;
use guard::Rules;

/// The number of threads. Two, so that a long list does not delay other answers.
const WORKERS: usize = 2;

/// The maximum number of open connections of each thread.
const MAX_CONNECTIONS: usize = 256;

/// The time-out from accept to the end of the headers.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);

/// How long `stop` waits for open calls. Longer ones, such as uploads, are aborted.
const STOP_WITHIN_SECONDS: u64 = 2;

/// The minimum length of a token for an address that other machines can reach.
const MIN_TOKEN: usize = 16;

/// The state of all handlers.
struct Site {
    app: App,
    rules: Rules,
    hub: Hub,
    /// One permit for each running upload.
    uploads: Semaphore,
    /// One permit for each JSON body that is being received.
    json_bodies: Semaphore,
}

/// A running web server; it ends with [`stop`](Self::stop).
#[derive(Debug)]
pub(crate) struct Served {
    /// The address of the page, with the token if there is one.
    pub(crate) url: String,
    handle: ServerHandle,
    serving: JoinHandle<io::Result<()>>,
    hub: Hub,
    /// Lets the subcommands find this instance.
    announced: Option<Announced>,
}

impl Served {
    /// Ends the live events, finishes open calls, and closes the port.
    pub(crate) async fn stop(self) {
        drop(self.announced);
        self.hub.stop();
        self.handle.stop(true).await;
        let served = self.serving.await;
        if let Err(error) = served.unwrap_or_else(|error| Err(io::Error::other(error))) {
            eprintln!("the web server failed: {error}");
        }
    }
}

/// Serves `app` at `listen`, and at all addresses of a name.
///
/// # Errors
/// - `InvalidInput`: other machines can reach the address, and the token is missing or too short.
/// - Any other: cannot listen on the address. Nothing was started.
pub(crate) fn serve(app: App, listen: &Address, token: Option<String>) -> io::Result<Served> {
    let listeners = bind(listen, token.as_deref())?;
    let addresses: Vec<_> =
        listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
    let address = *addresses.first().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let url = format!("http://{}/", reached_at(address));
    app.set_web(&url);
    let hub = Hub::start(&app);
    let announced = Announced::new(&url, token.as_deref()).inspect_err(|error| {
        eprintln!("subcommands cannot find this instance without --web: {error}")
    });
    let shown = token.as_deref().map_or_else(|| url.clone(), |token| guard::entrance(&url, token));
    let site = web::Data::from(Arc::new(Site {
        app,
        rules: Rules::new(&addresses, token.as_deref()),
        hub: hub.clone(),
        uploads: Semaphore::new(upload::MAX_UPLOADS),
        json_bodies: Semaphore::new(body::MAX_JSON_BODIES),
    }));
    let mut server = HttpServer::new(move || {
        Pages::new()
            .app_data(site.clone())
            .wrap(middleware::from_fn(guard::pass))
            .configure(api::routes)
            .configure(assets::routes)
            .default_service(web::to(failure::nothing_here))
    })
    .workers(WORKERS)
    .max_connections(MAX_CONNECTIONS)
    .client_request_timeout(HEADERS_WITHIN)
    // The permit of a listener is released as soon as its client closes the connection.
    .h1_allow_half_closed(false)
    .shutdown_timeout(STOP_WITHIN_SECONDS)
    .disable_signals();
    for listener in listeners {
        server = server.listen(listener)?;
    }
    let server = server.run();
    let handle = server.handle();
    let serving = actix_rt::spawn(server);
    Ok(Served { url: shown, handle, serving, hub, announced: announced.ok() })
}

fn bind(listen: &Address, token: Option<&str>) -> io::Result<Vec<TcpListener>> {
    let refuse = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    let addresses: Vec<SocketAddr> = listen.to_string().to_socket_addrs()?.collect();
    if token.is_some_and(str::is_empty) {
        return refuse("the token must not be empty".into());
    }
    if addresses.iter().any(|address| !address.ip().is_loopback())
        && token.is_none_or(|token| token.chars().count() < MIN_TOKEN)
    {
        return refuse(format!(
            "others can reach {listen}: give a --token of at least {MIN_TOKEN} characters, or a loopback address"
        ));
    }
    bind_all(&addresses)
}

/// An address that a browser on this machine can open.
fn reached_at(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}
