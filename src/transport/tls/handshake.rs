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
    identity::id_of,
    places::Places,
    stream::{Stream, Wire, halves},
    verify::{Checks, Dialled, Diallers},
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
const LIMIT: Duration = Duration::from_secs(10);

/// The default number of concurrent handshakes.
const AT_ONCE: usize = 256;

/// Performs handshakes with one identity.
#[derive(Clone)]
pub(super) struct Handshakes {
    pub(super) identity: NodeIdentity,
    admission: Admission,
    pub(super) at_once: usize,
    pub(super) limit_loopback: bool,
    places: Arc<Places>,
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
            at_once,
            limit_loopback: _,
            identity: _,
            admission: _,
            places: _,
            server: _,
            provider: _,
        } = self;
        settings! {
            "TlsTransport::max_handshakes", "handshakes", at_once, PLACES;
        }
    }
}

impl Handshakes {
    pub(super) fn new(identity: NodeIdentity) -> Self {
        Self {
            identity,
            admission: Admission::open(),
            at_once: AT_ONCE,
            limit_loopback: false,
            places: Arc::new(Places::new(AT_ONCE)),
            server: OnceLock::new(),
            provider: Arc::new(ring::default_provider()),
        }
    }

    pub(super) fn set_places(&mut self, places: usize) {
        (self.at_once, self.places) = (places, Arc::new(Places::new(places)));
    }

    pub(super) fn set_admission(&mut self, admission: Admission) {
        self.admission = admission;
        self.server = OnceLock::new();
    }

    pub(super) const fn admission(&self) -> &Admission {
        &self.admission
    }

    fn checks(&self) -> Checks {
        Checks {
            me: self.identity.id().clone(),
            admission: self.admission.clone(),
            provider: Arc::clone(&self.provider),
        }
    }

    fn client(&self, verifier: Arc<Dialled>) -> Result<ClientConfig, Error> {
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
            .with_client_cert_verifier(Arc::new(Diallers(self.checks())))
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
        let Some(_place) = self.places.enter(remote.host(), self.limit_loopback).await else {
            return Err(io::ErrorKind::ConnectionAborted.into());
        };
        let config = self.server().map_err(|error| failed(&remote, error.to_string()))?;
        let accept = async {
            let accept = TlsAcceptor::from(config).accept(join(reader, writer));
            let stream = TlsStream::from(accept.await.map_err(|error| seen(error, &remote))?);
            let id = self.peer(&stream, &remote)?;
            let mut io = self.halves(stream, remote.clone(), id)?;
            io.writer.write_all(&ADMITTED).await?;
            io.writer.flush().await?;
            Ok(io)
        };
        let late = || IdentityFault::Late { at: remote.clone(), within: LIMIT };
        timeout(LIMIT, accept).await.map_err(|_| late())?
    }

    /// Performs the handshake on a dialled connection.
    pub(super) async fn dial(
        &self,
        dial: BoxFuture<'_, io::Result<Io>>,
        to: &Address,
        expected: Option<&PeerId>,
    ) -> io::Result<Io> {
        let Io { reader, writer, remote, .. } = dial.await?;
        let verifier = Arc::new(Dialled::new(self.checks(), to.clone(), expected.cloned()));
        let config = self.client(Arc::clone(&verifier));
        let config = config.map_err(|error| failed(to, error.to_string()))?;
        let wrong = |error| match verifier.take_fault() {
            Some(fault) => fault.into(),
            None => seen(error, to),
        };
        let connect = async {
            // The library requires a name; it is never sent.
            let name = ServerName::try_from("peer.invalid").map_err(io::Error::other)?;
            let connect = TlsConnector::from(Arc::new(config)).connect(name, join(reader, writer));
            let mut stream = TlsStream::from(connect.await.map_err(wrong)?);
            let id = self.peer(&stream, to)?;
            let mut head = [0; ADMITTED.len()];
            stream.read_exact(&mut head).await.map_err(|error| seen(error, to))?;
            if head != ADMITTED {
                return Err(failed(to, "the other side does not say that this node is admitted"));
            }
            self.halves(stream, remote, id)
        };
        let late = || IdentityFault::Late { at: to.clone(), within: LIMIT };
        timeout(LIMIT, connect).await.map_err(|_| late())?
    }
}

/// Converts an error of a handshake into the fault of the other side, if it is one.
fn seen(error: io::Error, at: &Address) -> io::Error {
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
