//! Each fault of the proxy that other tests rely on, seen by a client of a plain echo server.

mod support;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use support::fault_proxy::{Fault, FaultProxy, Way};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough to see that nothing comes.
const MOMENT: Duration = Duration::from_millis(150);

/// A server that sends back what it gets, to any number of clients, until the process ends.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut chunk = [0; 4_096];
                while let Ok(read) = stream.read(&mut chunk)
                    && read > 0
                    && stream.write_all(&chunk[..read]).is_ok()
                {}
            });
        }
    });
    address
}

fn proxy() -> FaultProxy {
    FaultProxy::to(echo_server())
}

fn connect(proxy: &FaultProxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Says it and hears it back.
fn talk(stream: &mut TcpStream, said: &[u8]) {
    stream.write_all(said).unwrap();
    hear(stream, said);
}

fn hear(stream: &mut TcpStream, said: &[u8]) {
    let mut heard = vec![0; said.len()];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(heard, said);
}

#[track_caller]
fn assert_silent(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(MOMENT)).unwrap();
    let error = stream.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
}

#[track_caller]
fn assert_reset(stream: &mut TcpStream) {
    let error = stream.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}

#[test]
fn without_a_fault_everything_passes_and_is_counted() {
    let proxy = proxy();
    let said: Vec<u8> = (0..200_000_u32).map(|at| at as u8).collect();
    let mut stream = connect(&proxy);
    let mut other = stream.try_clone().unwrap();
    let long = said.clone();
    let talking = thread::spawn(move || other.write_all(&long).unwrap());
    hear(&mut stream, &said);
    talking.join().unwrap();
    talk(&mut connect(&proxy), b"hello");
    let traffic = proxy.traffic();
    assert_eq!(traffic.connections, 2);
    assert_eq!((traffic.up, traffic.down), (200_005, 200_005));
}

#[test]
fn a_client_that_ends_its_half_still_hears_the_rest() {
    let proxy = proxy();
    let mut stream = connect(&proxy);
    stream.write_all(b"the rest").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"the rest");
}

#[test]
fn a_cut_ends_every_connection_in_order_and_new_ones_pass() {
    let proxy = proxy();
    let mut streams = [connect(&proxy), connect(&proxy)];
    for stream in &mut streams {
        talk(stream, b"before");
    }
    proxy.cut();
    for stream in &mut streams {
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    }
    talk(&mut connect(&proxy), b"after");
}

#[test]
fn a_reset_is_seen_as_one() {
    let proxy = proxy();
    let mut stream = connect(&proxy);
    talk(&mut stream, b"before");
    proxy.reset();
    assert_reset(&mut stream);
    talk(&mut connect(&proxy), b"after");
}

#[test]
fn refusing_leaves_the_old_connections_and_comes_back_on_the_same_port() {
    let proxy = proxy();
    let mut old = connect(&proxy);
    talk(&mut old, b"before");
    for _ in 0..20 {
        proxy.refuse();
        let error = TcpStream::connect(proxy.address()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
        talk(&mut old, b"still there");
        proxy.accept();
        talk(&mut connect(&proxy), b"back");
    }
}

#[test]
fn a_port_that_refuses_is_not_given_to_anybody_else() {
    let proxy = proxy();
    proxy.refuse();
    let taken = TcpListener::bind(proxy.address());
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::AddrInUse);
}

#[test]
fn a_delay_counts_each_way() {
    const LATENCY: Duration = Duration::from_millis(80);
    let proxy = proxy();
    let mut stream = connect(&proxy);
    talk(&mut stream, b"before");
    proxy.suffer(Fault::Delay(LATENCY));
    let began = Instant::now();
    talk(&mut stream, b"slow");
    assert!(began.elapsed() >= 2 * LATENCY, "{:?}", began.elapsed());
    proxy.mend();
    let began = Instant::now();
    talk(&mut stream, b"fast");
    assert!(began.elapsed() < LATENCY, "{:?}", began.elapsed());
}

