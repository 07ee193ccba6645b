//! The manual pages and completions of the hub's package, as `cli_manual.rs` has those of a kiosk's:
//! made from the declarations of a program that is built with the hub. Its package may be installed
//! beside a kiosk's, so it has the pages that the other has not, and its program another name.
//! `UPDATE_SNAPSHOTS=1 cargo test --features hub --test cli_manual_hub` writes them anew.

#![cfg(all(feature = "cli", feature = "hub", not(feature = "demo")))]
mod support;

use std::{collections::BTreeSet, fs, path::Path};

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};
use edge_outbox::cli::Cli;
use support::snapshot::assert_file;

/// The program's name in its package.
const PROGRAM: &str = "edge-outbox-hub";
/// What the first page has besides the declarations.
const BESIDES: &str = r"
.SH FILES
.TP
\fI/etc/edge\-outbox\-hub/hub.toml\fR
The configuration. Every key is in it, commented out, with its default.
.TP
\fI/etc/edge\-outbox\-hub/relay.toml\fR
The same for a relay.
.TP
\fI/var/lib/edge\-outbox\-hub\fR
The keys of the service. They go only when the package is purged: keep copies.
.TP
\fI/usr/share/edge\-outbox\-hub\fR
The scripts that make the tables, for \fBpsql\fR(1).
.SH ENVIRONMENT
.TP
\fIEDGE_OUTBOX_HUB_CONFIG\fR
The configuration of a hub, where \fB\-\-config\fR does not name it.
.TP
\fIEDGE_OUTBOX_HUB_DATABASE_URL\fR
Goes before what the configuration says.
.SH NOTES
This is the program of the package \fBedge\-outbox\fR and the hub. Under the name of
\fBedge\-outbox\-hub\fR it may be installed beside that one; where a page or a message names
\fBedge\-outbox hub\fR, write \fBedge\-outbox\-hub hub\fR.
.SH SIGNALS
\fBSIGTERM\fR and \fBSIGINT\fR stop \fBhub run\fR once what is in hand is stored and acknowledged; a
second one ends it at once. Neither loses what was sent, nor does \fBSIGKILL\fR.
.SH SEE ALSO
\fBsystemctl\fR(1), \fBjournalctl\fR(1), \fBpsql\fR(1),
\fI/usr/share/doc/edge\-outbox\-hub/hub.md\fR
";

fn names(dir: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(dir).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn the_manual_has_a_page_for_each_command_that_a_kiosk_lacks() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let dir = tempfile::tempdir().unwrap();
    clap_mangen::generate_to(Cli::command().bin_name(PROGRAM), dir.path()).unwrap();
    let of_kiosks = names(&config.join("man"));
    let ours: BTreeSet<String> = &names(dir.path()) - &of_kiosks;
    assert!(ours.contains("edge-outbox-hub.1"), "{ours:?}");
    for name in &ours {
        let page = fs::read_to_string(dir.path().join(name)).unwrap();
        let mut page = page.replace(".SH EXTRA\n", ".SH \"EXIT STATUS\"\n");
        if name == "edge-outbox-hub.1" {
            page.push_str(BESIDES.trim_start());
        }
        assert_file(&format!("config/man-hub/{name}"), &page);
    }
    let kept = names(&config.join("man-hub"));
    assert_eq!(kept, ours, "pages of commands that are no more");
}

#[test]
fn the_completions_complete_what_the_command_line_declares() {
    for (shell, name) in [
        (Shell::Bash, "edge-outbox-hub.bash"),
        (Shell::Fish, "edge-outbox-hub.fish"),
        (Shell::Zsh, "_edge-outbox-hub"),
    ] {
        let mut script = Vec::new();
        generate(shell, &mut Cli::command(), PROGRAM, &mut script);
        let script = String::from_utf8(script).unwrap();
        assert_file(&format!("config/completions/{name}"), &script);
    }
}
