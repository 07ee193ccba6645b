//! Files that a client reads by itself, looked at before anything starts.

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::{problem::Problem, secrets::SecretSource};

/// A file that a key names, and what it must hold.
#[derive(Clone, Debug)]
pub(super) struct NamedFile {
    source: SecretSource,
    holds: Holds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    #[cfg(feature = "nats")]
    Credentials,
    #[cfg(feature = "nats")]
    Seed,
    Certificates,
    PrivateKey,
}

impl NamedFile {
    pub(super) const fn new(source: SecretSource, holds: Holds) -> Self {
        Self { source, holds }
    }

    /// Reads it; what it holds is never part of the message.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let text = match self.holds {
            Holds::Certificates => self.source.reveal_public()?,
            _ => self.source.reveal()?,
        };
        let text = text.reveal();
        let certificates = || CertificateDer::pem_slice_iter(text.as_bytes());
        let (fits, wanted) = match self.holds {
            #[cfg(feature = "nats")]
            Holds::Credentials => (
                text.contains("BEGIN NATS USER JWT") && text.contains("BEGIN USER NKEY SEED"),
                "credentials: a user's JWT and seed, as `nsc generate creds` writes them",
            ),
            #[cfg(feature = "nats")]
            Holds::Seed => (
                text.trim().starts_with("SU"),
                "a user's nkey seed, which begins with SU",
            ),
            Holds::Certificates => (
                certificates().next().is_some() && certificates().all(|one| one.is_ok()),
                "certificates in PEM",
            ),
            Holds::PrivateKey => (
                PrivateKeyDer::from_pem_slice(text.as_bytes()).is_ok(),
                "a private key in PEM",
            ),
        };
        match fits {
            true => Ok(()),
            false => Err(self.source.problem(format!("the file holds no {wanted}"))),
        }
    }
}
