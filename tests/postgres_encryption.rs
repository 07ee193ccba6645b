//! `sslmode`, certificates and passwords, with a server that insists on them.

#![cfg(feature = "postgres")]
mod support;

use std::fs;

use edge_outbox::{
    secret::Secret,
    sink::{
        ErrorKind, SinkError,
        postgres::{PostgresOptions, SslMode, TlsFiles, TlsIdentity},
    },
};
use support::{
    certificates::{Authority, Certificate},
    conversation::deliver,
    device::Device,
    postgres_server::{CLIENT_CERTIFICATE, OPEN, PostgresServer, SCRAM, TLS_ONLY},
    postgres_table::{connect, options_for, refusal},
};
use tempfile::TempDir;

fn device() -> Device {
    Device::new("kiosk-1")
}

/// A server with a certificate for 127.0.0.1 and localhost, and a directory with its authority,
/// with one that it does not know, and with the certificates that both signed.
struct School {
    server: PostgresServer,
    /// Outside the server's own directory, which belongs to its user.
    files: TempDir,
    kiosk: Certificate,
    stranger: Certificate,
}

impl School {
    async fn with(access: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let authority = Authority::new(files.path(), "school");
        let server = authority.sign("server");
        let kiosk = authority.sign("kiosk");
        let stranger = Authority::new(files.path(), "strangers").sign("stranger");
        let dir = tempfile::tempdir().unwrap();
        fs::copy(server.certificate, dir.path().join("server.pem")).unwrap();
        fs::copy(server.key, dir.path().join("server.key")).unwrap();
        fs::copy(authority.roots(), dir.path().join("school.pem")).unwrap();
        let settings = "ssl_ca_file = '$DIR/school.pem'\n";
        let server = PostgresServer::with_tls(dir, settings, access);
        server.create_tables().await;
        server
            .execute("create role kiosk superuser login password 'se''cret %40@:/'")
            .await;
        Self {
            server,
            files,
            kiosk,
            stranger,
        }
    }

    fn options(&self, user: &str, sslmode: SslMode, roots: Option<&str>) -> PostgresOptions {
        PostgresOptions {
            sslmode: Some(sslmode),
            tls: TlsFiles {
                roots: roots.map(|name| self.files.path().join(name)),
                identity: None,
            },
            ..options_for(&self.server.url_as(user, ""))
        }
    }

    /// Delivers one event, and tells whether the connection was encrypted.
    async fn deliver(&self, options: PostgresOptions) -> Result<bool, SinkError> {
        let device = device();
        let mut session = connect(options, &device).await?;
        deliver(&mut session, &device.rows([1])).await;
        let client = self.server.connect().await;
        let row = client
            .query_one(
                "select ssl from pg_stat_ssl join pg_stat_activity using (pid) \
                 where application_name = 'edge-outbox kiosk-1'",
                &[],
            )
            .await;
        Ok(row.unwrap().get(0))
    }
}

#[track_caller]
fn assert_halt(error: &SinkError, code: &str, hint: &str) {
    assert_eq!(
        (error.kind, error.code),
        (ErrorKind::Halt, code),
        "{error:?}"
    );
    let said = error.hint.as_deref().unwrap_or_default();
    assert!(said.contains(hint), "{error:?}");
}

#[tokio::test]
async fn each_sslmode_asks_of_the_server_what_libpq_would() {
    use SslMode::{Disable, Prefer, Require, VerifyCa, VerifyFull};
    let school = School::with(OPEN).await;
    let ours = Some("school.pem");
    let strange = Some("strangers.pem");
    for (mode, roots, encrypted) in [
        (Disable, None, Some(false)),
        (Disable, strange, Some(false)),
        (Prefer, None, Some(true)),
        (Prefer, strange, Some(true)),
        (Require, None, Some(true)),
        (Require, ours, Some(true)),
        // As libpq: an authority that is given is used.
        (Require, strange, None),
        (VerifyCa, ours, Some(true)),
        (VerifyCa, strange, None),
        (VerifyFull, ours, Some(true)),
        (VerifyFull, strange, None),
        // The system's authorities have not signed it.
        (VerifyFull, None, None),
        (VerifyCa, None, None),
    ] {
        let found = school
            .deliver(school.options("postgres", mode, roots))
            .await;
        match (found, encrypted) {
            (Ok(found), Some(encrypted)) => assert_eq!(found, encrypted, "{mode:?} {roots:?}"),
            (Err(error), None) => {
                let code = error.code;
                // A machine without authorities of its own cannot trust any.
                assert!(
                    error.kind == ErrorKind::Halt
                        && (code == "certificate_refused" || code == "tls_unusable"),
                    "{mode:?} {roots:?}: {error:?}"
                );
            }
            (found, _) => panic!("{mode:?} {roots:?}: {found:?}"),
        }
    }
}

