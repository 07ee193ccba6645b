//! TLS with a broker: whom the device trusts, and what it shows.

#![cfg(feature = "mqtt")]
mod support;

use edge_outbox::sink::{
    ErrorKind,
    mqtt::{MqttOptions, MqttVersion},
    tls::{TlsFiles, TlsIdentity},
};
use support::{
    certificates::{Authority, Certificate},
    conversation::deliver,
    device::Device,
    mosquitto::MosquittoServer,
    mqtt::{assert_error, connect, options_for, refusal},
};

fn device() -> Device {
    Device::new("kiosk-1")
}

async fn assert_delivers(options: MqttOptions) {
    for version in [MqttVersion::V5, MqttVersion::V3_1_1] {
        let options = MqttOptions {
            version,
            accept_no_subscribers: true,
            ..options.clone()
        };
        let device = device();
        let mut session = connect(options, &device).await.unwrap();
        deliver(&mut session, &device.parcels(1..=3)).await;
    }
}

/// A broker with a certificate, whose clients must show one if `more` says so.
struct Secured {
    authority: Authority,
    server: MosquittoServer,
}

impl Secured {
    fn new(server_certificate: impl FnOnce(&Authority) -> Certificate, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path(), "school");
        let own = server_certificate(&authority);
        let server = MosquittoServer::within(
            dir,
            &format!(
                "allow_anonymous true\ncafile {}\ncertfile {}\nkeyfile {}\n{more}",
                authority.roots().display(),
                own.certificate.display(),
                own.key.display(),
            ),
        );
        Self { authority, server }
    }

    fn options(&self, tls: TlsFiles) -> MqttOptions {
        MqttOptions {
            tls,
            ..options_for(&format!("mqtts://localhost:{}", self.server.port()))
        }
    }

    fn trusting(&self) -> TlsFiles {
        TlsFiles {
            roots: Some(self.authority.roots()),
            ..TlsFiles::default()
        }
    }
}

fn identity(certificate: Certificate) -> Option<TlsIdentity> {
    Some(TlsIdentity {
        certificate: certificate.certificate,
        key: certificate.key,
    })
}

#[tokio::test]
async fn tls_with_a_school_s_own_authority_by_name_and_by_address() {
    let secured = Secured::new(|authority| authority.sign("server"), "");
    assert_delivers(secured.options(secured.trusting())).await;
    // What is set for TLS makes it TLS, whatever the URL says.
    for scheme in ["mqtts", "mqtt"] {
        let url = format!("{scheme}://127.0.0.1:{}", secured.server.port());
        assert_delivers(MqttOptions {
            tls: secured.trusting(),
            ..options_for(&url)
        })
        .await;
    }
}

#[tokio::test]
async fn a_broker_that_nobody_known_has_signed_is_a_halt() {
    let secured = Secured::new(|authority| authority.sign("server"), "");
    let stranger = Authority::new(secured.server.dir(), "stranger");
    for version in [MqttVersion::V5, MqttVersion::V3_1_1] {
        for roots in [None, Some(stranger.roots())] {
            let tls = TlsFiles {
                roots,
                ..TlsFiles::default()
            };
            let options = MqttOptions {
                version,
                ..secured.options(tls)
            };
            let error = refusal(options, &device()).await;
            assert_error(
                &error,
                ErrorKind::Halt,
                "certificate_refused",
                "`tls.roots`",
            );
        }
    }
}

#[tokio::test]
async fn a_certificate_of_another_name_is_a_halt() {
    let secured = Secured::new(|authority| authority.sign_elsewhere("server"), "");
    for version in [MqttVersion::V5, MqttVersion::V3_1_1] {
        let options = MqttOptions {
            version,
            ..secured.options(secured.trusting())
        };
        let error = refusal(options, &device()).await;
        assert_error(&error, ErrorKind::Halt, "certificate_refused", "`servers`");
        assert!(error.message.contains("elsewhere.school"), "{error}");
    }
}

#[tokio::test]
async fn roots_that_are_no_certificates_are_a_halt() {
    let secured = Secured::new(|authority| authority.sign("server"), "");
    let absent = TlsFiles {
        roots: Some("/nowhere/roots.pem".into()),
        ..TlsFiles::default()
    };
    let error = refusal(secured.options(absent), &device()).await;
    assert_error(&error, ErrorKind::Halt, "tls_unusable", "`tls.roots`");
}

#[tokio::test]
async fn a_broker_s_certificate_that_ran_out_is_told_as_such() {
    let secured = Secured::new(|authority| authority.sign_expired("server"), "");
    let error = refusal(secured.options(secured.trusting()), &device()).await;
    // Which of the two depends on whether this machine's clock is disciplined.
    assert!(
        matches!(error.code, "certificate_out_of_date" | "clock_not_set"),
        "{error:?}"
    );
    assert!(error.hint.unwrap().contains("clock"));
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_a_wrong_or_missing_one_is_a_halt() {
    let secured = Secured::new(
        |authority| authority.sign("server"),
        "require_certificate true",
    );
    let own = identity(secured.authority.sign("kiosk"));
    assert_delivers(secured.options(TlsFiles {
        identity: own,
        ..secured.trusting()
    }))
    .await;

    let stranger = Authority::new(secured.server.dir(), "stranger").sign("intruder");
    for identity in [None, identity(stranger)] {
        for version in [MqttVersion::V5, MqttVersion::V3_1_1] {
            let tls = TlsFiles {
                identity: identity.clone(),
                ..secured.trusting()
            };
            let options = MqttOptions {
                version,
                ..secured.options(tls)
            };
            let error = refusal(options, &device()).await;
            let (halt, code) = (ErrorKind::Halt, "client_certificate_refused");
            assert_error(&error, halt, code, "`tls.certificate`");
        }
    }
}

#[tokio::test]
async fn tls_and_its_absence_at_the_wrong_port_say_what_to_change() {
    let secured = Secured::new(|authority| authority.sign("server"), "");
    for version in [MqttVersion::V5, MqttVersion::V3_1_1] {
        let plain = MqttOptions {
            version,
            ..options_for(&format!("mqtt://127.0.0.1:{}", secured.server.port()))
        };
        let error = refusal(plain, &device()).await;
        assert_error(&error, ErrorKind::Retry, "hung_up", "mqtts://");
    }
    let open = MosquittoServer::start();
    let options = options_for(&format!("mqtts://127.0.0.1:{}", open.port()));
    let error = refusal(options, &device()).await;
    assert_error(&error, ErrorKind::Retry, "hung_up", "without TLS");
}
