//! Other programs at a TLS port: wrong keys, wrong versions, wrong protocols.

use std::sync::Arc;

use actix_peer::{
    Outgoing, Over, Peer, RequestError,
    frame::Frame,
    transport::{
        IdentityFault, Io, Transport,
        memory::MemoryNetwork,
        tls::{Admission, Policy},
    },
};
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, HandshakeKind,
    ServerConfig, SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring::{default_provider, sign::any_eddsa_type},
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime, pem::PemObject},
    server::{
        AlwaysResolvesServerRawPublicKeys,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::TLS13,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Join, join};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use crate::{SECOND, all, counts, host, pass, start, transport};

/// A private key, and a certificate that is signed with it.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIGw4F3pHV3Jzx9f/L79p2aNRc4SZLBbL8gexCFO5ntjd\n\
    -----END PRIVATE KEY-----\n";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\n\
    MIIBNDCB56ADAgECAhQB7AvnP8sEJilk/OH9RCxkJtKBHjAFBgMrZXAwDzENMAsG\n\
    A1UEAwwEcGVlcjAgFw0yNjExMjQyMzA0MjBaGA8yMTI2MTAzMTIzMDQyMFowDzEN\n\
    MAsGA1UEAwwEcGVlcjAqMAUGAytlcAMhAF751D6OfdHrWPd6sovY0vewhZuNiOp1\n\
    +jNXKN2djX4Zo1MwUTAdBgNVHQ4EFgQUb6MCCNUjgOtLpuHOTn3uTmAgP58wHwYD\n\
    VR0jBBgwFoAUb6MCCNUjgOtLpuHOTn3uTmAgP58wDwYDVR0TAQH/BAUwAwEB/zAF\n\
    BgMrZXADQQCGNoCSysUMKX/18DusDtCQnMiKLmlpbpbvASUYEZUCBcpPv4xuf7/I\n\
    WkyoaJndY4yTMvhEgiL80bXwhgV5CvwC\n\
    -----END CERTIFICATE-----\n";

/// The public key of `KEY` as `openssl` shows it.
const ID: &str = "5ef9d43e8e7dd1eb58f77ab28bd8d2f7b0859b8d88ea75fa335728dd9d8d7e19";

/// Accepts every certificate and signature.
#[derive(Debug)]
struct Gullible {
    raw: bool,
}

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.raw
    }
}

impl ClientCertVerifier for Gullible {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.raw
    }
}

/// `KEY`, shown as these keys or certificates.
fn shown_as(shown: Vec<CertificateDer<'static>>) -> Arc<CertifiedKey> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    Arc::new(CertifiedKey::new(shown, any_eddsa_type(&key).unwrap()))
}

/// A public key in the encoding of a handshake.
fn spki(id: &str) -> CertificateDer<'static> {
    let byte = |at: usize| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap();
    let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    CertificateDer::from(prefix.into_iter().chain((0..32).map(byte)).collect::<Vec<_>>())
}

fn own_key() -> Arc<dyn ResolvesClientCert> {
    Arc::new(AlwaysResolvesClientRawPublicKeys::new(shown_as(vec![spki(ID)])))
}

/// A client that shows this key and accepts every server.
fn client(key: Option<Arc<dyn ResolvesClientCert>>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible { raw: true }));
    let mut config = match key {
        Some(key) => builder.with_client_cert_resolver(key),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"actix-peer/1".to_vec()];
    config
}

type Stream = TlsStream<Join<Reader, Writer>>;
type Reader = Box<dyn tokio::io::AsyncRead + Send + Unpin>;
type Writer = Box<dyn tokio::io::AsyncWrite + Send + Unpin>;

/// Connects, and waits for the frame `@ADM`, by which the node admits the client.
async fn connect(
    wires: &MemoryNetwork,
    to: &Peer,
    config: &Arc<ClientConfig>,
) -> Result<Stream, std::io::Error> {
    let Io { reader, writer, .. } = host(wires, "eve").dial(to.info().address()).await.unwrap();
    let name = ServerName::try_from("peer.invalid").unwrap();
    let mut stream =
        TlsConnector::from(Arc::clone(config)).connect(name, join(reader, writer)).await?;
    let mut admitted = [0; 8];
    stream.read_exact(&mut admitted).await?;
    assert_eq!(&admitted, b"@ADM\0\0\0\0");
    Ok(stream)
}

