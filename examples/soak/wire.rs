//! A wire between two honest nodes that is cut every few seconds. It is in the process of the peers.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

/// What is not cut yet lives this long at least: a link whose hello is cut looks like a node that
/// speaks none.
const LEAST: Duration = Duration::from_secs(1);

/// Passes on what comes, each connection for a while.
pub(crate) async fn run(listener: TcpListener, to: SocketAddr, every: Duration, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    while let Ok((near, _)) = listener.accept().await {
        let lives = LEAST + (every - LEAST).mul_f64(2.0 * rng.f64());
        let reset = rng.bool();
        actix_rt::spawn(async move {
            if let Ok(far) = dial(to, reset).await {
                pass(near, far, lives).await;
            }
        });
    }
}

#[allow(deprecated, reason = "what replaces set_linger is younger than the oldest tokio taken")]
async fn dial(to: SocketAddr, reset: bool) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if reset {
        socket.set_linger(Some(Duration::ZERO))?;
    }
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What is on its way when the time is over is lost.
async fn pass(mut near: TcpStream, mut far: TcpStream, lives: Duration) {
    near.set_nodelay(true).ok();
    timeout(lives, copy_bidirectional(&mut near, &mut far)).await.map(drop).ok();
}
