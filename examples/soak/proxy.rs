//! A proxy between two honest nodes that breaks connections every few seconds. It runs in the
//! process of the hostile peers.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

/// The minimum lifetime of a connection. If the hello of a link is lost, the peer counts as one
/// that does not support links.
const MIN_LIFETIME: Duration = Duration::from_secs(1);

/// Forwards each connection for a random time.
pub(crate) async fn run(listener: TcpListener, to: SocketAddr, every: Duration, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    while let Ok((near, _)) = listener.accept().await {
        let lifetime = MIN_LIFETIME + (every - MIN_LIFETIME).mul_f64(2.0 * rng.f64());
        let reset = rng.bool();
        actix_rt::spawn(async move {
            if let Ok(far) = dial(to, reset).await {
                forward(near, far, lifetime).await;
            }
        });
    }
}

#[allow(deprecated, reason = "the minimum version of tokio has no other way")]
async fn dial(to: SocketAddr, reset: bool) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if reset {
        socket.set_linger(Some(Duration::ZERO))?;
    }
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Forwards in both directions. Data in the buffers is lost when the time is up.
async fn forward(mut near: TcpStream, mut far: TcpStream, lifetime: Duration) {
    near.set_nodelay(true).ok();
    timeout(lifetime, copy_bidirectional(&mut near, &mut far)).await.map(drop).ok();
}
