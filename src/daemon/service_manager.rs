//! What the daemon tells the service manager that started it, as in sd_notify(3): that it is
//! ready, how it is, that it is alive, that it stops. Without one, nothing is told.
//!
//! It counts as alive while the thread that writes the journal answers: a process whose listeners
//! still accept while nothing becomes durable any more has to be restarted. A journal that is being
//! reopened after a failed read or write answers, for a restart would not mend the disk.

use std::{
    convert::Infallible,
    future::pending,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram as StdDatagram},
    },
    pin::pin,
    time::Duration,
};

use tokio::{
    net::UnixDatagram,
    sync::watch,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::{
    config::{ConfigError, Environment},
    outbox::Outbox,
    status::Status,
};

/// How long a change of the status may gather others before it is told.
const STATUS_PAUSE: Duration = Duration::from_secs(5);
/// How long a service manager that reads nothing may hold up the stopping.
const STOPPING_LIMIT: Duration = Duration::from_millis(100);
/// How many signs of life are given in the time within which the service manager wants one.
const SIGNS_OF_LIFE: u32 = 2;

/// The way to the service manager.
pub(super) struct ServiceManager {
    /// None where nobody asked to be told.
    socket: Option<UnixDatagram>,
    /// Within this time it wants a sign of life.
    watchdog: Option<Duration>,
}

/// Why the service manager cannot be told anything.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceManagerError {
    #[error(transparent)]
    Environment(#[from] ConfigError),
    #[error("connecting to the service manager at {address} failed: {source}")]
    Connect { address: String, source: io::Error },
}

impl ServiceManager {
    /// The one that `NOTIFY_SOCKET` names: a path, or after an `@` a name without a file. Its
    /// watchdog is meant for this process only if `WATCHDOG_PID` says so or is not there.
    ///
    /// Has to be called in a runtime.
    pub(super) fn connect(environment: &Environment) -> Result<Self, ServiceManagerError> {
        let variable = |name| environment.get(name).map_err(ConfigError::from);
        let Some(address) = variable("NOTIFY_SOCKET")? else {
            return Ok(Self::absent());
        };
        let socket = connect(address).map_err(|source| ServiceManagerError::Connect {
            address: address.to_owned(),
            source,
        })?;
        let own = std::process::id().to_string();
        let is_meant = variable("WATCHDOG_PID")?.is_none_or(|pid| pid == own);
        let watchdog = variable("WATCHDOG_USEC")?
            .and_then(|micros| micros.parse().ok())
            .filter(|micros| is_meant && *micros > 0)
            .map(Duration::from_micros);
        Ok(Self {
            socket: Some(socket),
            watchdog,
        })
    }

    /// Nobody.
    pub(super) const fn absent() -> Self {
        Self {
            socket: None,
            watchdog: None,
        }
    }

    /// Says that the daemon is ready, and from then on how it is and that it is alive.
    pub(super) async fn report(&self, outbox: &Outbox) -> Infallible {
        if self.socket.is_some() {
            let mut board = outbox.status();
            let told = board.borrow_and_update().to_string();
            self.tell(&format!("READY=1\nSTATUS={told}")).await;
            tokio::join!(self.tell_status(board, told), self.tell_life(outbox));
        }
        pending().await
    }

    /// Says that a hub is ready, and from then on how it is and that it is alive, which it is while its
    /// runtime gets round to this.
    #[cfg(feature = "hub")]
    pub(super) async fn report_hub(&self, state: impl Fn() -> String) -> Infallible {
        let mut told = state();
        self.tell(&format!("READY=1\nSTATUS={told}")).await;
        let pause = self.watchdog.map(|limit| limit / SIGNS_OF_LIFE);
        loop {
            sleep(pause.unwrap_or(STATUS_PAUSE).min(STATUS_PAUSE)).await;
            if self.watchdog.is_some() {
                self.tell("WATCHDOG=1").await;
            }
            let now = state();
            if now != told {
                self.tell(&format!("STATUS={now}")).await;
                told = now;
            }
        }
    }

    /// Says that a relay is ready, and from then on how it is and that it is alive, which it is while
    /// its journal is.
    #[cfg(feature = "hub")]
    pub(super) async fn report_relay(
        &self,
        outbox: &Outbox,
        gauges: &crate::relay::Gauges,
    ) -> Infallible {
        if self.socket.is_some() {
            let state = || format!("{gauges}; {}", *outbox.status().borrow());
            let mut told = state();
            self.tell(&format!("READY=1\nSTATUS={told}")).await;
            let tell_state = async {
                loop {
                    sleep(STATUS_PAUSE).await;
                    let now = state();
                    if now != told {
                        self.tell(&format!("STATUS={now}")).await;
                        told = now;
                    }
                }
            };
            let (never, ()) = tokio::join!(tell_state, self.tell_life(outbox));
            never
        } else {
            pending().await
        }
    }

    /// Says that the daemon stops, to a service manager that listens.
    pub(super) async fn stopping(&self) {
        // One that does not will see it stop.
        drop(timeout(STOPPING_LIMIT, self.tell("STOPPING=1")).await);
    }

    async fn tell_status(&self, mut board: watch::Receiver<Status>, mut told: String) {
        while board.changed().await.is_ok() {
            sleep(STATUS_PAUSE).await;
            let now = board.borrow_and_update().to_string();
            if now != told {
                self.tell(&format!("STATUS={now}")).await;
                told = now;
            }
        }
    }

    async fn tell_life(&self, outbox: &Outbox) {
        let Some(limit) = self.watchdog else { return };
        let pause = limit / SIGNS_OF_LIFE;
        loop {
            // Any question that the writer's own thread answers would do; this one costs no commit.
            let mut answer = pin!(outbox.find(Uuid::nil()));
            let answer = match timeout(pause, &mut answer).await {
                Ok(answer) => answer,
                Err(_) => {
                    tracing::error!(
                        "the journal's writer does not answer; the service manager will end this \
                         process if that lasts"
                    );
                    let answer = answer.await;
                    tracing::info!("the journal's writer answers again");
                    answer
                }
            };
            if let Err(error) = answer {
                tracing::error!(%error, "the journal's writer is gone; no more signs of life");
                return;
            }
            self.tell("WATCHDOG=1").await;
            sleep(pause).await;
        }
    }

    async fn tell(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(message.as_bytes()).await {
            tracing::debug!(%error, message, "the service manager was not told");
        }
    }
}

fn connect(address: &str) -> io::Result<UnixDatagram> {
    let address = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    let socket = StdDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Instant};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A service manager with a watchdog of 300 ms, an outbox, and what is told.
    fn scene(dir: &std::path::Path) -> (ServiceManager, Outbox, UnixDatagram) {
        let path = dir.join("notify");
        let theirs = UnixDatagram::bind(&path).unwrap();
        let environment = Environment::from([
            ("NOTIFY_SOCKET", path.to_str().unwrap()),
            ("WATCHDOG_USEC", "300000"),
        ]);
        let manager = ServiceManager::connect(&environment).unwrap();
        let outbox = Outbox::builder(dir.join("data")).open().unwrap();
        (manager, outbox, theirs)
    }

    async fn told(socket: &UnixDatagram) -> String {
        let mut room = [0; 1024];
        let length = timeout(PATIENCE, socket.recv(&mut room)).await.unwrap();
        String::from_utf8(room[..length.unwrap()].to_vec()).unwrap()
    }

    /// How many messages come in 1.2 s: eight from a writer that answers. Where it does not, those
    /// that were on their way may.
    async fn signs(socket: &UnixDatagram) -> usize {
        let begin = Instant::now();
        let mut signs = 0;
        while let Some(left) = Duration::from_millis(1_200).checked_sub(begin.elapsed()) {
            signs += usize::from(timeout(left, told(socket)).await.is_ok());
        }
        signs
    }

    #[tokio::test]
    async fn no_sign_of_life_is_given_while_the_writer_hangs_or_once_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (manager, outbox, theirs) = scene(dir.path());
        let watched = outbox.clone();
        let report = tokio::spawn(async move { manager.report(&watched).await });
        assert_eq!(
            told(&theirs).await,
            "READY=1\nSTATUS=takes events, up to seq 1; no sink: events are kept"
        );
        assert_eq!(told(&theirs).await, "WATCHDOG=1");
        assert_eq!(told(&theirs).await, "WATCHDOG=1");

        let (hanging, hangs) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let hang = tokio::spawn({
            let outbox = outbox.clone();
            async move {
                let run = move |_: &crate::outbox::Transaction<'_>| -> Result<(), ()> {
                    hanging.send(()).unwrap();
                    released.recv().unwrap();
                    Ok(())
                };
                outbox.transact(run).await.unwrap();
            }
        });
        tokio::task::spawn_blocking(move || hangs.recv().unwrap())
            .await
            .unwrap();
        assert!(signs(&theirs).await <= 2);

        release.send(()).unwrap();
        hang.await.unwrap();
        assert_eq!(told(&theirs).await, "WATCHDOG=1");

        // Nor when it is gone.
        outbox.close().await;
        assert!(signs(&theirs).await <= 2);
        report.abort();
    }

    #[tokio::test]
    async fn a_watchdog_meant_for_another_process_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let _theirs = UnixDatagram::bind(&path).unwrap();
        let with_pid = |pid: &str| {
            let environment = Environment::from([
                ("NOTIFY_SOCKET", path.to_str().unwrap()),
                ("WATCHDOG_USEC", "300000"),
                ("WATCHDOG_PID", pid),
            ]);
            ServiceManager::connect(&environment).unwrap().watchdog
        };
        assert_eq!(with_pid("1"), None);
        let own = std::process::id().to_string();
        assert_eq!(with_pid(&own), Some(Duration::from_millis(300)));
    }

    #[tokio::test]
    async fn a_service_manager_may_be_at_a_name_without_a_file_or_nowhere() {
        let name = format!("edge-outbox-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let theirs = StdDatagram::bind_addr(&address).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let theirs = UnixDatagram::from_std(theirs).unwrap();
        let address = format!("@{name}");
        let environment = Environment::from([("NOTIFY_SOCKET", address.as_str())]);
        let manager = ServiceManager::connect(&environment).unwrap();
        manager.stopping().await;
        assert_eq!(told(&theirs).await, "STOPPING=1");

        let dir = tempfile::tempdir().unwrap();
        let nowhere = dir.path().join("nobody");
        let environment = Environment::from([("NOTIFY_SOCKET", nowhere.to_str().unwrap())]);
        let error = ServiceManager::connect(&environment).err().unwrap();
        let expected = format!("connecting to the service manager at {}", nowhere.display());
        assert!(error.to_string().starts_with(&expected), "{error}");
        let nobody = ServiceManager::connect(&Environment::default()).unwrap();
        assert!(nobody.socket.is_none());
    }
}