#[tokio::test]
async fn a_certificate_of_another_name_passes_verify_ca_and_not_verify_full() {
    let school = School::with(OPEN).await;
    let by_other_name = |mode| {
        // The name is the one that is checked, the address the one that is dialled.
        let url = format!(
            "postgres://postgres@hub.example:{}/postgres?hostaddr=127.0.0.1",
            school.server.port()
        );
        PostgresOptions {
            url: Secret::new(url),
            ..school.options("postgres", mode, Some("school.pem"))
        }
    };
    assert_eq!(
        school.deliver(by_other_name(SslMode::VerifyCa)).await,
        Ok(true)
    );
    let error = refusal(by_other_name(SslMode::VerifyFull), &device()).await;
    assert_halt(&error, "certificate_refused", "verify-ca");
}

#[tokio::test]
async fn a_url_that_says_nothing_means_the_whole_check() {
    let school = School::with(OPEN).await;
    let roots = school.files.path().join("school.pem");
    let url = |rest: String| options_for(&school.server.url_as("postgres", &rest));
    let full = url(format!("?sslrootcert={}", roots.display()));
    assert_eq!(school.deliver(full).await, Ok(true));
    let strangers = roots.with_file_name("strangers.pem");
    let error = refusal(
        url(format!("?sslrootcert={}", strangers.display())),
        &device(),
    )
    .await;
    assert_halt(&error, "certificate_refused", "tls.roots");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_it_is_asked_for_and_taken_where_it_is_preferred() {
    let server = PostgresServer::with_tables().await;
    let mode = |mode| PostgresOptions {
        sslmode: Some(mode),
        ..options_for(&server.url_as("postgres", ""))
    };
    connect(mode(SslMode::Prefer), &device()).await.unwrap();
    let error = refusal(mode(SslMode::Require), &device()).await;
    assert_halt(&error, "tls_not_offered", "sslmode = \"disable\"");
    connect(mode(SslMode::Disable), &device()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_insists_on_tls_is_told_from_a_wrong_password() {
    let school = School::with(TLS_ONLY).await;
    let error = refusal(
        school.options("postgres", SslMode::Disable, None),
        &device(),
    )
    .await;
    assert_halt(&error, "not_authorized", "sslmode");
    assert!(error.message.contains("no encryption"), "{error}");
}

#[tokio::test]
async fn a_password_with_odd_characters_passes_scram_bound_to_the_channel() {
    let school = School::with(SCRAM).await;
    let options = school.options("kiosk", SslMode::VerifyFull, Some("school.pem"));
    let with = |password: &str| PostgresOptions {
        password: Some(Secret::new(password)),
        ..options.clone()
    };
    assert_eq!(school.deliver(with("se'cret %40@:/")).await, Ok(true));
    // The URL's own, escaped; the option goes before it.
    let url = school.server.url_as("kiosk:se%27cret%20%2540%40%3A%2F", "");
    let in_url = PostgresOptions {
        url: Secret::new(url),
        ..options.clone()
    };
    assert_eq!(school.deliver(in_url.clone()).await, Ok(true));
    let wrong = PostgresOptions {
        password: Some(Secret::new("hunter2")),
        ..in_url
    };
    let error = refusal(wrong, &device()).await;
    assert_halt(&error, "not_authorized", "password_file");
    assert!(!format!("{error:?}").contains("hunter2"));
    let error = refusal(options, &device()).await;
    assert_halt(&error, "not_authorized", "password_file");
}

#[tokio::test]
async fn a_client_certificate_is_the_devices_word_for_itself() {
    let school = School::with(CLIENT_CERTIFICATE).await;
    let show = |certificate: &Certificate| {
        let mut options = school.options("kiosk", SslMode::VerifyFull, Some("school.pem"));
        options.tls.identity = Some(TlsIdentity {
            certificate: certificate.certificate.clone(),
            key: certificate.key.clone(),
        });
        options
    };
    assert_eq!(school.deliver(show(&school.kiosk)).await, Ok(true));
    let error = refusal(show(&school.stranger), &device()).await;
    assert_halt(&error, "client_certificate_refused", "tls.certificate");
    let nothing = school.options("kiosk", SslMode::VerifyFull, Some("school.pem"));
    let error = refusal(nothing, &device()).await;
    assert_halt(&error, "not_authorized", "tls.certificate");
}
