//! A real Postgres for one test: a cluster of its own on a free loopback port and on a Unix
//! socket, gone with the value that holds it.
//!
//! The programs are those of the newest version under `/usr/lib/postgresql`, else those on `PATH`.
//! Without them a test fails; none is ever skipped. The server refuses to run as root, so there it
//! runs as user `postgres`. What `initdb` makes is kept in `target/tmp` and copied for each test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use edge_outbox::sink::postgres::SCHEMA_SQL;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use super::server_process::{self, Account};

/// How long the server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);
/// How often another port is tried where the one that was free is taken.
const PORTS: usize = 5;

/// What every cluster here begins with. Nothing has to survive a power cut unless a test says so,
/// and many servers share one machine.
const SETTINGS: &str = "\
listen_addresses = '127.0.0.1'
fsync = off
full_page_writes = off
shared_buffers = 16MB
dynamic_shared_memory_type = mmap
max_connections = 40
autovacuum = off
log_line_prefix = '%m [%p] '
timezone = 'UTC'
";

/// As a server is that keeps what it confirmed: with these besides, it is one to be measured.
pub(crate) const DURABLE: &str = "\
fsync = on
full_page_writes = on
shared_buffers = 512MB
max_wal_size = 4GB
autovacuum = on
";

/// Everybody may do everything.
pub(crate) const OPEN: &str = "\
local all all trust
host all all 127.0.0.1/32 trust
";

/// Over TCP with a password, `SCRAM-SHA-256`; the test itself comes by the Unix socket.
pub(crate) const SCRAM: &str = "\
local all all trust
host all all 127.0.0.1/32 scram-sha-256
";

/// Over TCP with TLS alone, and no questions asked.
pub(crate) const TLS_ONLY: &str = "\
local all all trust
hostssl all all 127.0.0.1/32 trust
";

/// Over TCP with a client certificate alone, whose name is the user's.
pub(crate) const CLIENT_CERTIFICATE: &str = "\
local all all trust
hostssl all all 127.0.0.1/32 cert
";

/// A running, or stopped, Postgres.
pub(crate) struct PostgresServer {
    dir: TempDir,
    port: u16,
    account: Option<Account>,
    running: Option<Child>,
}

impl PostgresServer {
    /// Open to everybody, and without a table in it.
    pub(crate) fn start() -> Self {
        Self::with("", OPEN)
    }

    /// Open to everybody, with the tables that a sink wants.
    pub(crate) async fn with_tables() -> Self {
        let server = Self::start();
        server.create_tables().await;
        server
    }

    /// As [`PostgresServer::with_tables`], and [`DURABLE`].
    pub(crate) async fn durable_with_tables() -> Self {
        let server = Self::with(DURABLE, OPEN);
        server.create_tables().await;
        server
    }

    /// Makes the tables that a sink wants.
    pub(crate) async fn create_tables(&self) {
        self.execute(SCHEMA_SQL).await;
    }

    /// With these settings (lines of `postgresql.conf`; `$DIR` stands for the directory of the
    /// test) and these rules of access (`pg_hba.conf`).
    pub(crate) fn with(settings: &str, access: &str) -> Self {
        Self::within(tempfile::tempdir().unwrap(), settings, access)
    }

    /// As [`PostgresServer::with`], in a directory that holds something already (certificates).
    pub(crate) fn within(dir: TempDir, settings: &str, access: &str) -> Self {
        let account = Account::needed();
        copy(template(account), &dir.path().join("data"));
        let mut server = Self {
            dir,
            port: 0,
            account,
            running: None,
        };
        server.configure(settings, access);
        for _ in 0..PORTS {
            server.port = server_process::free_port();
            if server.try_start() {
                return server;
            }
        }
        panic!("postgres does not start:\n{}", server.log());
    }

