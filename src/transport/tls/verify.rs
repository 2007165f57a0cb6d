//! The verifiers for the TLS library: whether the peer with a key is admitted.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use super::{Admission, identity::id_of};
use crate::{
    overlay::{Address, PeerId},
    sync::Mutex,
    transport::IdentityFault,
};

/// The checks of both sides.
#[derive(Clone)]
pub(super) struct PeerChecks {
    pub(super) me: PeerId,
    pub(super) admission: Admission,
    pub(super) provider: Arc<CryptoProvider>,
}

impl PeerChecks {
    fn admits(&self, id: &PeerId) -> bool {
        *id == self.me || self.admission.admits(id)
    }

    /// Checks that the peer has the private key.
    fn signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    }
}

/// The id of a key. There must be only one key, without a chain of certificates.
fn id(key: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<PeerId, Error> {
    let id = id_of(key).filter(|_| others.is_empty());
    id.ok_or_else(|| CertificateError::BadEncoding.into())
}

fn only_tls13() -> Result<HandshakeSignatureValid, Error> {
    Err(PeerIncompatible::Tls12NotOffered.into())
}

/// Verifies peers that dial this node.
pub(super) struct ClientVerifier(pub(super) PeerChecks);

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientVerifier").field(&self.0.admission).finish()
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let id = id(key, others)?;
        if self.0.admits(&id) {
            return Ok(ClientCertVerified::assertion());
        }
        tracing::debug!(peer = %id, "peer not admitted");
        // The dialler gets the alert "access denied".
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        only_tls13()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.signature(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Verifies the peer that this node dials. One for each dial.
pub(super) struct ServerVerifier {
    checks: PeerChecks,
    at: Address,
    expected: Option<PeerId>,
    /// The fault of the peer, if there was one.
    fault: Mutex<Option<IdentityFault>>,
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerVerifier")
            .field("at", &self.at)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl ServerVerifier {
    pub(super) fn new(checks: PeerChecks, at: Address, expected: Option<PeerId>) -> Self {
        Self { checks, at, expected, fault: Mutex::default() }
    }

    pub(super) fn take_fault(&self) -> Option<IdentityFault> {
        self.fault.lock().take()
    }

    fn wrong(&self, fault: IdentityFault, error: CertificateError) -> Error {
        *self.fault.lock() = Some(fault);
        error.into()
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        id(key, others)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        only_tls13()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let proven = self.checks.signature(message, key, signature)?;
        // Not earlier: only now the id of the peer is proven.
        let (id, at) = (id(key, &[])?, self.at.clone());
        if let Some(expected) = self.expected.clone().filter(|expected| *expected != id) {
            let fault = IdentityFault::WrongPeer { at, expected, found: id };
            return Err(self.wrong(fault, CertificateError::NotValidForName));
        }
        if !self.checks.admits(&id) {
            let fault = IdentityFault::NotAdmitted { at, id };
            return Err(self.wrong(fault, CertificateError::ApplicationVerificationFailure));
        }
        Ok(proven)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
