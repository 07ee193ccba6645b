//! TLS as every client here speaks it: rustls with `ring`, the system's authorities or those of a
//! file, perhaps a certificate of the device's own (`client`); and what a failed handshake means.

#[cfg(any(feature = "mqtt", feature = "postgres"))]
mod client;

#[cfg(feature = "postgres")]
pub(super) use client::provider;

use std::path::PathBuf;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use crate::{
    clock::{Clock as _, SystemClock},
    sink::SinkError,
};

/// The certificate a device shows, and its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsIdentity {
    /// PEM file of the certificate, followed by any intermediate ones.
    pub certificate: PathBuf,
    /// PEM file of the key.
    pub key: PathBuf,
}

/// Whom to trust and what to show. Files are read at each connect, so that a renewed one counts.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TlsFiles {
    /// PEM file of the authorities to trust, instead of the system's.
    pub roots: Option<PathBuf>,
    /// The device's own certificate and key.
    pub identity: Option<TlsIdentity>,
}

/// Looks for an error of one type among an error and its causes. An `io::Error` hides the one it
/// wraps from `source`, so it is opened as well.
pub(super) fn cause<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = match error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// What to change where the address or the kind of encryption is wrong, in the words of one sink's
/// configuration.
pub(super) struct Remedies {
    /// For a certificate of another name.
    pub(super) name: &'static str,
    /// For a server that does not speak TLS.
    pub(super) no_tls: &'static str,
}

/// Whether this machine's clock can be trusted to judge a certificate's dates.
pub(super) fn clock_is_set() -> bool {
    SystemClock::new().stamp().is_set()
}

/// Classifies a handshake's failure with `servers`. Under a clock that is not set, a certificate
/// that seems out of date is a matter of time: these boards boot in 1970.
pub(super) fn failure(
    error: &Error,
    servers: &str,
    clock_is_set: bool,
    remedies: &Remedies,
) -> SinkError {
    let message = format!("TLS with {servers} failed: {error}");
    match error {
        Error::InvalidCertificate(
            CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
            | CertificateError::Expired
            | CertificateError::ExpiredContext { .. },
        ) => {
            if clock_is_set {
                SinkError::halt("certificate_out_of_date", message)
                    .with_hint("renew the server's certificate, or set this device's clock right")
            } else {
                SinkError::retry("clock_not_set", message)
                    .with_hint("passes once this device's clock is set")
            }
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => SinkError::halt("certificate_refused", message).with_hint(remedies.name),
        Error::InvalidCertificate(_) => SinkError::halt("certificate_refused", message)
            .with_hint("set `tls.roots` to the authority that signed the server's certificate"),
        Error::AlertReceived(alert) if is_about_our_certificate(*alert) => {
            SinkError::halt("client_certificate_refused", message).with_hint(
                "set `tls.certificate` and `tls.key` to a certificate that the server accepts",
            )
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            SinkError::halt("tls_not_offered", message).with_hint(remedies.no_tls)
        }
        _ => SinkError::retry("tls_failed", message)
            .with_hint("look in the server's log why the handshake ended"),
    }
}

fn is_about_our_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::ErrorKind;

    const REMEDIES: Remedies = Remedies {
        name: "name it right",
        no_tls: "enable it",
    };

    #[test]
    fn a_certificate_out_of_date_is_a_retry_only_under_a_clock_that_is_not_set() {
        for date in [CertificateError::NotValidYet, CertificateError::Expired] {
            let error = Error::InvalidCertificate(date);
            let kind = |set| failure(&error, "tls://a:4222", set, &REMEDIES).kind;
            assert_eq!(
                (kind(false), kind(true)),
                (ErrorKind::Retry, ErrorKind::Halt)
            );
        }
        let stranger = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert_eq!(
            failure(&stranger, "tls://a:4222", false, &REMEDIES).kind,
            ErrorKind::Halt
        );
    }
}
