//! The handshakes of both sides.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::future::BoxFuture;
use rustls::{
    AlertDescription, ClientConfig, Error, InvalidMessage, ServerConfig,
    client::{AlwaysResolvesClientRawPublicKeys, Resumption},
    crypto::{CryptoProvider, ring},
    pki_types::ServerName,
    server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage},
    version::TLS13,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, join},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::{
    Admission, NodeIdentity,
    handshake_permits::HandshakePermits,
    identity::id_of,
    stream::{Stream, Wire, halves},
    verify::{ClientVerifier, PeerChecks, ServerVerifier},
};
use crate::{
    overlay::{
        Address, PeerId,
        options::{Options, PLACES, Setting, settings},
    },
    transport::{IdentityFault, Io},
};

/// The application protocol: frames.
const ALPN: &[u8] = b"actix-peer/1";

/// The empty frame that tells the dialler that it is admitted: a code of the framework, length 0.
const ADMITTED: [u8; 8] = *b"@ADM\0\0\0\0";

/// The time-out for a handshake of either side: many round trips on the slowest network. The limits
/// of the node apply as well, and those are options:
/// [`Config::header_timeout`](crate::Config::header_timeout) from accepting a connection to its
/// first frame, and [`Config::connect_timeout`](crate::Config::connect_timeout) for a dial.
const TIME_OUT: Duration = Duration::from_secs(10);

/// The default number of concurrent handshakes.
const MAX_HANDSHAKES: usize = 256;

/// Performs handshakes with one identity.
#[derive(Clone)]
pub(super) struct Handshakes {
    pub(super) identity: NodeIdentity,
    admission: Admission,
    pub(super) max_handshakes: usize,
    pub(super) limit_loopback: bool,
    permits: Arc<HandshakePermits>,
    /// Created when the first connection is accepted.
    server: OnceLock<Arc<ServerConfig>>,
    provider: Arc<CryptoProvider>,
}

fn failed(at: &Address, reason: impl Into<String>) -> io::Error {
    IdentityFault::Handshake { at: at.clone(), reason: reason.into() }.into()
}

impl Options for Handshakes {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let Self {
            max_handshakes,
            limit_loopback: _,
            identity: _,
            admission: _,
            permits: _,
            server: _,
            provider: _,
        } = self;
        settings! {
            "TlsTransport::max_handshakes", "handshakes", max_handshakes, PLACES;
        }
    }
}

impl Handshakes {
    pub(super) fn new(identity: NodeIdentity) -> Self {
        Self {
            identity,
            admission: Admission::open(),
            max_handshakes: MAX_HANDSHAKES,
            limit_loopback: false,
            permits: Arc::new(HandshakePermits::new(MAX_HANDSHAKES)),
            server: OnceLock::new(),
            provider: Arc::new(ring::default_provider()),
        }
    }

    pub(super) fn set_max_handshakes(&mut self, permits: usize) {
        (self.max_handshakes, self.permits) = (permits, Arc::new(HandshakePermits::new(permits)));
    }

    pub(super) fn set_admission(&mut self, admission: Admission) {
        self.admission = admission;
        self.server = OnceLock::new();
    }

    pub(super) const fn admission(&self) -> &Admission {
        &self.admission
    }

    fn checks(&self) -> PeerChecks {
        PeerChecks {
            me: self.identity.id().clone(),
            admission: self.admission.clone(),
            provider: Arc::clone(&self.provider),
        }
    }

