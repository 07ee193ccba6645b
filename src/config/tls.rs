//! The keys of TLS that every sink has.

use super::{
    named_file::{Holds, NamedFile},
    secrets::SecretSource,
    section::Section,
};
use crate::sink::tls::{TlsFiles, TlsIdentity};

/// Reads `roots`, `certificate` and `key`, and notes the files that they name.
pub(super) fn read_files(section: &mut Section<'_, '_>, files: &mut Vec<NamedFile>) -> TlsFiles {
    let roots = section.optional_path("roots");
    let certificate = section.optional_path("certificate");
    let key = section.optional_path("key");
    let named = [
        ("tls.roots", "roots", &roots, Holds::Certificates),
        (
            "tls.certificate",
            "certificate",
            &certificate,
            Holds::Certificates,
        ),
        ("tls.key", "key", &key, Holds::PrivateKey),
    ];
    for (name, key, path, holds) in named {
        if let Some(path) = path {
            let source = SecretSource::file(name, section.place_of(key), path.clone());
            files.push(NamedFile::new(source, holds));
        }
    }
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(TlsIdentity { certificate, key }),
        (None, None) => None,
        (Some(_), None) => {
            let hint = "set both, or none";
            section.refuse("certificate", " is set without key", Some(hint));
            None
        }
        (None, Some(_)) => {
            let hint = "set both, or none";
            section.refuse("key", " is set without certificate", Some(hint));
            None
        }
    };
    TlsFiles { roots, identity }
}
