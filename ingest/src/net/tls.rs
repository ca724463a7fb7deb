//! TLS: the certificate chain and key from PEM files, and their replacement while connections come and go. Clients are
//! not asked for certificates.

use super::meters;
use crate::clock;
use crate::limits::MAX_TLS_SESSIONS;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem};
use service::Stop;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TlsError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is no PEM file: {source}", path.display())]
    Pem { path: PathBuf, source: pem::Error },
    #[error("{} holds no certificate: put the chain there, the server's own certificate first", path.display())]
    NoCertificate { path: PathBuf },
    #[error("the first certificate of {} cannot be read", path.display())]
    MalformedCertificate { path: PathBuf },
    #[error("the key in {} does not fit the certificate in {}: {source}", key.display(), chain.display())]
    Unfit { chain: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("cannot set up TLS: {0}")]
    Setup(#[from] rustls::Error),
}

/// The certificate in use, and where the next one will be found.
pub(crate) struct Certificates {
    files: Files,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
}

impl Certificates {
    /// Reads the chain and the key, both PEM.
    pub(crate) fn load(chain: &Path, key: &Path) -> Result<Arc<Certificates>, TlsError> {
        let files = Files { chain: chain.to_owned(), key: key.to_owned() };
        let current = Arc::new(Current(ArcSwap::from_pointee(files.read()?.pair(&files)?)));
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let mut config =
            builder.with_safe_default_protocol_versions()?.with_no_client_auth().with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = ring::Ticketer::new()?;
        // One ticket is enough for players that keep their connection; each costs a record to send.
        config.send_tls13_tickets = 1;
        config.session_storage = ServerSessionMemoryCache::new(MAX_TLS_SESSIONS);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let certificates = Certificates { files, current, acceptor };
        certificates.tell_time_left();
        Ok(Arc::new(certificates))
    }

    pub(super) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// Takes up what is new in the files, looking `every` so often, until a stop is requested. A pair that cannot be used is
    /// told once and changes nothing. Connections that are open keep what they began with.
    pub(crate) async fn keep_current(&self, every: Duration, stop: Stop) {
        let mut judged = self.files.read().map(|contents| contents.fingerprint()).ok();
        let mut seen = judged;
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = stop.requested() => return,
            }
            self.tell_time_left();
            let contents = self.files.read();
            let found = contents.as_ref().map(Contents::fingerprint).ok();
            // The two files are not written at once: only what looks the same twice is meant.
            if found == seen && found != judged {
                judged = found;
                self.replace(contents.and_then(|contents| contents.pair(&self.files)));
            }
            seen = found;
        }
    }

    fn replace(&self, pair: Result<CertifiedKey, TlsError>) {
        meters::certificate_changed(pair.is_ok());
        match pair {
            Ok(pair) => {
                self.current.0.store(Arc::new(pair));
                self.tell_time_left();
                tracing::info!(chain = %self.files.chain.display(), "using a new certificate");
            }
            Err(error) => tracing::warn!(%error, "keeping the certificate in use, the new one cannot be used"),
        }
    }

    fn tell_time_left(&self) {
        if let Some(expires_at_s) = expires_at_s(&self.current.0.load()) {
            meters::certificate_left(expires_at_s - clock::now_ms() / 1000);
        }
    }
}

/// What rustls asks at every handshake.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

struct Files {
    chain: PathBuf,
    key: PathBuf,
}

struct Contents {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    fn read(&self) -> Result<Contents, TlsError> {
        let read = |path: &PathBuf| std::fs::read(path).map_err(|source| TlsError::Read { path: path.clone(), source });
        Ok(Contents { chain: read(&self.chain)?, key: read(&self.key)? })
    }
}

impl Contents {
    /// To see whether something has changed, no more.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.chain, &self.key).hash(&mut hasher);
        hasher.finish()
    }

    fn pair(&self, files: &Files) -> Result<CertifiedKey, TlsError> {
        let Files { chain: path, key: key_path } = files;
        let chain = CertificateDer::pem_slice_iter(&self.chain).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|source| TlsError::Pem { path: path.clone(), source })?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate { path: path.clone() });
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key);
        let key = key.map_err(|source| TlsError::Pem { path: key_path.clone(), source })?;
        let pair = CertifiedKey::from_der(chain, key, &ring::default_provider());
        let pair = pair.map_err(|source| TlsError::Unfit { chain: path.clone(), key: key_path.clone(), source })?;
        expires_at_s(&pair).ok_or_else(|| TlsError::MalformedCertificate { path: path.clone() })?;
        Ok(pair)
    }
}

/// When the server's own certificate expires, in seconds since the epoch.
fn expires_at_s(pair: &CertifiedKey) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(pair.cert.first()?).ok()?;
    Some(certificate.validity().not_after.timestamp())
}