    /// As [`PostgresServer::with`], and with TLS: a directory that holds `server.pem` and
    /// `server.key`, as an authority of `certificates` signs them under the name `server`.
    pub(crate) fn with_tls(dir: TempDir, settings: &str, access: &str) -> Self {
        let settings = format!(
            "ssl = on\nssl_cert_file = '$DIR/server.pem'\nssl_key_file = '$DIR/server.key'\n\
             {settings}"
        );
        Self::within(dir, &settings, access)
    }

    /// Where clients find it: TCP, the superuser, no TLS.
    pub(crate) fn url(&self) -> String {
        self.url_as("postgres", "?sslmode=disable")
    }

    /// As [`PostgresServer::url`], for another `user` or `user:password`, with what follows the
    /// database's name.
    pub(crate) fn url_as(&self, user: &str, rest: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/postgres{rest}", self.port)
    }

    /// The port on 127.0.0.1, and in the name of the Unix socket.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the test, where the Unix socket is as well.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What the server has logged since it was started last.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("server.log")).unwrap_or_default()
    }

    /// A client for the test itself: the superuser, by the Unix socket.
    pub(crate) async fn connect(&self) -> Client {
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(self.dir.path())
            .port(self.port)
            .user("postgres")
            .dbname("postgres");
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Runs statements as the superuser.
    pub(crate) async fn execute(&self, statements: &str) {
        let client = self.connect().await;
        client.batch_execute(statements).await.unwrap();
    }

    /// Stops it as an operator does (SIGINT, a fast shutdown), and waits until it is gone.
    pub(crate) fn stop(&mut self) {
        self.end_by(Signal::INT);
    }

    /// Stops it without a checkpoint (SIGQUIT): it recovers at its next start.
    pub(crate) fn stop_immediately(&mut self) {
        self.end_by(Signal::QUIT);
    }

    /// Kills it and all its processes without warning (SIGKILL).
    pub(crate) fn kill(&mut self) {
        let Some(mut child) = self.running.take() else {
            return;
        };
        let family = server_process::freeze(child.id(), PATIENCE);
        // The children first: the parent would start them again, if it could.
        for &pid in family.iter().rev() {
            server_process::signal(pid, Signal::KILL);
        }
        child.wait().unwrap();
        for &pid in &family {
            server_process::wait_until_gone(pid, PATIENCE);
        }
    }

    /// Freezes it (SIGSTOP), with all its processes. Connections stay.
    pub(crate) fn freeze(&self) {
        server_process::freeze(self.pid(), PATIENCE);
    }

    /// Lets a frozen server go on.
    pub(crate) fn thaw(&self) {
        for pid in server_process::family(self.pid()) {
            server_process::signal(pid, Signal::CONT);
        }
    }

    /// Stops it and starts it again with nearly all of its transactions spent, so that it takes no
    /// commands that write. Needs `wal_level = logical`: something has to hold the old ones back,
    /// or the server would make room by itself.
    pub(crate) async fn spend_transactions(&mut self) {
        const NEXT: u32 = 2_146_000_000;
        /// Transactions in a file of `pg_xact`, which has 2 bits for each.
        const IN_A_FILE: u32 = 1 << 20;
        self.execute("select pg_create_logical_replication_slot('held', 'pgoutput')")
            .await;
        self.stop();
        let reset = Account::command(self.account, binary("pg_resetwal"))
            .args(["-x", &NEXT.to_string(), "-D"])
            .arg(self.data())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&reset.stderr);
        assert!(reset.status.success(), "pg_resetwal: {said}");
        let file = self
            .data()
            .join(format!("pg_xact/{:04X}", NEXT / IN_A_FILE));
        fs::write(file, vec![0; IN_A_FILE as usize / 4]).unwrap();
        Account::own(self.account, self.dir.path());
        self.start_again();
    }

    /// Has it read its configuration again, after [`PostgresServer::configure`].
    pub(crate) fn reload(&self) {
        let before = self.log().matches("received SIGHUP").count();
        server_process::signal(self.pid(), Signal::HUP);
        let deadline = Instant::now() + PATIENCE;
        while self.log().matches("received SIGHUP").count() == before {
            assert!(Instant::now() < deadline, "no reload:\n{}", self.log());
            thread::sleep(POLL);
        }
    }

    /// Writes the configuration, which counts from the next start or reload on.
    pub(crate) fn configure(&self, settings: &str, access: &str) {
        let dir = self.dir.path().display().to_string();
        let settings = format!(
            "{SETTINGS}unix_socket_directories = '{dir}'\n{}",
            settings.replace("$DIR", &dir)
        );
        let data = self.data();
        fs::write(data.join("postgresql.conf"), settings).unwrap();
        fs::write(data.join("pg_hba.conf"), access).unwrap();
        Account::own(self.account, self.dir.path());
    }

    /// Starts it again, on the same port with the same data.
    pub(crate) fn start_again(&mut self) {
        assert!(self.running.is_none(), "the server still runs");
        assert!(self.try_start(), "no second start:\n{}", self.log());
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn pid(&self) -> u32 {
        self.running.as_ref().expect("the server runs").id()
    }

    /// False where it ended, as it does when its port is taken.
    fn try_start(&mut self) -> bool {
        let log = fs::File::create(self.dir.path().join("server.log")).unwrap();
        let child = Account::command(self.account, binary("postgres"))
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running = Some(child);
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ready() {
            if self.running.as_mut().unwrap().try_wait().unwrap().is_some() {
                self.running = None;
                return false;
            }
            assert!(Instant::now() < deadline, "not ready:\n{}", self.log());
            thread::sleep(POLL);
        }
        true
    }

    /// As the server itself says in the file where it keeps its process id.
    fn is_ready(&self) -> bool {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let mut lines = text.lines();
        lines.next().and_then(|pid| pid.parse().ok()) == Some(self.pid())
            && lines.next_back().map(str::trim) == Some("ready")
    }

    fn end_by(&mut self, signal: Signal) {
        let mut child = self.running.take().expect("the server runs");
        let family = server_process::family(child.id());
        server_process::signal(child.id(), signal);
        child.wait().unwrap();
        for pid in family {
            server_process::wait_until_gone(pid, PATIENCE);
        }
    }

    /// A server that was killed leaves a small segment of shared memory, which only the next
    /// start on the same data would remove.
    fn remove_shared_memory(&self) {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let segment = text
            .lines()
            .nth(6)
            .and_then(|line| line.split_whitespace().nth(1));
        if let Some(id) = segment {
            drop(Command::new("ipcrm").args(["-m", id]).output());
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.kill();
        self.remove_shared_memory();
    }
}

/// A program of Postgres.
pub(crate) fn binary(name: &str) -> PathBuf {
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let newest = installed
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("bin").join(name).is_file())
        .max_by_key(|path| version(path));
    newest.map_or_else(|| name.into(), |path| path.join("bin").join(name))
}

