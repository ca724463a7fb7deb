//! TLS, and certificates that change under load.

use super::super::Certificates;
use super::super::tls::TlsError;
use super::*;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;

/// Writes a certificate for a name, signed by itself, and its key.
fn write(folder: &Path, name: &str) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    std::fs::write(folder.join("chain.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

pub(super) fn transport(folder: &TempDir, name: &str) -> (Transport, CertificateDer<'static>) {
    let certificate = write(folder.path(), name);
    (Transport::Tls(load(folder.path()).unwrap()), certificate)
}

fn load(folder: &Path) -> Result<Arc<Certificates>, TlsError> {
    Certificates::load(&folder.join("chain.pem"), &folder.join("key.pem"))
}

pub(super) struct Client {
    connector: TlsConnector,
    name: ServerName<'static>,
}

pub(super) type Secured = tokio_rustls::client::TlsStream<tokio::net::TcpStream>;

impl Client {
    pub(super) fn new(trusted: &[CertificateDer<'static>], name: &'static str, protocol: &str) -> Client {
        let mut roots = RootCertStore::empty();
        trusted.iter().for_each(|certificate| roots.add(certificate.clone()).unwrap());
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Client { connector: TlsConnector::from(Arc::new(config)), name: name.try_into().unwrap() }
    }

    pub(super) async fn connect(&self, address: SocketAddr) -> std::io::Result<Secured> {
        let stream = tokio::net::TcpStream::connect(address).await?;
        self.connector.connect(self.name.clone(), stream).await
    }
}

fn request() -> Request<Full<Bytes>> {
    Request::post("/").header("host", "a.test").body(Full::new(Bytes::from_static(b"abc"))).unwrap()
}

#[tokio::test]
async fn both_protocols_are_spoken_in_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (transport, certificate) = transport(&folder, "a.test");
    let worker = Setup { transport, ..Setup::default() }.start();
    let stream =
        Client::new(std::slice::from_ref(&certificate), "a.test", "http/1.1").connect(worker.address).await.unwrap();
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let first = tokio::spawn(connection);
    let answer = client.send_request(request()).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(answer, "127.0.0.1 sent 3 bytes;");
    let stream = Client::new(&[certificate], "a.test", "h2").connect(worker.address).await.unwrap();
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let second = tokio::spawn(connection);
    let request = Request::post("https://a.test/").body(Full::new(Bytes::from_static(b"abc"))).unwrap();
    let answer = client.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(answer, "127.0.0.1 sent 3 bytes;");
    worker.stop.request();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    worker.end();
}

#[tokio::test]
async fn a_session_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let (transport, certificate) = transport(&folder, "a.test");
    let worker = Setup { transport, ..Setup::default() }.start();
    let client = Client::new(&[certificate], "a.test", "http/1.1");
    for expected in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
        let stream = client.connect(worker.address).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected));
        let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        // The ticket comes with the answer.
        client.send_request(request()).await.unwrap().into_body().collect().await.unwrap();
        drop(client);
        let _ = connection.await.unwrap();
    }
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_under_load_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let old = write(folder.path(), "old.test");
    let certificates = load(folder.path()).unwrap();
    let stop = Stop::new();
    let keeper = {
        let (certificates, stop) = (certificates.clone(), stop.clone());
        tokio::spawn(async move { certificates.keep_current(Duration::from_millis(20), stop).await })
    };
    let worker = Setup { transport: Transport::Tls(certificates), ..Setup::default() }.start();
    // Load: connections come and go, and each must be answered, by whichever certificate.
    let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let load = {
        let (over, served, address) = (over.clone(), served.clone(), worker.address);
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                answered(address).await;
                served.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let is = async |certificate: &CertificateDer<'static>, name| {
        Client::new(std::slice::from_ref(certificate), name, "http/1.1").connect(worker.address).await.is_ok()
    };
    assert!(is(&old, "old.test").await);
    // A key that fits no certificate, then no certificate at all: both seen by the keeper, neither taken.
    for broken in [rcgen::KeyPair::generate().unwrap().serialize_pem(), "nothing".to_owned()] {
        std::fs::write(folder.path().join("key.pem"), broken).unwrap();
        let before = served.load(Ordering::Relaxed);
        while served.load(Ordering::Relaxed) < before + 100 {
            tokio::task::yield_now().await;
        }
        assert!(is(&old, "old.test").await);
    }
    let new = write(folder.path(), "new.test");
    let start = Instant::now();
    while !is(&new, "new.test").await {
        assert!(start.elapsed() < DEADLINE, "the new certificate is never used");
    }
    over.store(true, Ordering::Relaxed);
    load.await.expect("every request is answered");
    assert!(served.load(Ordering::Relaxed) > 200);
    stop.request();
    keeper.await.unwrap();
}

/// One connection with one request, by a client that takes any certificate.
async fn answered(address: SocketAddr) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let client = Client { connector: TlsConnector::from(Arc::new(config)), name: "any.test".try_into().unwrap() };
    let stream = client.connect(address).await.unwrap();
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let answer = client.send_request(request()).await.unwrap();
    assert!(answer.status().is_success());
}

#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn what_is_wrong_with_the_files_is_said_with_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let message = |folder: &Path| load(folder).err().unwrap().to_string();
    assert!(message(folder.path()).contains("chain.pem"));
    write(folder.path(), "a.test");
    std::fs::write(folder.path().join("chain.pem"), "").unwrap();
    assert!(message(folder.path()).contains("chain.pem holds no certificate"));
    write(folder.path(), "a.test");
    std::fs::write(folder.path().join("key.pem"), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(message(folder.path()).contains("key.pem does not fit"));
}
