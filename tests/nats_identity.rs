//! Every way to be somebody to a server, and to know the server.

#![cfg(feature = "nats")]
mod support;

use std::{fs, time::Duration};

use edge_outbox::{
    secret::Secret,
    sink::{
        ErrorKind,
        nats::{NatsAuth, NatsOptions, NatsTls, TlsIdentity},
    },
};
use support::{
    certificates::{Authority, Certificate},
    conversation::{connect, deliver, lost, options, options_for, refusal},
    device::Device,
    jwt::Operator,
    nats_server::NatsServer,
};

fn device() -> Device {
    Device::new("kiosk-1")
}

/// Delivers one event, creating the stream on the way.
async fn assert_delivers(options: NatsOptions) {
    let options = NatsOptions {
        stream: Some("EVENTS".into()),
        create_stream: true,
        ..options
    };
    let mut session = connect(options, &device()).await.unwrap();
    deliver(&mut session, &device().parcels([1])).await;
}

const JETSTREAM: &str = "jetstream { store_dir: \"$DIR/store\" }\n";

#[tokio::test]
async fn a_user_and_a_token_from_options_or_from_the_url() {
    let server = NatsServer::with(&format!(
        "{JETSTREAM}authorization {{ user: ann, password: \"s@cret\" }}"
    ));
    let auth = NatsAuth::User {
        name: "ann".into(),
        password: Secret::new("s@cret"),
    };
    assert_delivers(NatsOptions {
        auth,
        ..options(&server)
    })
    .await;
    let url = format!("nats://ann:s%40cret@127.0.0.1:{}", server.port());
    assert_delivers(options_for(&url)).await;

    let server = NatsServer::with(&format!("{JETSTREAM}authorization {{ token: \"t0ken\" }}"));
    let auth = NatsAuth::Token(Secret::new("t0ken"));
    assert_delivers(NatsOptions {
        auth,
        ..options(&server)
    })
    .await;
    assert_delivers(options_for(&format!(
        "nats://t0ken@127.0.0.1:{}",
        server.port()
    )))
    .await;
}

#[tokio::test]
async fn an_nkey_from_a_file() {
    let user = nkeys::KeyPair::new_user();
    let server = NatsServer::with(&format!(
        "{JETSTREAM}authorization {{ users = [{{ nkey: {} }}] }}",
        user.public_key()
    ));
    let file = server.dir().join("user.nk");
    fs::write(&file, format!("{}\n", user.seed().unwrap())).unwrap();
    let with = |file: &std::path::Path| NatsOptions {
        auth: NatsAuth::NkeyFile(file.to_owned()),
        ..options(&server)
    };
    assert_delivers(with(&file)).await;

    fs::write(&file, nkeys::KeyPair::new_user().seed().unwrap()).unwrap();
    let error = refusal(with(&file), &device()).await;
    assert_eq!(
        (error.kind, error.code),
        (ErrorKind::Halt, "not_authorized")
    );
    fs::write(&file, "no seed").unwrap();
    let error = refusal(with(&file), &device()).await;
    assert_eq!(
        (error.kind, error.code),
        (ErrorKind::Halt, "credentials_unusable")
    );
    let error = refusal(with(&server.dir().join("absent")), &device()).await;
    assert_eq!(
        (error.kind, error.code),
        (ErrorKind::Halt, "credentials_unreadable")
    );
    assert!(error.hint.unwrap().contains("`nkey_file`") && error.message.contains("absent"));
}

#[tokio::test]
async fn a_jwt_from_a_credentials_file_or_with_its_seed() {
    let operator = Operator::new();
    let server = NatsServer::with(&operator.server_config());
    let user = operator.user(None);
    let file = server.dir().join("user.creds");
    fs::write(&file, user.credentials()).unwrap();
    let auth = NatsAuth::CredentialsFile(file.clone());
    assert_delivers(NatsOptions {
        auth,
        ..options(&server)
    })
    .await;
    let auth = NatsAuth::Jwt {
        jwt: Secret::new(&*user.jwt),
        seed: Secret::new(&*user.seed),
    };
    assert_delivers(NatsOptions {
        auth,
        ..options(&server)
    })
    .await;

    // The file is read at each connect: another user's JWT with this one's seed.
    fs::write(
        &file,
        user.credentials()
            .replace(&user.jwt, &operator.user(None).jwt),
    )
    .unwrap();
    let auth = NatsAuth::CredentialsFile(file);
    let error = refusal(
        NatsOptions {
            auth,
            ..options(&server)
        },
        &device(),
    )
    .await;
    assert_eq!(
        (error.kind, error.code),
        (ErrorKind::Halt, "not_authorized")
    );
}

