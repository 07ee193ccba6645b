//! Keys and what they sign.
//!
//! A device has one Ed25519 key. It signs groups of events and, once, its own replacement. Every
//! kind of signed thing begins with a prefix of its own that ends in a zero byte, so that no
//! signature made for one can ever be shown for another. The key never signs bytes chosen by
//! somebody else (a server's nonce, for one).

mod device_key;
mod key_file;
mod public_key;

pub use device_key::DeviceKey;
pub use key_file::KeyError;
pub(crate) use key_file::replace_file;
pub use public_key::{PublicKey, PublicKeyError};

use crate::{
    digest::Digest,
    encoding::base64_text,
    identity::{DeviceName, Epoch},
};

/// What precedes a group's leaf count and root.
pub const GROUP_PREFIX: &[u8] = b"edge-outbox/group\0";
/// What precedes the public key that a [`KeyId`] is the digest of.
pub const KEY_PREFIX: &[u8] = b"edge-outbox/key\0";
/// What precedes a key's replacement.
pub const ROTATION_PREFIX: &[u8] = b"edge-outbox/rotation\0";

/// The signature algorithm Ed25519, the only one there is.
pub const ALG_ED25519: u8 = 1;
/// The version of the group and rotation messages.
const MESSAGE_VERSION: u8 = 1;

/// `sha256("edge-outbox/key\0" ‖ alg u8 ‖ public key)`. As text: base64, 44 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub(crate) [u8; 32]);

base64_text!(KeyId, 32, "key id");

/// An Ed25519 signature. As text: base64, 88 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub(crate) [u8; 64]);

base64_text!(Signature, 64, "signature");

const GROUP_MESSAGE_BYTES: usize = GROUP_PREFIX.len() + 1 + 1 + 32;

/// `"edge-outbox/group\0" ‖ version u8 ‖ leaf count u8 ‖ root`
fn group_message(size: u8, root: &Digest) -> [u8; GROUP_MESSAGE_BYTES] {
    let mut message = [0; GROUP_MESSAGE_BYTES];
    let (prefix, rest) = message.split_at_mut(GROUP_PREFIX.len());
    prefix.copy_from_slice(GROUP_PREFIX);
    rest[0] = MESSAGE_VERSION;
    rest[1] = size;
    rest[2..].copy_from_slice(root.as_bytes());
    message
}

/// What the old key signs when a new one replaces it: the hub then follows the device from one
/// key to the next without being told by hand.
#[derive(Clone, Copy, Debug)]
pub struct Rotation<'a> {
    /// The key that takes over.
    pub new_key: &'a PublicKey,
    /// The device whose key it is.
    pub device: &'a DeviceName,
    /// The epoch that the new key begins.
    pub epoch: Epoch,
}

impl Rotation<'_> {
    /// `"edge-outbox/rotation\0" ‖ version u8 ‖ old key id ‖ new alg u8 ‖ new public key ‖
    /// device (u16 + UTF-8) ‖ epoch`
    fn message(&self, old: &KeyId) -> Vec<u8> {
        let device = self.device.as_str().as_bytes();
        let mut message = ROTATION_PREFIX.to_vec();
        message.push(MESSAGE_VERSION);
        message.extend_from_slice(old.as_bytes());
        message.push(ALG_ED25519);
        message.extend_from_slice(self.new_key.as_bytes());
        message.extend_from_slice(&[0, device.len() as u8]);
        message.extend_from_slice(device);
        message.extend_from_slice(self.epoch.as_uuid().as_bytes());
        message
    }
}

#[cfg(test)]
mod tests;