    fn client(&self, verifier: Arc<ServerVerifier>) -> Result<ClientConfig, Error> {
        let key = AlwaysResolvesClientRawPublicKeys::new(self.identity.certified());
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(key));
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        config.enable_sni = false;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }

    fn server(&self) -> Result<Arc<ServerConfig>, Error> {
        if let Some(config) = self.server.get() {
            return Ok(Arc::clone(config));
        }
        let key = AlwaysResolvesServerRawPublicKeys::new(self.identity.certified());
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(ClientVerifier(self.checks())))
            .with_cert_resolver(Arc::new(key));
        // With a ticket, a banned peer could resume a session without a proof of its key.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Arc::clone(self.server.get_or_init(|| Arc::new(config))))
    }

    /// The id of the peer after a complete handshake.
    fn peer(&self, stream: &TlsStream<Wire>, at: &Address) -> io::Result<PeerId> {
        let session = stream.get_ref().1;
        if session.alpn_protocol() != Some(ALPN) {
            return Err(failed(at, "the other side speaks another protocol"));
        }
        let key = session.peer_certificates().and_then(|keys| keys.first());
        key.and_then(|key| id_of(key)).ok_or_else(|| failed(at, "the other side has no key"))
    }

    fn halves(&self, stream: TlsStream<Wire>, at: Address, id: PeerId) -> io::Result<Io> {
        let others = Some(&self.admission).filter(|_| id != *self.identity.id());
        Ok(halves(Stream::Tls(Box::new(stream), id), at, others)?)
    }

    /// A plain connection, which is closed when plain connections are no longer admitted.
    pub(super) fn plain(&self, io: Io) -> io::Result<Io> {
        let Io { reader, writer, remote, .. } = io;
        Ok(halves(Stream::Plain(join(reader, writer)), remote, Some(&self.admission))?)
    }

    /// Performs the handshake of an accepted connection, with any admitted peer.
    pub(super) async fn accept(&self, io: Io) -> io::Result<Io> {
        let Io { reader, writer, remote, .. } = io;
        let Some(_permit) = self.permits.acquire(remote.host(), self.limit_loopback).await else {
            return Err(io::ErrorKind::ConnectionAborted.into());
        };
        let config = self.server().map_err(|error| failed(&remote, error.to_string()))?;
        let accept = async {
            let accept = TlsAcceptor::from(config).accept(join(reader, writer));
            let stream = TlsStream::from(accept.await.map_err(|error| as_fault(error, &remote))?);
            let id = self.peer(&stream, &remote)?;
            let mut io = self.halves(stream, remote.clone(), id)?;
            io.writer.write_all(&ADMITTED).await?;
            io.writer.flush().await?;
            Ok(io)
        };
        let late = || IdentityFault::Late { at: remote.clone(), within: TIME_OUT };
        timeout(TIME_OUT, accept).await.map_err(|_| late())?
    }

    /// Performs the handshake on a dialled connection.
    pub(super) async fn dial(
        &self,
        dial: BoxFuture<'_, io::Result<Io>>,
        to: &Address,
        expected: Option<&PeerId>,
    ) -> io::Result<Io> {
        let Io { reader, writer, remote, .. } = dial.await?;
        let verifier = Arc::new(ServerVerifier::new(self.checks(), to.clone(), expected.cloned()));
        let config = self.client(Arc::clone(&verifier));
        let config = config.map_err(|error| failed(to, error.to_string()))?;
        let wrong = |error| match verifier.take_fault() {
            Some(fault) => fault.into(),
            None => as_fault(error, to),
        };
        let connect = async {
            // The library requires a name; it is never sent.
            let name = ServerName::try_from("peer.invalid").map_err(io::Error::other)?;
            let connect = TlsConnector::from(Arc::new(config)).connect(name, join(reader, writer));
            let mut stream = TlsStream::from(connect.await.map_err(wrong)?);
            let id = self.peer(&stream, to)?;
            let mut head = [0; ADMITTED.len()];
            stream.read_exact(&mut head).await.map_err(|error| as_fault(error, to))?;
            if head != ADMITTED {
                return Err(failed(to, "the other side does not say that this node is admitted"));
            }
            self.halves(stream, remote, id)
        };
        let late = || IdentityFault::Late { at: to.clone(), within: TIME_OUT };
        timeout(TIME_OUT, connect).await.map_err(|_| late())?
    }
}

/// Converts an error of a handshake into the fault of the other side, if it is one.
fn as_fault(error: io::Error, at: &Address) -> io::Error {
    let at = at.clone();
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::AlertReceived(AlertDescription::AccessDenied)) => {
            IdentityFault::Refused { at }.into()
        }
        // The first received byte is not that of a record.
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            IdentityFault::NotTls { at }.into()
        }
        Some(error) => IdentityFault::Handshake { at, reason: error.to_string() }.into(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            failed(&at, "the other side closed the connection")
        }
        // An error of the network.
        None => error,
    }
}
