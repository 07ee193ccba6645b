//! What tells one board from another, so that a card that was copied is noticed.
//!
//! A board's serial number is as good as its name: from the device tree, or from the firmware of a
//! PC, which shows it to root alone. Without one, the permanent addresses of network interfaces
//! that are no USB devices have to do. `/etc/machine-id` is copied with the card and says nothing.

use std::{collections::BTreeSet, fs, path::Path};

use serde::{Deserialize, Serialize};

/// Where a serial number stands, and what it is called here.
const SERIALS: [(&str, &str); 3] = [
    ("serial", "proc/device-tree/serial-number"),
    ("serial", "sys/firmware/devicetree/base/serial-number"),
    ("uuid", "sys/class/dmi/id/product_uuid"),
];
/// Network interfaces.
const INTERFACES: &str = "sys/class/net";
/// What an address is called here.
const ADDRESS: &str = "mac";

/// What firmware says that nobody has given a number: the same on many boards.
const NOBODYS: [&str; 2] = [
    "03000200-0400-0500-0006-000700080009",
    "12345678-1234-5678-90ab-cddeefaabbcc",
];
/// The most that is remembered of one board.
const MAX_IDENTIFIERS: usize = 32;
/// The longest identifier, in bytes.
const MAX_IDENTIFIER_BYTES: usize = 128;

/// What is known of a board: identifiers such as `serial:10000000a1b2c3d4`. Empty where nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Hardware {
    identifiers: BTreeSet<String>,
}

impl Hardware {
    /// Of the machine that this runs on.
    pub(crate) fn of_this_machine() -> Self {
        Self::below(Path::new("/"))
    }

    fn below(root: &Path) -> Self {
        let mut found = Self::default();
        for (kind, path) in SERIALS {
            if let Ok(text) = fs::read(root.join(path)) {
                found.add(kind, &String::from_utf8_lossy(&text));
            }
        }
        for entry in fs::read_dir(root.join(INTERFACES)).into_iter().flatten() {
            if let Some(address) = entry.ok().and_then(|entry| permanent(&entry.path())) {
                found.add(ADDRESS, &address);
            }
        }
        found
    }

    fn add(&mut self, kind: &str, text: &str) {
        // The device tree ends its texts with a zero.
        let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
        let text = text.to_ascii_lowercase();
        let says_nothing = text.chars().all(|c| "0f:-".contains(c)) || NOBODYS.contains(&&*text);
        let fits = text.len() <= MAX_IDENTIFIER_BYTES && self.identifiers.len() < MAX_IDENTIFIERS;
        if !says_nothing && fits {
            self.identifiers.insert(format!("{kind}:{text}"));
        }
    }

    /// Whether anything is known.
    pub(crate) fn is_known(&self) -> bool {
        !self.identifiers.is_empty()
    }

    /// Whether this is surely another board than the one remembered: its serial number is another
    /// one, or, where one of them shows none, nothing that was remembered is there any more. Where
    /// nothing is known of either, nothing is sure.
    pub(crate) fn is_other_than(&self, remembered: &Self) -> bool {
        for (kind, _) in SERIALS {
            let (here, before) = (self.of_kind(kind), remembered.of_kind(kind));
            if let (Some(here), Some(before)) = (here, before) {
                return here != before;
            }
        }
        self.is_known()
            && remembered.is_known()
            && self.identifiers.is_disjoint(&remembered.identifiers)
    }

    /// Adds what is known of the same board here.
    pub(crate) fn learn(&mut self, other: &Self) {
        for identifier in &other.identifiers {
            if self.identifiers.len() < MAX_IDENTIFIERS {
                self.identifiers.insert(identifier.clone());
            }
        }
    }

    fn of_kind(&self, kind: &str) -> Option<&str> {
        let mut values = self.identifiers.iter();
        values.find_map(|identifier| identifier.strip_prefix(kind)?.strip_prefix(':'))
    }
}

/// The address that an interface was made with. `None` for one that is made up, or that comes and
/// goes with a plug.
fn permanent(interface: &Path) -> Option<String> {
    let device = interface.join("device").canonicalize().ok()?;
    let is_usb = device.components().any(|part| {
        let part = part.as_os_str().to_string_lossy();
        let number = part.strip_prefix("usb");
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let read = |name| fs::read_to_string(interface.join(name)).ok();
    let is_permanent = read("addr_assign_type")?.trim() == "0";
    (is_permanent && !is_usb).then(|| read("address")).flatten()
}

#[cfg(test)]
impl Hardware {
    /// With these identifiers.
    pub(crate) fn made_of(identifiers: &[&str]) -> Self {
        let identifiers = identifiers.iter().map(|&text| text.to_owned()).collect();
        Self { identifiers }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn interface(root: &Path, name: &str, device: &str, assigned: &str, address: &str) {
        let place = format!("sys/class/net/{name}");
        put(root, &format!("{place}/addr_assign_type"), assigned);
        put(root, &format!("{place}/address"), address);
        if !device.is_empty() {
            let device = root.join("sys/devices").join(device);
            fs::create_dir_all(&device).unwrap();
            symlink(device, root.join(place).join("device")).unwrap();
        }
    }

    #[test]
    fn a_board_is_known_by_what_does_not_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert!(!Hardware::below(root).is_known());
        put(root, "proc/device-tree/serial-number", "10000000A1B2C3D4\0");
        put(
            root,
            "sys/class/dmi/id/product_uuid",
            "03000200-0400-0500-0006-000700080009\n",
        );
        interface(
            root,
            "eth0",
            "platform/fd580000.ethernet",
            "0\n",
            "DC:a6:32:00:00:01\n",
        );
        interface(
            root,
            "usb0",
            "pci0/usb1/1-1/1-1:1.0",
            "0\n",
            "dc:a6:32:00:00:02\n",
        );
        interface(root, "wlan0", "platform/mmc", "1\n", "dc:a6:32:00:00:03\n");
        interface(root, "docker0", "", "0\n", "dc:a6:32:00:00:04\n");
        interface(root, "lo", "virtual", "0\n", "00:00:00:00:00:00\n");
        let expected = ["serial:10000000a1b2c3d4", "mac:dc:a6:32:00:00:01"];
        assert_eq!(Hardware::below(root), Hardware::made_of(&expected));
    }

    #[test]
    fn another_board_is_one_that_surely_is() {
        for (before, here, is_other) in [
            (&["serial:1", "mac:a"][..], &["serial:2", "mac:a"][..], true),
            (&["serial:1", "mac:a"], &["serial:1", "mac:b"], false),
            (&["uuid:1", "mac:a"], &["uuid:2"], true),
            // Root saw the number, the service does not.
            (&["uuid:1", "mac:a"], &["mac:a"], false),
            (&["mac:a", "mac:b"], &["mac:b", "mac:c"], false),
            (&["mac:a", "mac:b"], &["mac:c"], true),
            (&["mac:a"], &["serial:1"], true),
            // A driver that was not loaded, a sandbox that hides it.
            (&["serial:1", "mac:a"], &[], false),
            (&[], &["serial:1"], false),
            (&[], &[], false),
        ] {
            let (before, here) = (Hardware::made_of(before), Hardware::made_of(here));
            assert_eq!(here.is_other_than(&before), is_other, "{before:?} {here:?}");
        }
    }
}
