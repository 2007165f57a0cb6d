//! The HTTP side of one instance: the JSON API, the live events and the page. `API.md` describes it.

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

/// Threads that answer. The work is small; a second one keeps a long list from holding the others up.
const WORKERS: usize = 2;

/// Connections open at once on each thread: some browsers with a few each.
const MAX_CONNECTIONS: usize = 256;

/// From accept to the end of the headers.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);

/// How long `stop` waits for answers under way. Longer ones, such as uploads, are cut.
const STOP_WITHIN_SECONDS: u64 = 2;

/// Characters of a token that guards an address which others can reach.
const MIN_TOKEN: usize = 16;

/// What every answer needs.
struct Site {
    app: App,
    rules: Rules,
    hub: Hub,
    /// One permit for each upload under way.
    uploads: Semaphore,
    /// One permit for each JSON body that is awaited.
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
    /// Ends the live events, finishes the answers under way, and closes the port.
    pub(crate) async fn stop(self) {
        drop(self.announced);
        self.hub.stop();
        self.handle.stop(true).await;
        let served = self.serving.await;
        if let Err(error) = served.unwrap_or_else(|error| Err(io::Error::other(error))) {
            eprintln!("the web server ended badly: {error}");
        }
    }
}

/// Serves `app` at `listen`, and at all addresses of a name.
///
/// # Errors
/// - `InvalidInput`: others could reach the address, and no long enough token guards it.
/// - Any other: the address cannot be listened on. Nothing was started.
pub(crate) fn serve(app: App, listen: &Address, token: Option<String>) -> io::Result<Served> {
    let listeners = bind(listen, token.as_deref())?;
    let addresses: Vec<_> =
        listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
    let address = *addresses.first().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let url = format!("http://{}/", reached_at(address));
    app.set_web(&url);
    let hub = Hub::start(&app);
    let announced = Announced::new(&url, token.as_deref())
        .inspect_err(|error| eprintln!("subcommands will not find this instance: {error}"));
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
    // Who closes a listener's connection frees its place at once.
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
        return refuse("an empty token guards nothing".into());
    }
    if addresses.iter().any(|address| !address.ip().is_loopback())
        && token.is_none_or(|token| token.chars().count() < MIN_TOKEN)
    {
        return refuse(format!(
            "others can reach {listen}: give --token with at least {MIN_TOKEN} characters, or a loopback address"
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
