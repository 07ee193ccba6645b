use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use super::*;

/// Seed 0, 1, … 31 as `openssl` writes it (version 1).
const PEM_V1: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f
-----END PRIVATE KEY-----
";
const BASE64_V1: &str = "MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
/// The same key with its public half (version 2, RFC 5958).
const BASE64_V2: &str = "MFECAQEwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\
                         gSEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";
const PUBLIC: &str = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";

fn key() -> DeviceKey {
    DeviceKey::from_pkcs8_pem(PEM_V1).unwrap()
}

#[test]
fn a_key_is_read_from_pem_and_base64_in_both_versions() {
    let wrapped = format!("  {}\n{}\n", &BASE64_V1[..20], &BASE64_V1[20..]);
    for text in [BASE64_V1, BASE64_V2, &wrapped] {
        let key = DeviceKey::from_pkcs8_base64(text).unwrap();
        assert_eq!(key.public_key().to_string(), PUBLIC);
    }
    assert_eq!(key().public_key().to_string(), PUBLIC);
    assert_eq!(*key().to_pkcs8_pem().unwrap(), PEM_V1);
}

#[test]
fn what_is_no_key_is_refused() {
    // A version 2 document whose public half is another key's.
    let mixed = BASE64_V2.replace("A6EHv", "A6EHw");
    for text in ["", "####", "AAAA", PUBLIC, &mixed, &BASE64_V1[..40]] {
        let error = DeviceKey::from_pkcs8_base64(text).unwrap_err();
        assert!(
            matches!(error, KeyError::Document) && error.hint().is_some(),
            "{text}"
        );
    }
    assert!(DeviceKey::from_pkcs8_pem(&key().public_key().to_pem()).is_err());
}

#[test]
fn a_key_is_never_shown() {
    let key = key();
    assert_eq!(
        format!("{key:?}"),
        format!("DeviceKey({})", key.public_key().id())
    );
}

#[test]
fn a_public_key_is_read_as_it_was_written_and_a_worthless_one_is_refused() {
    let public = key().public_key();
    assert_eq!(public.to_string().parse(), Ok(public.clone()));
    assert_eq!(
        format!(" {}\n", public.to_pem()).parse(),
        Ok(public.clone())
    );
    assert_eq!(PublicKey::from_bytes(public.as_bytes()), Ok(public));
    // The neutral point: under it, a signature made without any key fits every message.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    assert_eq!(PublicKey::from_bytes(&neutral), Err(PublicKeyError::Weak));
    let no_point = [2; 32];
    assert_eq!(PublicKey::from_bytes(&no_point), Err(PublicKeyError::Point));
    for text in ["", "A6EHv", &PUBLIC[..43], "-----BEGIN PUBLIC KEY-----"] {
        assert_eq!(text.parse::<PublicKey>(), Err(PublicKeyError::Text));
    }
}

#[test]
fn a_groups_signature_holds_for_that_group_and_nothing_else() {
    let (key, root) = (key(), Digest([5; 32]));
    let public = key.public_key();
    let signature = key.sign_group(5, &root);
    assert!(public.verify_group(5, &root, &signature));
    assert!(!public.verify_group(4, &root, &signature));
    assert!(!public.verify_group(5, &Digest([6; 32]), &signature));
    let other = DeviceKey::generate().unwrap();
    assert!(!other.public_key().verify_group(5, &root, &signature));
    for byte in 0..64 {
        let mut changed = signature;
        changed.0[byte] ^= 1;
        assert!(!public.verify_group(5, &root, &changed));
    }
    // S + L in place of S: the same signature to a check that is not strict.
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let (mut twin, mut carry) = (signature, 0);
    for (byte, add) in twin.0[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert!(!public.verify_group(5, &root, &twin));
}

#[test]
fn a_rotation_holds_for_one_old_key_one_new_key_one_device_and_one_epoch() {
    let (old, new) = (key(), DeviceKey::generate().unwrap());
    let (new_key, device) = (new.public_key(), "kiosk-1".parse().unwrap());
    let rotation = Rotation {
        new_key: &new_key,
        device: &device,
        epoch: Epoch::random(),
    };
    let signature = old.sign_rotation(&rotation);
    assert!(old.public_key().verify_rotation(&rotation, &signature));

    assert!(!new_key.verify_rotation(&rotation, &signature));
    assert!(
        !old.public_key()
            .verify_rotation(&rotation, &new.sign_rotation(&rotation))
    );
    let other_device = "kiosk-2".parse().unwrap();
    for other in [
        Rotation {
            new_key: &old.public_key(),
            ..rotation
        },
        Rotation {
            device: &other_device,
            ..rotation
        },
        Rotation {
            epoch: Epoch::random(),
            ..rotation
        },
    ] {
        assert!(!old.public_key().verify_rotation(&other, &signature));
    }
}

#[test]
fn a_key_file_is_made_once_for_its_owner_alone_and_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("signing-key.pem");
    let made = DeviceKey::load_or_create(&path).unwrap();
    let again = DeviceKey::load_or_create(&path).unwrap();
    assert_eq!(made.public_key(), again.public_key());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(
        fs::read_dir(&directory).unwrap().count(),
        1,
        "nothing but the key is left"
    );
}

#[test]
fn a_key_file_is_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    key().store(&path).unwrap();
    let error = DeviceKey::generate().unwrap().store(&path).unwrap_err();
    assert!(matches!(error, KeyError::Write { .. }), "{error}");
    assert_eq!(
        DeviceKey::load(&path).unwrap().public_key(),
        key().public_key()
    );
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
}

#[test]
fn a_key_file_that_others_can_reach_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    key().store(&path).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o601] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = DeviceKey::load_or_create(&path).unwrap_err();
        assert!(matches!(error, KeyError::Exposed { mode: found, .. } if found == mode));
        assert!(error.hint().unwrap().contains("chmod 600"));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert!(DeviceKey::load(&path).is_ok());
}

#[test]
fn a_key_file_with_something_else_in_it_is_refused_by_name_and_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    for content in [&b""[..], b"hello", b"\xff\xfe", &PEM_V1.as_bytes()[..80]] {
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let error = DeviceKey::load_or_create(&path).unwrap_err();
        assert!(matches!(error, KeyError::File(_)), "{error}");
        assert!(error.to_string().contains(&*path.to_string_lossy()));
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    let missing = DeviceKey::load(Path::new("/nonexistent/key")).unwrap_err();
    assert!(matches!(missing, KeyError::Read { .. }));
}
