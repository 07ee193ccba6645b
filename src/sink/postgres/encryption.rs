//! `sslmode`: whether a connection is encrypted, and what the server's certificate has to show.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio_postgres::config;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::sink::{
    SinkError,
    postgres::options::{Address, SslMode},
    tls,
};

/// What servers that begin with TLS at once want to hear (`sslnegotiation=direct`).
const PROTOCOL: &[u8] = b"postgresql";

/// The client's word for a mode: whether it is encrypted, the server's certificate apart.
pub(super) const fn client_mode(mode: SslMode) -> config::SslMode {
    match mode {
        SslMode::Disable => config::SslMode::Disable,
        SslMode::Prefer => config::SslMode::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => config::SslMode::Require,
    }
}

/// What makes the handshakes, `None` where there are none.
///
/// # Errors
/// A file that cannot be read or used.
pub(super) fn connector(address: &Address) -> Result<Option<MakeRustlsConnect>, SinkError> {
    let files = &address.tls;
    let mut config = match (address.sslmode, &files.roots) {
        (SslMode::Disable, _) => return Ok(None),
        (SslMode::VerifyFull, _) => files.client_config()?,
        (SslMode::Prefer, _) | (SslMode::Require, None) => {
            files.client_config_with(Arc::new(Lenient::anybody()))?
        }
        (SslMode::VerifyCa, _) | (SslMode::Require, Some(_)) => {
            files.client_config_with(Arc::new(Lenient::any_name(files)?))?
        }
    };
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Some(MakeRustlsConnect::new(config)))
}

/// A check of the server that asks for less than the whole: no name, or nothing but that the server
/// has the key of the certificate it shows.
#[derive(Debug)]
struct Lenient {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl Lenient {
    fn anybody() -> Self {
        Self {
            chain: None,
            provider: tls::provider(),
        }
    }

    fn any_name(files: &tls::TlsFiles) -> Result<Self, SinkError> {
        let provider = tls::provider();
        let chain =
            WebPkiServerVerifier::builder_with_provider(files.authorities()?, provider.clone())
                .build()
                .map_err(|error| {
                    SinkError::halt("tls_unusable", format!("TLS cannot be set up: {error}"))
                        .with_hint("correct `tls.roots`")
                })?;
        Ok(Self {
            chain: Some(chain),
            provider,
        })
    }
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        let checked =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match checked {
            // The name is looked at last, so everything else is as it should be.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