fn alert(error: &std::io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref()? {
        Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

#[actix::test]
async fn the_id_is_the_public_key_that_openssl_shows() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let bob = start("bob", transport(&wires, "bob")).await;
    let mut stream = connect(&wires, &bob, &Arc::new(client(Some(own_key())))).await.unwrap();
    stream.write_all(b"WHO_\0\0\0\0").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(String::from_utf8(answer[8..].to_vec()).unwrap(), format!("Proven({ID:?})"));
}

#[actix::test]
async fn a_banned_client_cannot_return_with_an_old_session() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let admission = Admission::open();
    let bob = start("bob", transport(&wires, "bob").admission(admission.clone())).await;
    // The client keeps sessions as long as it can, and would send early data.
    let mut config = client(Some(own_key()));
    config.enable_early_data = true;
    let config = Arc::new(config);
    for _ in 0..3 {
        let mut stream = connect(&wires, &bob, &config).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        // A ticket would arrive by now.
        stream.write_all(b"WHO_\0\0\0\0").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
    }
    admission.set(Policy::BanList([ID.parse().unwrap()].into()));
    let error = connect(&wires, &bob, &config).await.err().unwrap();
    assert_eq!(alert(&error), Some(AlertDescription::AccessDenied));
}

#[actix::test]
async fn a_public_key_without_its_private_key_proves_nothing() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let admission = Admission::allow_list([crate::id_of("ada")]);
    let bob = start("bob", transport(&wires, "bob").admission(admission)).await;
    let stolen = shown_as(vec![spki(crate::id_of("ada").as_str())]);
    let config = client(Some(Arc::new(AlwaysResolvesClientRawPublicKeys::new(stolen))));
    let error = connect(&wires, &bob, &Arc::new(config)).await.err().unwrap();
    assert!(
        alert(&error).is_some_and(|alert| alert != AlertDescription::AccessDenied),
        "{error:?}"
    );
    assert_eq!(counts(&bob).await.errors_handshake, 1);
}

/// The error of a node that asks for Bob at a server that shows this key.
async fn asks_for_bob(key: Arc<CertifiedKey>) -> IdentityFault {
    let wires = MemoryNetwork::new(1);
    let ada = start("ada", transport(&wires, "ada")).await;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(Gullible { raw: true }))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
    config.alpn_protocols = vec![b"actix-peer/1".to_vec()];
    let eve = async {
        let over = host(&wires, "eve");
        let mut listener = over.listen(&"eve:9000".parse().unwrap()).await.unwrap();
        let io = std::future::poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
        let Io { reader, writer, .. } = io;
        let stream = TlsAcceptor::from(Arc::new(config)).accept(join(reader, writer)).await;
        assert!(stream.is_err(), "the dialler does not show its key to another peer");
    };
    let asked = async {
        pass(SECOND).await;
        let message = Outgoing::from(Frame::empty("ECHO")).over(Over::Classic);
        ada.request(crate::info("bob", "eve"), message).await.unwrap_err()
    };
    let ((), error) = tokio::join!(eve, asked);
    match error {
        RequestError::Identity(fault) => fault,
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn a_server_that_shows_the_key_of_another_is_neither_accepted_nor_named() {
    tokio::time::pause();
    // Bob's public key without its private part: the error names no id.
    let stolen = asks_for_bob(shown_as(vec![spki(crate::id_of("bob").as_str())])).await;
    assert!(matches!(stolen, IdentityFault::Handshake { .. }), "{stolen:?}");
    // The same with Cyd's key: the error does not name Cyd.
    let stolen = asks_for_bob(shown_as(vec![spki(crate::id_of("cyd").as_str())])).await;
    assert!(matches!(stolen, IdentityFault::Handshake { .. }), "{stolen:?}");
    // The server's own key: the error names its id.
    let own = asks_for_bob(shown_as(vec![spki(ID)])).await;
    assert!(
        matches!(&own, IdentityFault::WrongPeer { found, .. } if found.as_str() == ID),
        "{own:?}"
    );
}

#[actix::test]
async fn a_client_without_a_key_or_with_a_certificate_is_refused() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let bob = start("bob", transport(&wires, "bob")).await;
    assert!(connect(&wires, &bob, &Arc::new(client(None))).await.is_err());
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
    let key = PrivatePkcs8KeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible { raw: false }))
        .with_client_auth_cert(vec![certificate], key.into())
        .unwrap();
    config.alpn_protocols = vec![b"actix-peer/1".to_vec()];
    assert!(connect(&wires, &bob, &Arc::new(config)).await.is_err());
    let counts = counts(&bob).await;
    assert_eq!((counts.errors_handshake, counts.exchanges_in), (2, 0));
}

