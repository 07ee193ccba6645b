//! A real RabbitMQ with its MQTT plugin: on free loopback ports, in a directory of its own, gone
//! with the value that holds it.
//!
//! It takes seconds to start, so a test binary shares one ([`RabbitServer::shared`]). Debian's 3.10
//! speaks MQTT 3.1.1 and no MQTT 5. The script is `$EDGE_OUTBOX_RABBITMQ`, else
//! `/usr/lib/rabbitmq/bin/rabbitmq-server`, as Debian installs it. Without it a test fails.

use std::{
    fs,
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    sync::{Mutex, OnceLock, Weak},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use super::server_process::free_port;

const BINARY: &str = "EDGE_OUTBOX_RABBITMQ";
/// Debian's command of the same name changes to a user of its own, whom the test's directory is not open
/// to; this is what it runs then.
const INSTALLED: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// How long it may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);
/// How often ports that were free a moment ago may turn out to be taken.
const MAX_TRIES: usize = 3;

/// A running RabbitMQ, open to everybody.
pub(crate) struct RabbitServer {
    dir: TempDir,
    port: u16,
    /// Erlang's register of nodes, which a node else starts for itself and leaves behind.
    register: Child,
    node: Child,
}

impl RabbitServer {
    /// The one that this test binary's tests share; it ends with the last who holds it.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Mutex<Weak<RabbitServer>>> = OnceLock::new();
        let mut shared = SHARED.get_or_init(Mutex::default).lock().unwrap();
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// Where clients find it.
    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("rabbitmq.log")).unwrap_or_default()
    }

    fn start() -> Self {
        for _ in 0..MAX_TRIES {
            let mut server = Self::launch();
            if server.is_ready() {
                return server;
            }
        }
        panic!("RabbitMQ does not start on any ports");
    }

    fn launch() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let (port, register_port) = (free_port(), free_port());
        let register = Command::new("epmd")
            .args(["-address", "127.0.0.1", "-port", &register_port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need Erlang's `epmd` command");
        fs::write(path("plugins"), "[rabbitmq_mqtt].\n").unwrap();
        fs::write(
            path("rabbitmq.conf"),
            format!(
                "listeners.tcp = none\nmqtt.listeners.tcp.1 = 127.0.0.1:{port}\n\
                 mqtt.allow_anonymous = true\nlog.console = true\nlog.file = false\n"
            ),
        )
        .unwrap();
        let log = fs::File::create(path("rabbitmq.log")).unwrap();
        let mut command = Command::new(binary());
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", dir.path())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", register_port.to_string())
            .env("ERL_INETRC", path("none"))
            .env("RABBITMQ_NODENAME", "edge-outbox-test@localhost")
            .env("RABBITMQ_DIST_PORT", free_port().to_string())
            .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins"))
            .env("RABBITMQ_CONF_ENV_FILE", path("none"))
            .env("RABBITMQ_MNESIA_BASE", path("data"))
            .env("RABBITMQ_LOG_BASE", path("log"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", path("config"))
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}",
            )
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        // It starts helpers; all of them end together.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let node = command.spawn().unwrap();
        Self {
            dir,
            port,
            register,
            node,
        }
    }

    /// Waits until it takes connections; false where it ended instead.
    fn is_ready(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains("Server startup complete")
            || TcpStream::connect(("127.0.0.1", self.port)).is_err()
        {
            if self.node.try_wait().unwrap().is_some() {
                eprintln!("{}", self.log());
                return false;
            }
            assert!(
                Instant::now() < deadline,
                "waiting for RabbitMQ in vain:\n{}",
                self.log()
            );
            thread::sleep(POLL);
        }
        true
    }
}

impl Drop for RabbitServer {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.node), Signal::KILL);
        let _ = self.node.wait();
        let _ = self.register.kill();
        let _ = self.register.wait();
    }
}

fn binary() -> PathBuf {
    let path = std::env::var_os(BINARY).map_or_else(|| INSTALLED.into(), PathBuf::from);
    assert!(
        path.is_file(),
        "no RabbitMQ at {}: install Debian's `rabbitmq-server`, or name its script in {BINARY}",
        path.display()
    );
    path
}