/// A cluster that no server has used, made once and kept for every test of the same version.
fn template(account: Option<Account>) -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let version = Command::new(binary("postgres")).arg("--version").output();
        let version = version.expect("these tests need Postgres: install postgresql");
        let version = String::from_utf8(version.stdout).unwrap();
        let number = version.split_whitespace().nth(2).unwrap();
        let kept = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("target/tmp")
            .join(format!("postgres-cluster-{number}"));
        if kept.is_dir() {
            return kept;
        }
        fs::create_dir_all(kept.parent().unwrap()).unwrap();
        let fresh = tempfile::tempdir().unwrap();
        Account::own(account, fresh.path());
        let made = Account::command(account, binary("initdb"))
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8"])
            .args(["--no-locale", "--no-sync", "--wal-segsize=1", "-D"])
            .arg(fresh.path().join("data"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "initdb: {said}");
        // Under its name only when it is whole; another test's process may be as far.
        let near = tempfile::tempdir_in(kept.parent().unwrap()).unwrap();
        copy(&fresh.path().join("data"), &near.path().join("data"));
        if fs::rename(near.path().join("data"), &kept).is_err() {
            assert!(kept.is_dir(), "{} cannot be made", kept.display());
        }
        kept
    })
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success(), "cp {}", from.display());
}
