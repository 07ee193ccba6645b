//! What the files of a configuration make of a client.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier,
    client::WantsClientCert,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::TlsFiles;
use crate::sink::SinkError;

/// The provider that every client here is given by hand, for with a second one among an embedding
/// program's crates rustls refuses to choose.
pub(in crate::sink) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn versions() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, SinkError> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))
}

impl TlsFiles {
    /// What a client needs for a handshake that checks the server's chain and name.
    ///
    /// # Errors
    /// A file that cannot be read or used: somebody has to mend it.
    pub(in crate::sink) fn client_config(&self) -> Result<ClientConfig, SinkError> {
        self.introduced(versions()?.with_root_certificates(self.authorities()?))
    }

    /// What a client needs for a handshake that checks the server in a way of its own.
    ///
    /// # Errors
    /// As [`TlsFiles::client_config`].
    #[cfg(feature = "postgres")]
    pub(in crate::sink) fn client_config_with(
        &self,
        check: Arc<dyn rustls::client::danger::ServerCertVerifier>,
    ) -> Result<ClientConfig, SinkError> {
        self.introduced(
            versions()?
                .dangerous()
                .with_custom_certificate_verifier(check),
        )
    }

    /// Adds what the client shows of itself.
    fn introduced(
        &self,
        builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    ) -> Result<ClientConfig, SinkError> {
        match &self.identity {
            None => Ok(builder.with_no_client_auth()),
            Some(identity) => {
                let chain = certificates("tls.certificate", &identity.certificate)?;
                let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(|error| {
                    unusable(format!("`tls.key` {}: {error}", identity.key.display()))
                })?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    unusable(format!(
                        "`tls.certificate` and `tls.key` do not go together: {error}"
                    ))
                })
            }
        }
    }

    /// The authorities to trust.
    ///
    /// # Errors
    /// As [`TlsFiles::client_config`].
    pub(in crate::sink) fn authorities(&self) -> Result<Arc<RootCertStore>, SinkError> {
        let mut store = RootCertStore::empty();
        let (added, from) = match &self.roots {
            Some(path) => {
                let (added, _) = store.add_parsable_certificates(certificates("tls.roots", path)?);
                (added, format!("`tls.roots` {}", path.display()))
            }
            None => {
                // What of the system's cannot be read is of no use; the rest may do.
                let found = rustls_native_certs::load_native_certs();
                let (added, _) = store.add_parsable_certificates(found.certs);
                (added, "this system's list of authorities".into())
            }
        };
        if added == 0 {
            return Err(unusable(format!("{from} holds no authority to trust")));
        }
        Ok(Arc::new(store))
    }
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, SinkError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(format!("`{key}` {}: {error}", path.display())))
}

fn unusable(what: String) -> SinkError {
    SinkError::halt("tls_unusable", format!("TLS cannot be set up: {what}"))
        .with_hint("correct `tls.roots`, `tls.certificate` and `tls.key`: PEM files that exist")
}
