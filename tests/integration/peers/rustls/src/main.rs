//! A TLS tunnel with rustls; see harness/tls_peers.py. 0.20, or 0.23 and newer (cfg `rustls23`); only the
//! latter can send a KeyUpdate.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::{env, fs, process, thread};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// The first thing in a PEM file.
fn der(path: &str) -> Result<Vec<u8>> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = fs::read_to_string(path)?;
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for line in text.lines().skip(1).take_while(|line| !line.starts_with('-')) {
        for digit in line.bytes().filter_map(|octet| DIGITS.iter().position(|of| *of == octet)) {
            bits = (bits << 6) | digit as u32;
            count += 6;
            if count >= 8 {
                count -= 8;
                bytes.push((bits >> count) as u8);
            }
        }
    }
    Ok(bytes)
}

#[cfg(not(rustls23))]
fn connection(is_server: bool, files: &[String]) -> Result<rustls::Connection> {
    if is_server {
        let chain = vec![rustls::Certificate(der(&files[0])?)];
        let settings = rustls::ServerConfig::builder()
            .with_safe_default_cipher_suites()
            .with_safe_default_kx_groups()
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(chain, rustls::PrivateKey(der(&files[1])?))?;
        return Ok(rustls::ServerConnection::new(Arc::new(settings))?.into());
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add(&rustls::Certificate(der(&files[2])?))?;
    let settings = rustls::ClientConfig::builder()
        .with_safe_default_cipher_suites()
        .with_safe_default_kx_groups()
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(rustls::ClientConnection::new(Arc::new(settings), "localhost".try_into()?)?.into())
}

#[cfg(rustls23)]
fn connection(is_server: bool, files: &[String]) -> Result<rustls::Connection> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let versions = [&rustls::version::TLS13];
    if is_server {
        let chain = vec![CertificateDer::from(der(&files[0])?)];
        let key = PrivateKeyDer::Pkcs8(der(&files[1])?.into());
        let settings = rustls::ServerConfig::builder_with_protocol_versions(&versions)
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        return Ok(rustls::ServerConnection::new(Arc::new(settings))?.into());
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(der(&files[2])?))?;
    let settings = rustls::ClientConfig::builder_with_protocol_versions(&versions)
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(rustls::ClientConnection::new(Arc::new(settings), "localhost".try_into()?)?.into())
}

/// Sends KeyUpdates that ask for the peer's, one after so many octets; 0: none.
struct Rekeying {
    octets: usize,
    since_last: usize,
    sent: Arc<AtomicUsize>,
}

impl Rekeying {
    fn after(&mut self, count: usize, tls: &mut rustls::Connection) -> Result<()> {
        self.since_last += count;
        if self.octets == 0 || self.since_last < self.octets {
            return Ok(());
        }
        self.since_last = 0;
        self.sent.fetch_add(1, Ordering::Relaxed);
        send_key_update(tls)
    }
}

#[cfg(rustls23)]
fn send_key_update(tls: &mut rustls::Connection) -> Result<()> {
    Ok(tls.refresh_traffic_keys()?)
}

#[cfg(not(rustls23))]
fn send_key_update(_: &mut rustls::Connection) -> Result<()> {
    Err("this release has no way to send a KeyUpdate".into())
}

fn flush(tls: &mut rustls::Connection, mut raw: &TcpStream) -> Result<()> {
    while tls.wants_write() {
        tls.write_tls(&mut raw)?;
    }
    Ok(())
}

/// From the network to the plain side, until close_notify.
fn receive(
    tls: &Mutex<rustls::Connection>,
    mut raw: &TcpStream,
    mut plain: &TcpStream,
    mut rekeying: Rekeying,
) -> Result<()> {
    let mut buffer = vec![0; 1 << 16];
    // What has come with the end of the handshake.
    let mut early = Vec::new();
    {
        let mut tls = tls.lock().unwrap();
        early.resize(tls.process_new_packets()?.plaintext_bytes_to_read(), 0);
        tls.reader().read_exact(&mut early)?;
    }
    plain.write_all(&early)?;
    loop {
        let count = raw.read(&mut buffer)?;
        let (mut bytes, mut content) = (&buffer[..count], Vec::new());
        let mut tls = tls.lock().unwrap();
        let mut is_end = count == 0;
        while !bytes.is_empty() {
            tls.read_tls(&mut bytes)?;
            let state = tls.process_new_packets()?;
            is_end = is_end || state.peer_has_closed();
            let begin = content.len();
            content.resize(begin + state.plaintext_bytes_to_read(), 0);
            tls.reader().read_exact(&mut content[begin..])?;
        }
        if !is_end {
            rekeying.after(content.len(), &mut tls)?;
        }
        flush(&mut tls, raw)?;
        drop(tls);
        plain.write_all(&content)?;
        if is_end {
            return Ok(());
        }
    }
}

/// The other direction, until the end of the plain side.
fn send(
    tls: &Mutex<rustls::Connection>,
    raw: &TcpStream,
    mut plain: &TcpStream,
    mut rekeying: Rekeying,
) -> Result<()> {
    let mut buffer = vec![0; 1 << 14];
    loop {
        let count = plain.read(&mut buffer)?;
        let mut tls = tls.lock().unwrap();
        if count == 0 {
            tls.send_close_notify();
            return flush(&mut tls, raw);
        }
        tls.writer().write_all(&buffer[..count])?;
        rekeying.after(count, &mut tls)?;
        flush(&mut tls, raw)?;
    }
}

fn run() -> Result<()> {
    let words: Vec<String> = env::args().collect();
    let is_server = words[1] == "server";
    let listener = TcpListener::bind("127.0.0.1:0")?;
    eprintln!("port {}", listener.local_addr()?.port());
    let (accepted, _) = listener.accept()?;
    let target = TcpStream::connect(("127.0.0.1", words[2].parse()?))?;
    let (mut raw, plain) = if is_server { (accepted, target) } else { (target, accepted) };
    let mut bytes = SSL_REQUEST;
    if is_server {
        raw.read_exact(&mut bytes)?;
        raw.write_all(b"S")?;
    } else {
        raw.write_all(&bytes)?;
        raw.read_exact(&mut bytes[..1])?;
    }
    let mut tls = connection(is_server, &words[3..])?;
    while tls.is_handshaking() {
        tls.complete_io(&mut raw)?;
    }
    flush(&mut tls, &raw)?;

    let octets = words[6].parse()?;
    let sent = Arc::new(AtomicUsize::new(0));
    let rekeying = || Rekeying { octets, since_last: 0, sent: Arc::clone(&sent) };
    let (rekeying_out, rekeying_in) = (rekeying(), rekeying());
    let ends = Arc::new((Mutex::new(tls), raw, plain));
    let others = Arc::clone(&ends);
    let receiver = thread::spawn(move || {
        let done = receive(&others.0, &others.1, &others.2, rekeying_in);
        let _ = others.2.shutdown(Shutdown::Both);
        done
    });
    let done = send(&ends.0, &ends.1, &ends.2, rekeying_out);
    let _ = ends.1.shutdown(Shutdown::Write);
    let received = receiver.join().unwrap();
    done.and(received)?;
    eprintln!("version=TLSv1.3 sent={} received=-1", sent.load(Ordering::Relaxed));
    Ok(())
}

fn main() {
    if let Err(error) = run() {
        eprintln!("{}", error);
        process::exit(1);
    }
}
