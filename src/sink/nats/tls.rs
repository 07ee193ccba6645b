//! What a failed TLS handshake means.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use crate::{
    clock::{Clock, ClockSync, SystemClock, Timestamp},
    sink::SinkError,
};

/// 2025-01-01T00:00:00Z in microseconds: earlier than this software, so a clock that says less
/// was never set, whatever the kernel thinks.
const BEFORE_THIS_SOFTWARE_US: i64 = 1_735_689_600_000_000;

/// Whether this machine's clock can be trusted to judge a certificate's dates.
pub(super) fn clock_is_set() -> bool {
    let stamp = SystemClock::new().stamp();
    is_set(stamp.wall, stamp.sync)
}

fn is_set(wall: Timestamp, sync: ClockSync) -> bool {
    sync != ClockSync::No && wall.as_micros() >= BEFORE_THIS_SOFTWARE_US
}

/// Classifies a handshake's failure with `servers`. Under a clock that is not set, a certificate
/// that seems out of date is a matter of time: these boards boot in 1970.
pub(super) fn failure(error: &Error, servers: &str, clock_is_set: bool) -> SinkError {
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
        ) => SinkError::halt("certificate_refused", message)
            .with_hint("name the server in `servers` as its certificate does"),
        Error::InvalidCertificate(_) => SinkError::halt("certificate_refused", message)
            .with_hint("set `tls.roots` to the authority that signed the server's certificate"),
        Error::AlertReceived(alert) if is_about_our_certificate(*alert) => {
            SinkError::halt("client_certificate_refused", message).with_hint(
                "set `tls.certificate` and `tls.key` to a certificate that the server accepts",
            )
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            SinkError::halt("tls_not_offered", message).with_hint(
                "the server offers no TLS here: enable it there, set `tls.first` to what the \
                 server does, or write nats:// in `servers`",
            )
        }
        _ => SinkError::retry("tls_failed", message),
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

    #[test]
    fn a_certificate_out_of_date_is_a_retry_only_under_a_clock_that_is_not_set() {
        for date in [CertificateError::NotValidYet, CertificateError::Expired] {
            let error = Error::InvalidCertificate(date);
            assert_eq!(
                failure(&error, "tls://a:4222", false).kind,
                ErrorKind::Retry
            );
            assert_eq!(failure(&error, "tls://a:4222", true).kind, ErrorKind::Halt);
        }
        let stranger = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert_eq!(
            failure(&stranger, "tls://a:4222", false).kind,
            ErrorKind::Halt
        );
    }

    #[test]
    fn a_clock_in_the_seventies_is_not_set_even_if_the_kernel_will_not_say() {
        let seventies = Timestamp::from_micros(12).unwrap();
        let today = Timestamp::from_micros(BEFORE_THIS_SOFTWARE_US).unwrap();
        assert!(!is_set(seventies, ClockSync::Unknown));
        assert!(!is_set(today, ClockSync::No));
        assert!(is_set(today, ClockSync::Unknown));
    }
}
