//! How the database is reached: who its server must be, and a single connection or a pool of them. What is asked over them is
//! not decided here.
//!
//! TLS is as the URL's `sslmode` says. `disable`: none. `prefer`, the default: TLS if the server has it, with whatever
//! certificate, else clear text. That is what libpq's `prefer` does: it keeps out those who only listen, and connects to a
//! PostgreSQL as it is installed. `require`: nothing but TLS, and the certificate must be for the server's host name and from
//! an authority that the system trusts. With an authority named: nothing but TLS in every mode, and a certificate from that
//! authority; `disable` is refused then.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, RecyclingMethod, Runtime};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::{CancelToken, Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::limits;

pub use deadpool_postgres::{Client as Connection, PoolError, Transaction};

/// A database: where it is, as which user it is asked, and who its server must be.
#[derive(Clone)]
pub struct Database {
    config: Config,
    tls: MakeRustlsConnect,
}

/// Why a database cannot be opened as it is named. Never with the URL, which has the password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is none.
    #[error(
        "the database URL is not usable: it is postgres://USER:PASSWORD@HOST:PORT/NAME, with other characters than letters and digits as %XX, and sslmode is disable, prefer or require"
    )]
    Url,
    /// No certificates in the file.
    #[error("cannot read the authorities of the database in {}: {reason}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: pem::Error,
    },
    /// A file without a certificate, or with one that is broken.
    #[error("{} holds no certificate of an authority that can be used", .0.display())]
    NoAuthority(PathBuf),
    /// Both at once.
    #[error(
        "the database URL says sslmode=disable, and an authority is named for its certificate: only one can be meant"
    )]
    Contradiction,
    /// Nobody to trust.
    #[error("this machine trusts no authority for certificates: name that of the database by --database-ca")]
    NobodyTrusted,
    /// TLS could not be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The pool could not be made.
    #[error("the connection pool could not be made")]
    Pool(#[from] deadpool_postgres::BuildError),
}

/// Why there is no connection, with all its causes.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It cannot even be tried.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The server cannot be reached, is not whom it must be, or refuses.
    #[error("{}", with_causes(.0))]
    Server(tokio_postgres::Error),
}

impl Database {
    /// The database of the URL. `authorities` is a PEM file of those that may vouch for it; without it they are the system's.
    pub fn new(url: &str, authorities: Option<&Path>) -> Result<Database, OpenError> {
        let mut config: Config = url.parse().map_err(|_| OpenError::Url)?;
        let trusted = match (authorities, config.get_ssl_mode()) {
            (Some(_), SslMode::Disable) => return Err(OpenError::Contradiction),
            (Some(path), _) => {
                config.ssl_mode(SslMode::Require);
                read_authorities(path)?
            }
            (None, SslMode::Require) => {
                let trusted = system_authorities();
                if trusted.is_empty() {
                    return Err(OpenError::NobodyTrusted);
                }
                trusted
            }
            (None, _) => RootCertStore::empty(),
        };
        let provider = Arc::new(ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let mut tls = if config.get_ssl_mode() == SslMode::Require {
            tls.with_root_certificates(trusted).with_no_client_auth()
        } else {
            tls.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer(provider))).with_no_client_auth()
        };
        if config.get_ssl_negotiation() == SslNegotiation::Direct {
            tls.alpn_protocols = vec![b"postgresql".to_vec()]; // the server insists
        }
        notice_lost_connections(&mut config);
        Ok(Database { config, tls: MakeRustlsConnect::new(tls) })
    }

    /// Opens one connection, driven by a task of its own that ends with the client.
    pub async fn connect(&self) -> Result<Client, ConnectError> {
        let (client, connection) = self.config.connect(self.tls.clone()).await.map_err(ConnectError::Server)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a database connection has ended");
            }
        });
        Ok(client)
    }

    /// A pool of at most `size` connections; none is made yet. They are recycled without `discard all`, which would drop the
    /// prepared statements (and which YugabyteDB's connection manager takes badly). The server ends a transaction that stands
    /// still.
    pub fn pool(&self, size: usize) -> Result<Pool, OpenError> {
        self.pool_of(size, None)
    }

    /// The same, where the server ends what takes longer than `statement_timeout`: whoever asked has gone by then.
    pub fn impatient_pool(&self, size: usize, statement_timeout: Duration) -> Result<Pool, OpenError> {
        self.pool_of(size, Some(statement_timeout))
    }

    fn pool_of(&self, size: usize, statement_timeout: Option<Duration>) -> Result<Pool, OpenError> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(self.config.clone(), self.tls.clone(), recycling);
        // Set by a statement: not everything between here and the server passes on a connection's startup parameters.
        let idle = limits::IDLE_TRANSACTION_TIMEOUT.as_millis();
        let mut set = format!("set idle_in_transaction_session_timeout = {idle}");
        if let Some(timeout) = statement_timeout {
            set.push_str(&format!("; set statement_timeout = {}", timeout.as_millis()));
        }
        let set: Arc<str> = set.into();
        let connections = deadpool_postgres::Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(limits::CONNECT_TIMEOUT))
            .wait_timeout(Some(limits::CONNECT_TIMEOUT))
            .post_create(Hook::async_fn(move |connection, _| {
                let set = set.clone();
                Box::pin(async move { connection.batch_execute(&set).await.map_err(HookError::Backend) })
            }))
            .build()?;
        Ok(Pool { connections, tls: self.tls.clone() })
    }
}