#[tokio::test]
async fn a_jwt_that_runs_out_ends_the_session_as_a_halt() {
    let operator = Operator::new();
    let server = NatsServer::with(&operator.server_config());
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let user = operator.user(Some(now + 3));
    let auth = NatsAuth::Jwt {
        jwt: Secret::new(user.jwt),
        seed: Secret::new(user.seed),
    };
    let options = NatsOptions {
        auth,
        stream: Some("EVENTS".into()),
        create_stream: true,
        ..options(&server)
    };
    let mut session = connect(options.clone(), &device()).await.unwrap();
    let error = lost(&mut session).await;
    assert_eq!(
        (error.kind, error.code),
        (ErrorKind::Halt, "not_authorized"),
        "{error:?}"
    );
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let error = refusal(options, &device()).await;
    assert_eq!(
        (error.kind, error.code),
        (ErrorKind::Halt, "not_authorized"),
        "{error:?}"
    );
}

/// A server with TLS whose clients must show a certificate if `verify`.
struct Secured {
    authority: Authority,
    server: NatsServer,
}

impl Secured {
    fn new(server_certificate: impl FnOnce(&Authority) -> Certificate, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path(), "school");
        let own = server_certificate(&authority);
        let server = NatsServer::within(
            dir,
            &format!(
                "{JETSTREAM}tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, {more} }}",
                own.certificate,
                own.key,
                authority.roots(),
            ),
        );
        Self { authority, server }
    }

    fn options(&self, tls: NatsTls) -> NatsOptions {
        NatsOptions {
            tls,
            ..options_for(&format!("tls://localhost:{}", self.server.port()))
        }
    }

    fn trusting(&self) -> NatsTls {
        NatsTls {
            roots: Some(self.authority.roots()),
            ..NatsTls::default()
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
async fn tls_with_a_school_s_own_authority() {
    let secured = Secured::new(|authority| authority.sign("server"), "");
    assert_delivers(secured.options(secured.trusting())).await;
    let by_address = options_for(&format!("nats://127.0.0.1:{}", secured.server.port()));
    assert_delivers(NatsOptions {
        tls: secured.trusting(),
        ..by_address
    })
    .await;
}

#[tokio::test]
async fn tls_before_the_greeting() {
    let secured = Secured::new(
        |authority| authority.sign("server"),
        "handshake_first: true",
    );
    let first = NatsTls {
        first: true,
        ..secured.trusting()
    };
    assert_delivers(secured.options(first)).await;
}

#[tokio::test]
async fn a_server_that_nobody_known_has_signed_is_a_halt() {
    let secured = Secured::new(|authority| authority.sign("server"), "");
    let stranger = Authority::new(secured.server.dir(), "stranger");
    for roots in [None, Some(stranger.roots())] {
        let tls = NatsTls {
            roots,
            required: true,
            ..NatsTls::default()
        };
        let error = refusal(secured.options(tls), &device()).await;
        assert_eq!(
            (error.kind, error.code),
            (ErrorKind::Halt, "certificate_refused"),
            "{error:?}"
        );
        assert!(error.hint.unwrap().contains("`tls.roots`"));
    }
}

#[tokio::test]
async fn roots_that_are_no_certificates_are_a_halt() {
    let secured = Secured::new(|authority| authority.sign("server"), "");
    let absent = NatsTls {
        roots: Some("/nowhere/roots.pem".into()),
        ..NatsTls::default()
    };
    let error = refusal(secured.options(absent), &device()).await;
    assert_eq!(
        (error.kind, error.code),
        (ErrorKind::Halt, "tls_unusable"),
        "{error:?}"
    );
    assert!(error.hint.unwrap().contains("`tls.roots`"));
}

#[tokio::test]
async fn a_server_s_certificate_that_ran_out_is_told_as_such() {
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
async fn a_server_without_tls_is_a_halt_where_tls_is_wanted() {
    let server = NatsServer::start();
    let tls = NatsTls {
        required: true,
        ..NatsTls::default()
    };
    let error = refusal(
        NatsOptions {
            tls,
            ..options(&server)
        },
        &device(),
    )
    .await;
    assert_eq!(
        (error.kind, error.code),
        (ErrorKind::Halt, "tls_not_offered"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_a_wrong_or_missing_one_is_a_halt() {
    let secured = Secured::new(|authority| authority.sign("server"), "verify: true");
    let own = identity(secured.authority.sign("kiosk"));
    assert_delivers(secured.options(NatsTls {
        identity: own,
        ..secured.trusting()
    }))
    .await;

    let stranger = Authority::new(secured.server.dir(), "stranger").sign("intruder");
    for identity in [None, identity(stranger)] {
        let tls = NatsTls {
            identity,
            ..secured.trusting()
        };
        let error = refusal(secured.options(tls), &device()).await;
        assert_eq!(
            (error.kind, error.code),
            (ErrorKind::Halt, "client_certificate_refused"),
            "{error:?}"
        );
        assert!(error.hint.unwrap().contains("`tls.certificate`"));
    }
}
