//! edge-outbox as a daemon that takes events over HTTP.

use std::{fmt::Write as _, fs, net::Ipv4Addr, ops::Range, path::PathBuf, process::Command};

use edge_outbox_benches::{
    classroom::{DEVICE, lines},
    server::free_port,
};
use futures_util::future::try_join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    hub::Hub,
    load::{Load, Producer, Taken, run},
    local::{Local, wait_for_port},
    peer::{Ground, Peer},
};

/// Events in a request where it is to go fast.
const FILL_BATCH: u64 = 1_000;

/// The daemon, and the hub that its one sink delivers to.
pub struct Daemon {
    program: PathBuf,
    config: PathBuf,
    port: u16,
    local: Option<Local>,
    hub: Box<dyn Hub>,
}

impl Daemon {
    pub fn to(ground: &Ground, hub: impl Hub + 'static) -> Self {
        let config = ground.hub.join("edge-outbox.toml");
        let port = free_port();
        // As it comes, but for the room and, for the table of appends, the number of connections.
        let text = format!(
            "data_dir = {:?}\n[device]\nname = \"{DEVICE}\"\n[journal]\nmax_bytes = \"64 GiB\"\n\
             [http]\nlisten = \"127.0.0.1:{port}\"\nmax_connections = 1100\n{}",
            ground.store.join("data"),
            hub.sink()
        );
        fs::write(&config, text).expect("written");
        Self {
            program: ground.program.clone(),
            config,
            port,
            local: None,
            hub: Box::new(hub),
        }
    }

    /// The same, by the program as it is packaged.
    pub fn packaged(ground: &Ground, hub: impl Hub + 'static) -> Self {
        Self {
            program: ground.packaged.clone(),
            ..Self::to(ground, hub)
        }
    }
}

impl Peer for Daemon {
    fn launch(&mut self) {
        let mut command = Command::new(&self.program);
        let command = command.arg("run").env("EDGE_OUTBOX_CONFIG", &self.config);
        self.local = Some(Local::launch(command));
    }

    fn wait(&mut self) {
        wait_for_port(self.port);
    }

    fn load(&mut self, load: &Load) -> Taken {
        let port = self.port;
        run(load, async {
            let connect = (0..load.producers).map(|_| Connection::open(port));
            try_join_all(connect)
                .await
                .map_err(|error| error.to_string())
        })
    }

    fn fill(&mut self, load: &Load) {
        let taken = self.load(&Load {
            batch: FILL_BATCH,
            ..load.clone()
        });
        assert_eq!(taken.failure, None);
    }

    fn pid(&self) -> u32 {
        self.local.as_ref().expect("it runs").pid()
    }

    fn kill(&mut self) {
        self.local = None;
    }

    fn hub(&mut self) -> &mut dyn Hub {
        self.hub.as_mut()
    }
}

/// A keep-alive connection, with no more of HTTP than it takes.
struct Connection {
    socket: TcpStream,
    request: String,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(port: u16) -> std::io::Result<Self> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            request: String::new(),
            answer: Vec::new(),
        })
    }

    /// Reads one answer, whose body has a length.
    async fn answered(&mut self) -> std::io::Result<()> {
        self.answer.clear();
        loop {
            if let Some(whole) = length(&self.answer)
                && self.answer.len() >= whole
            {
                return Ok(());
            }
            if self.socket.read_buf(&mut self.answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// How long an answer is, once its head is there.
fn length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(answer.get(..head)?).ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(": "));
    let (_, body) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    Some(head + body.parse::<usize>().ok()?)
}

impl Producer for Connection {
    async fn append(&mut self, numbers: Range<u64>, bytes: usize) -> Result<(), String> {
        self.request.clear();
        let kind = match numbers.end - numbers.start {
            1 => "json",
            _ => "x-ndjson",
        };
        let body = lines(numbers, bytes);
        let length = body.len();
        let _ = write!(
            self.request,
            "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/{kind}\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        let sent = self.socket.write_all(self.request.as_bytes()).await;
        sent.map_err(|error| error.to_string())?;
        self.answered().await.map_err(|error| error.to_string())?;
        if self.answer.starts_with(b"HTTP/1.1 201") || self.answer.starts_with(b"HTTP/1.1 200") {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&self.answer).into_owned())
    }
}