#[actix::test]
async fn more_than_one_key_or_an_oversized_key_is_refused() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let bob = start("bob", transport(&wires, "bob")).await;
    let many = vec![spki(ID); 100];
    let long = vec![CertificateDer::from(vec![0x30; 60_000])];
    let cut = vec![CertificateDer::from(spki(ID)[..43].to_vec())];
    for shown in [many, long, cut] {
        let config = client(Some(Arc::new(Certificates(shown_as(shown)))));
        assert!(connect(&wires, &bob, &Arc::new(config)).await.is_err());
    }
    assert_eq!(counts(&bob).await.errors_handshake, 3);
}

/// Shows these bytes as a raw key.
#[derive(Debug)]
struct Certificates(Arc<CertifiedKey>);

impl ResolvesClientCert for Certificates {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[actix::test]
async fn another_protocol_over_tls_is_refused() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let bob = start("bob", transport(&wires, "bob")).await;
    for protocols in [vec![], vec![b"h2".to_vec()], vec![b"actix-peer/2".to_vec()]] {
        let mut config = client(Some(own_key()));
        config.alpn_protocols = protocols.clone();
        assert!(connect(&wires, &bob, &Arc::new(config)).await.is_err(), "{protocols:?}");
    }
    assert_eq!(counts(&bob).await.errors_handshake, 3);
}

#[actix::test]
async fn an_older_version_of_tls_is_refused_without_a_plain_frame() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let bob = start("bob", transport(&wires, "bob")).await;
    for version in [1, 2, 3] {
        // A complete ClientHello of TLS 1.0 to 1.2: version, random, no session, two ciphers.
        let mut hello = vec![3, version];
        hello.extend_from_slice(&[7; 32]);
        hello.extend_from_slice(&[0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0]);
        let len = u8::try_from(hello.len()).unwrap();
        let mut record = vec![0x16, 3, 1, 0, len + 4, 1, 0, 0, len];
        record.extend_from_slice(&hello);
        let mut io = host(&wires, "old").dial(bob.info().address()).await.unwrap();
        io.writer.write_all(&record).await.unwrap();
        let answer = all(&mut io).await;
        // One fatal alert: protocol version, or the reply to a hello without extensions.
        assert_eq!((answer.len(), answer[0], answer[5]), (7, 0x15, 2), "{version}: {answer:?}");
    }
    assert_eq!(counts(&bob).await.errors_handshake, 3);
}

#[actix::test]
async fn a_tls_dial_to_a_plain_port_fails_with_an_error_that_says_so() {
    tokio::time::pause();
    let wires = MemoryNetwork::new(1);
    let old = start("old", host(&wires, "old")).await;
    let at = old.info().address();
    let error = transport(&wires, "ada").dial(at).await.err().unwrap();
    assert_eq!(IdentityFault::of(&error), Some(&IdentityFault::NotTls { at: at.clone() }));
    assert_eq!(error.to_string(), "the program at old:9000 does not speak TLS");
    assert_eq!(counts(&old).await.unknown_codes, 1);
}
