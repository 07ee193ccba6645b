/// Why a message is in quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// It is no envelope, and no CloudEvent that stands for one.
    Unreadable,
    /// No such device is registered.
    UnknownDevice,
    /// The device is registered, and this key is not one of its keys.
    UnknownKey,
    /// The key is registered, for another device.
    WrongDevice,
    /// The key was revoked, and this lies beyond what it is still good for.
    RevokedKey,
    /// The key has a successor, and this is an epoch that was not known to be its own.
    RetiredKey,
    /// The key of this event would succeed one that has a successor already.
    SecondSuccessor,
    /// The epoch is another key's.
    KeyOfEpoch,
    /// The device has as many epochs as it may have.
    TooManyEpochs,
    /// The personal part is not what was signed.
    Altered,
    /// Statement, path or signature is not what the key signed.
    Forged,
    /// The personal part is missing, and the device has not said that it was erased.
    Stripped,
    /// The database refuses it, by itself.
    RefusedByDatabase,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::Unreadable,
        Self::UnknownDevice,
        Self::UnknownKey,
        Self::WrongDevice,
        Self::RevokedKey,
        Self::RetiredKey,
        Self::SecondSuccessor,
        Self::KeyOfEpoch,
        Self::TooManyEpochs,
        Self::Altered,
        Self::Forged,
        Self::Stripped,
        Self::RefusedByDatabase,
    ];

    /// The word in the table.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::UnknownDevice => "unknown_device",
            Self::UnknownKey => "unknown_key",
            Self::WrongDevice => "wrong_device",
            Self::RevokedKey => "revoked_key",
            Self::RetiredKey => "retired_key",
            Self::SecondSuccessor => "second_successor",
            Self::KeyOfEpoch => "key_of_epoch",
            Self::TooManyEpochs => "too_many_epochs",
            Self::Altered => "altered",
            Self::Forged => "forged",
            Self::Stripped => "stripped",
            Self::RefusedByDatabase => "refused_by_database",
        }
    }
}
