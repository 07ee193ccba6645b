//! The manual pages and the shells' completions are made from the command line's declarations and
//! kept in `config`: whoever makes a package for another processor cannot run the program, and what
//! is installed does not carry what makes them. `UPDATE_SNAPSHOTS=1 cargo test --test cli_manual`
//! writes them anew.

#![cfg(all(feature = "cli", not(any(feature = "demo", feature = "hub"))))]
mod support;

use std::{collections::BTreeSet, fs};

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};
use edge_outbox::cli::Cli;
use support::snapshot::assert_file;

/// What the first page has besides the declarations.
const BESIDES: &str = r"
.SH FILES
.TP
\fI/etc/edge\-outbox/edge\-outbox.toml\fR
The configuration. Every key is in it, commented out, with its default.
.TP
\fI/etc/edge\-outbox/http\-token\fR
What requests on TCP have to carry: \fBAuthorization: Bearer\fR and this. Made at the installation.
.TP
\fI/var/lib/edge\-outbox\fR
The journal and the signing key of the service. It goes only when the package is purged.
.TP
\fI/run/edge\-outbox/edge\-outbox.sock\fR
The service's socket, for members of the group \fBedge\-outbox\fR.
.SH SIGNALS
\fBSIGTERM\fR and \fBSIGINT\fR stop \fBrun\fR within two seconds, after the commit in hand; a second
one ends it at once. Neither loses what was acknowledged, nor does \fBSIGKILL\fR.
.SH SEE ALSO
\fBsystemctl\fR(1), \fBjournalctl\fR(1),
\fI/usr/share/doc/edge\-outbox/install.md\fR, \fI/usr/share/doc/edge\-outbox/http.md\fR
";

#[test]
fn the_manual_says_what_the_command_line_declares() {
    let dir = tempfile::tempdir().unwrap();
    clap_mangen::generate_to(Cli::command(), dir.path()).unwrap();
    let names = |dir: &std::path::Path| -> BTreeSet<String> {
        let files = fs::read_dir(dir).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.collect()
    };
    for name in names(dir.path()) {
        let page = fs::read_to_string(dir.path().join(&name)).unwrap();
        let mut page = page.replace(".SH EXTRA\n", ".SH \"EXIT STATUS\"\n");
        if name == "edge-outbox.1" {
            page.push_str(BESIDES.trim_start());
        }
        assert_file(&format!("config/man/{name}"), &page);
    }
    let kept = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/man");
    assert_eq!(
        names(&kept),
        names(dir.path()),
        "pages of commands that are no more"
    );
}

#[test]
fn the_completions_complete_what_the_command_line_declares() {
    for (shell, name) in [
        (Shell::Bash, "edge-outbox.bash"),
        (Shell::Fish, "edge-outbox.fish"),
        (Shell::Zsh, "_edge-outbox"),
    ] {
        let mut script = Vec::new();
        generate(shell, &mut Cli::command(), "edge-outbox", &mut script);
        let script = String::from_utf8(script).unwrap();
        assert_file(&format!("config/completions/{name}"), &script);
    }
}
