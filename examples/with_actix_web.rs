//! A node inside a web application: pages about the network, and requests to peers over HTTP.
//!
//! `cargo run --example with_actix_web` sends three requests and ends. With `-- --serve` it runs
//! until ctrl-C, for a browser. With `--features metrics` it also has `/metrics` for Prometheus.
//!
//! ```text
//! $ cargo run --example with_actix_web
//! http://127.0.0.1:… shows a node on 127.0.0.1:…
//! GET /peers -> 200 ["bob 127.0.0.1 …"]
//! GET /ask/bob/hello -> 200 hello
//! GET /ask/eve/hello -> 502 no known peer has the id eve
//! ```

#[macro_use]
#[path = "support/print.rs"]
mod print;

#[path = "support/ends.rs"]
mod ends;
#[cfg(feature = "metrics")]
#[path = "support/prometheus.rs"]
mod prometheus;

use actix::prelude::*;
use actix_peer::{Incoming, Peer, PeerId, Reply, frame::Frame, handler};
use actix_web::{App, HttpResponse, HttpServer, Responder, error, get, web};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[get("/status")]
async fn status(peer: web::Data<Peer>) -> impl Responder {
    web::Json(peer.status().await)
}

#[get("/peers")]
async fn peers(peer: web::Data<Peer>) -> actix_web::Result<impl Responder> {
    let list = peer.peers().list().await.map_err(error::ErrorServiceUnavailable)?;
    Ok(web::Json(list.iter().map(|entry| entry.info().to_string()).collect::<Vec<_>>()))
}

#[cfg(feature = "metrics")]
#[get("/metrics")]
async fn metrics(peer: web::Data<Peer>) -> impl Responder {
    HttpResponse::Ok().content_type(prometheus::CONTENT_TYPE).body(prometheus::scrape(&peer).await)
}

#[get("/ask/{id}/{text}")]
async fn ask(
    path: web::Path<(String, String)>,
    peer: web::Data<Peer>,
) -> actix_web::Result<HttpResponse> {
    let (id, text) = path.into_inner();
    let id: PeerId = id.parse().map_err(error::ErrorBadRequest)?;
    let replies =
        peer.request(&id, Frame::text("ECHO", text)).await.map_err(error::ErrorBadGateway)?;
    let replies = replies.collect().await.map_err(error::ErrorBadGateway)?;
    let data = replies.into_iter().next().ok_or_else(|| error::ErrorBadGateway("no reply"))?;
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(data.into_data()))
}

/// Sends a request over HTTP and prints the answer.
async fn get(server: std::net::SocketAddr, path: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(server).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let code = answer.split(' ').nth(1).unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    println!("GET {path} -> {code} {body}");
    Ok(())
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let serve = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [only] if only == "--serve" => true,
        _ => {
            eprintln!("usage: with_actix_web [--serve]");
            std::process::exit(2);
        }
    };
    #[cfg(feature = "metrics")]
    prometheus::install();
    let echo = handler::from_fn(async |msg: Incoming| Reply::one(msg.frame));
    let bob = Peer::builder().id("bob").well_known().handle("ECHO", echo.start())?.start().await?;
    let peer = Peer::builder().id("web").well_known().start().await?;
    peer.join(&bob.info().address().to_string()).await?;

    // The handle is Send, Sync and cheap to clone: each worker of the web server has one.
    let data = web::Data::new(peer.clone());
    let app = move || {
        let app = App::new().app_data(data.clone()).service(status).service(peers).service(ask);
        #[cfg(feature = "metrics")]
        let app = app.service(metrics);
        app
    };
    let server = HttpServer::new(app).workers(1).disable_signals().bind("127.0.0.1:0")?;
    let address = server.addrs().first().copied().ok_or("the web server has no address")?;
    let server = server.run();
    let handle = server.handle();
    let serving = actix_rt::spawn(server);

    println!("http://{address} shows a node on {}", peer.info().address());
    for path in ["/peers", "/ask/bob/hello", "/ask/eve/hello"] {
        get(address, path).await?;
    }
    if serve {
        let mut ends = ends::Ends::new()?;
        println!("open http://{address}/status; ctrl-C ends");
        ends.next().await;
    }

    handle.stop(true).await;
    serving.await??;
    peer.stop().await;
    bob.stop().await;
    Ok(())
}
