//! The account that the service runs as, where the package has made one: what an administrator
//! writes, it has to be able to read.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
};

/// The user and the group of the service.
pub(super) const NAME: &str = "edge-outbox";

/// The users of this machine. Those of a directory service are left out: the package makes its own
/// here.
const USERS: &str = "/etc/passwd";

/// The service's user, and the group that may use its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// `None` where there is none, or where nothing can be given to it because this is not root.
    pub(super) fn of_service() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        Self::find(&fs::read_to_string(USERS).ok()?)
    }

    fn find(users: &str) -> Option<Self> {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(NAME))?;
        let mut ids = line.split(':').skip(2).map(str::parse);
        Some(Self {
            uid: ids.next()?.ok()?,
            gid: ids.next()?.ok()?,
        })
    }

    /// Whether the service may read a file that is like this.
    pub(super) fn may_read(self, file: &Metadata) -> bool {
        let bit = if file.uid() == self.uid {
            0o400
        } else if file.gid() == self.gid {
            0o040
        } else {
            0o004
        };
        file.mode() & bit != 0
    }
}

/// Who may read a new file.
#[derive(Clone, Copy)]
pub(super) struct Readers {
    pub(super) mode: u32,
    /// User and group, where they are not those of whoever writes.
    pub(super) owner: Option<(u32, u32)>,
}

impl Readers {
    /// The service, and whoever may hand over events: the members of its group.
    pub(super) fn members(account: Option<Account>) -> Self {
        match account {
            Some(Account { gid, .. }) => Self {
                mode: 0o640,
                owner: Some((0, gid)),
            },
            None => Self::nobody_else(),
        }
    }

    /// The service alone.
    pub(super) fn service(account: Option<Account>) -> Self {
        Self {
            owner: account.map(|Account { uid, gid }| (uid, gid)),
            ..Self::nobody_else()
        }
    }

    const fn nobody_else() -> Self {
        Self {
            mode: 0o600,
            owner: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_found_by_its_whole_name() {
        let users = "root:x:0:0::/root:/bin/sh\nedge-outbox-2:x:7:7::/:/bin/sh\n\
                     edge-outbox:x:104:110:store-and-forward outbox,,,:/var/lib/edge-outbox:/n\n";
        let account = Account { uid: 104, gid: 110 };
        assert_eq!(Account::find(users), Some(account));
        assert_eq!(Account::find("root:x:0:0::/root:/bin/sh\n"), None);
        assert_eq!(Account::find("edge-outbox:x:many\n"), None);
    }

    #[test]
    fn an_owner_is_not_asked_for_the_bits_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kiosk.creds");
        fs::write(&file, "").unwrap();
        let like = |mode| {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            fs::metadata(&file).unwrap()
        };
        let (uid, gid) = (like(0o600).uid(), like(0o600).gid());
        let service = |uid, gid| Account { uid, gid };
        let (owner, member, other) = (
            service(uid, gid + 1),
            service(uid + 1, gid),
            service(uid + 1, gid + 1),
        );
        for (mode, readable) in [
            (0o600, [true, false, false]),
            (0o640, [true, true, false]),
            (0o644, [true, true, true]),
            (0o044, [false, true, true]),
            (0o404, [true, false, true]),
        ] {
            let found = [owner, member, other].map(|account| account.may_read(&like(mode)));
            assert_eq!(found, readable, "{mode:o}");
        }
    }
}