/// Without the password: the configuration leaves it out.
impl fmt::Debug for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Database").field(&self.config).finish()
    }
}

/// Opens one connection to the database of a URL, with the authorities of the system.
pub async fn connect(url: &str) -> Result<Client, ConnectError> {
    Database::new(url, None)?.connect().await
}

/// Connections to one database, shared by the clones of this value.
#[derive(Clone)]
pub struct Pool {
    connections: deadpool_postgres::Pool,
    tls: MakeRustlsConnect,
}

impl Pool {
    /// A connection, which goes back when it is dropped. An error while a new one is set up is reported like an error while
    /// it is made: it may pass for the same reasons.
    pub async fn get(&self) -> Result<Connection, PoolError> {
        self.connections.get().await.map_err(|error| match error {
            PoolError::PostCreateHook(HookError::Backend(error)) => PoolError::Backend(error),
            error => error,
        })
    }

    /// How many wait for a connection.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.connections.status().waiting
    }

    /// Closes the connections that nobody has, so that the next are new.
    pub fn forget_idle(&self) {
        self.connections.retain(|_, _| false);
    }

    /// Asks the server to end the statement that runs on a connection of this pool.
    pub async fn cancel(&self, running: &CancelToken) -> Result<(), tokio_postgres::Error> {
        running.cancel_query(self.tls.clone()).await
    }
}

/// Accepts every server as whoever it says it is, as `prefer` does: somebody in between could just as well say that there is
/// no TLS.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Sees to it that a peer that is gone is noticed soon, unless the URL says how soon. A URL that states the driver's own
/// default cannot be told from one that says nothing.
fn notice_lost_connections(config: &mut Config) {
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(limits::UNACKNOWLEDGED_TIMEOUT);
    }
    if config.get_keepalives_idle() == Config::new().get_keepalives_idle() {
        config.keepalives_idle(limits::KEEPALIVE_IDLE);
    }
}

fn read_authorities(path: &Path) -> Result<RootCertStore, OpenError> {
    let refuse = |reason| OpenError::Authorities { path: path.to_owned(), reason };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(refuse)?;
    let mut trusted = RootCertStore::empty();
    let (_, broken) = trusted.add_parsable_certificates(certificates);
    if broken > 0 || trusted.is_empty() {
        return Err(OpenError::NoAuthority(path.to_owned()));
    }
    Ok(trusted)
}

/// The system's authorities that can be read: that one is missing shows when a certificate comes from it.
fn system_authorities() -> RootCertStore {
    let mut trusted = RootCertStore::empty();
    trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    trusted
}

/// An error with its causes, except those that the text already contains; and with the way out, if it comes from connecting
/// to a server whose certificate nobody here knows.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut is_stranger = false;
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        is_stranger |= is_of_a_stranger(inner);
        cause = inner.source();
    }
    if is_stranger {
        text.push_str(
            "; name the authority that signed it by --database-ca, or say sslmode=disable in the URL for clear text",
        );
    }
    text
}

/// Whether this is the I/O error in which TLS reports that nobody who is trusted signed the certificate.
fn is_of_a_stranger(cause: &(dyn Error + 'static)) -> bool {
    let within = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let tls = within.and_then(|within| within.downcast_ref::<rustls::Error>());
    let strange =
        |error: &CertificateError| matches!(error, CertificateError::UnknownIssuer | CertificateError::BadSignature);
    matches!(tls, Some(rustls::Error::InvalidCertificate(error)) if strange(error))
}

#[cfg(test)]
mod tests;
