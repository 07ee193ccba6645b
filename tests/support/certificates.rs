//! Certificates for one test, made by `openssl`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What a server on this machine is called.
const HERE: &str = "DNS:localhost,IP:127.0.0.1";

/// An authority in a directory, and what it signs.
pub(crate) struct Authority {
    dir: PathBuf,
    name: &'static str,
}

/// A PEM certificate and its key.
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new(dir: &Path, name: &'static str) -> Self {
        let authority = Self {
            dir: dir.to_owned(),
            name,
        };
        let extensions = "basicConstraints=critical,CA:TRUE";
        openssl(
            dir,
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                &format!("/CN={name}"),
                "-days",
                "2",
                "-addext",
                extensions,
                "-keyout",
                &format!("{name}.key"),
                "-out",
                &format!("{name}.pem"),
            ],
        );
        authority
    }

    /// The certificate to trust.
    pub(crate) fn roots(&self) -> PathBuf {
        self.dir.join(format!("{}.pem", self.name))
    }

    /// A certificate that is good today.
    pub(crate) fn sign(&self, name: &str) -> Certificate {
        self.sign_for(name, HERE, "20200101000000Z", "20991231000000Z")
    }

    /// A certificate that is good today, of a server that is not on this machine.
    pub(crate) fn sign_elsewhere(&self, name: &str) -> Certificate {
        let elsewhere = "DNS:elsewhere.school";
        self.sign_for(name, elsewhere, "20200101000000Z", "20991231000000Z")
    }

    /// A certificate that ran out long ago.
    pub(crate) fn sign_expired(&self, name: &str) -> Certificate {
        self.sign_for(name, HERE, "20200101000000Z", "20200201000000Z")
    }

    fn sign_for(&self, name: &str, of: &str, from: &str, until: &str) -> Certificate {
        let dir = &self.dir;
        let file = |end: &str| format!("{name}.{end}");
        openssl(
            dir,
            &[
                "req",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                &format!("/CN={name}"),
                "-keyout",
                &file("key"),
                "-out",
                &file("csr"),
            ],
        );
        // Only `openssl ca` can set both dates in every version.
        let authority = self.name;
        fs::write(
            dir.join("ca.conf"),
            format!(
                "[ca]\ndefault_ca=it\n[it]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\n\
             default_md=sha256\npolicy=any\nunique_subject=no\nx509_extensions=leaf\n\
             certificate={authority}.pem\nprivate_key={authority}.key\n\
             [any]\ncommonName=supplied\n\
             [leaf]\nbasicConstraints=CA:FALSE\nsubjectAltName={of}\n"
            ),
        )
        .unwrap();
        fs::write(dir.join("index.txt"), "").unwrap();
        openssl(
            dir,
            &[
                "ca",
                "-batch",
                "-notext",
                "-config",
                "ca.conf",
                "-startdate",
                from,
                "-enddate",
                until,
                "-in",
                &file("csr"),
                "-out",
                &file("pem"),
            ],
        );
        Certificate {
            certificate: dir.join(file("pem")),
            key: dir.join(file("key")),
        }
    }
}

fn openssl(dir: &Path, arguments: &[&str]) {
    let done = Command::new("openssl")
        .args(arguments)
        .current_dir(dir)
        .output();
    let done = done.expect("these tests need the `openssl` command");
    assert!(
        done.status.success(),
        "openssl: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}