#[test]
fn a_blackhole_holds_back_everything_and_loses_nothing() {
    let proxy = proxy();
    let mut old = connect(&proxy);
    talk(&mut old, b"before");
    let before = proxy.traffic();
    proxy.suffer(Fault::Blackhole);
    let mut new = connect(&proxy);
    for stream in [&mut old, &mut new] {
        stream.write_all(b"held").unwrap();
        assert_silent(stream);
    }
    let during = proxy.traffic();
    assert_eq!((during.up, during.down), (before.up, before.down));
    proxy.mend();
    for stream in [&mut old, &mut new] {
        hear(stream, b"held");
    }
}

#[test]
fn what_a_blackhole_held_arrives_even_if_its_sender_has_given_up() {
    let proxy = proxy();
    let mut stream = connect(&proxy);
    talk(&mut stream, b"before");
    let before = proxy.traffic();
    proxy.suffer(Fault::Blackhole);
    stream.write_all(b"late").unwrap();
    drop(stream);
    thread::sleep(MOMENT);
    assert_eq!(proxy.traffic().up, before.up);
    proxy.mend();
    let deadline = Instant::now() + PATIENCE;
    while proxy.traffic().up < before.up + 4 {
        assert!(Instant::now() < deadline, "{:?}", proxy.traffic());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_half_open_connection_takes_bytes_and_never_says_a_word() {
    let proxy = proxy();
    let mut stream = connect(&proxy);
    talk(&mut stream, b"before");
    let before = proxy.traffic();
    proxy.leave_half_open();
    for _ in 0..5 {
        stream.write_all(b"into nothing").unwrap();
        assert_silent(&mut stream);
    }
    assert_eq!(proxy.traffic().up, before.up);
    talk(&mut connect(&proxy), b"after");
}

#[test]
fn a_reset_in_mid_message_lets_exactly_so_many_bytes_through() {
    for way in [Way::Up, Way::Down] {
        let proxy = proxy();
        let mut stream = connect(&proxy);
        talk(&mut stream, b"before");
        let before = proxy.traffic();
        proxy.reset_after(way, 10);
        talk(&mut stream, b"four");
        assert!(proxy.will_reset());
        stream.write_all(b"a longer message").unwrap();
        let mut heard = Vec::new();
        let error = stream.read_to_end(&mut heard).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        assert!(!proxy.will_reset());
        let traffic = proxy.traffic();
        let passed = match way {
            Way::Up => traffic.up - before.up,
            Way::Down => traffic.down - before.down,
        };
        assert_eq!(passed, 10, "{way:?}");
        talk(&mut connect(&proxy), b"after, and once only");
    }
}

#[test]
fn a_byte_at_a_time_comes_in_many_pieces() {
    let proxy = proxy();
    let mut stream = connect(&proxy);
    proxy.suffer(Fault::ByteByByte);
    let said: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    stream.write_all(&said).unwrap();
    let mut heard = Vec::new();
    let mut pieces = 0;
    while heard.len() < said.len() {
        let mut chunk = [0; 4_096];
        let read = stream.read(&mut chunk).unwrap();
        heard.extend_from_slice(&chunk[..read]);
        pieces += 1;
    }
    assert_eq!(heard, said);
    // As a whole they come in two or three; a reader that is woken late finds several bytes.
    assert!(pieces > 10, "20,000 bytes came in {pieces} pieces");
}

#[test]
fn answers_are_swallowed_and_the_connection_that_lost_one_is_reset_afterwards() {
    let proxy = proxy();
    let mut unlucky = connect(&proxy);
    let mut idle = connect(&proxy);
    talk(&mut unlucky, b"before");
    talk(&mut idle, b"before");
    let before = proxy.traffic();
    proxy.suffer(Fault::NoAnswers);
    unlucky.write_all(b"unanswered").unwrap();
    assert_silent(&mut unlucky);
    assert_eq!(proxy.traffic().up, before.up + 10, "the server has it");
    proxy.mend();
    assert_reset(&mut unlucky);
    talk(&mut idle, b"lost nothing");
}

#[test]
fn the_server_behind_it_can_change() {
    let proxy = proxy();
    let mut old = connect(&proxy);
    talk(&mut old, b"before");
    let dead = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nowhere = dead.local_addr().unwrap();
    drop(dead);
    proxy.lead_to(nowhere);
    assert_reset(&mut connect(&proxy));
    talk(&mut old, b"still with the old one");
    proxy.lead_to(echo_server());
    talk(&mut connect(&proxy), b"after");
}
