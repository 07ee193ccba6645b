//! A real pgbouncer in front of a test's Postgres, in transaction mode: each transaction may run
//! on another server connection, and nothing of a session outlives one.
//!
//! The program is the one in `/usr/sbin`, else the one on `PATH`; without it a test fails.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{
    postgres_server::PostgresServer,
    server_process::{self, Account},
};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);

/// A running pgbouncer.
pub(crate) struct PgBouncer {
    dir: TempDir,
    port: u16,
    child: Child,
}

impl PgBouncer {
    /// In front of this server, open to everybody, with two server connections to share.
    pub(crate) fn before(server: &PostgresServer) -> Self {
        // With `auth_type = any` everybody is the one user that the database's entry names.
        Self::with(&format!(
            "auth_type = any\n[databases]\n* = host=127.0.0.1 user=postgres port={}\n",
            server.port()
        ))
    }

    /// In front of this server's databases `postgres` and `gone`, for user `kiosk` with its
    /// password.
    pub(crate) fn guarding(server: &PostgresServer) -> Self {
        let place = format!("host=127.0.0.1 user=postgres port={}", server.port());
        Self::with(&format!(
            "auth_type = plain\nauth_file = $DIR/users\n\
             [databases]\npostgres = {place}\ngone = {place}\n"
        ))
    }

    /// With this behind what is the same for all.
    fn with(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = server_process::free_port();
        let config = format!(
            "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 100\n{more}"
        );
        let config = config.replace("$DIR", &dir.path().display().to_string());
        fs::write(dir.path().join("users"), "\"kiosk\" \"right\"\n").unwrap();
        fs::write(dir.path().join("pgbouncer.ini"), config).unwrap();
        let account = Account::needed();
        Account::own(account, dir.path());
        let log = fs::File::create(dir.path().join("pgbouncer.log")).unwrap();
        let installed = Path::new("/usr/sbin/pgbouncer");
        let program = if installed.is_file() {
            installed
        } else {
            Path::new("pgbouncer")
        };
        let child = Account::command(account, program)
            .arg(dir.path().join("pgbouncer.ini"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("these tests need pgbouncer: install it");
        let mut bouncer = Self { dir, port, child };
        bouncer.wait_until_ready();
        bouncer
    }

    /// Where clients find it.
    pub(crate) fn url(&self) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable",
            self.port
        )
    }

    /// Its port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("pgbouncer.log")).unwrap_or_default()
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "pgbouncer ({ended:?}):\n{}",
                self.log()
            );
            thread::sleep(POLL);
        }
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        server_process::signal(self.child.id(), Signal::KILL);
        let _ = self.child.wait();
    }
}
