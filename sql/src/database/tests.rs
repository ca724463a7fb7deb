//! TLS towards a real PostgreSQL that has it, and towards one that has not.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;
use std::time::Instant;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio_postgres::error::SqlState;

use super::*;
use ::sql::testing::TestDatabase;

const PASSWORD: &str = "s3cret";

/// A certificate authority, in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(dir: &TempDir, name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = dir.path().join(name);
        fs::write(&file, issuer.pem()).unwrap();
        Authority { issuer, file }
    }
}

/// A PostgreSQL that speaks TLS as `localhost`, and takes a password from the user `proven`; it ends with this value.
struct Server {
    dir: TempDir,
    port: String,
}

impl Server {
    async fn start(authority: &Authority) -> Server {
        let dir = TempDir::new().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let started = script("postgres-start").arg(dir.path()).output().unwrap();
        let url = String::from_utf8(started.stdout).unwrap().trim().to_owned();
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let port = url.rsplit(['/', ':']).nth(1).unwrap().to_owned();
        let server = Server { dir, port };
        server.install(authority);
        let client = connect(&url).await.unwrap();
        client.batch_execute(&format!("create role proven login password '{PASSWORD}'")).await.unwrap();
        client.batch_execute("alter system set ssl = on").await.unwrap();
        client.batch_execute("select pg_reload_conf()").await.unwrap();
        wait_until(&client, "select current_setting('ssl') = 'on'").await;
        server
    }

    /// Puts certificate, key and the rule for the password into its folder, as its own.
    fn install(&self, authority: &Authority) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority.issuer).unwrap();
        let data = self.dir.path().join("data");
        let rules = fs::read_to_string(data.join("pg_hba.conf")).unwrap();
        let proven = "hostssl all proven 127.0.0.1/32 scram-sha-256\nhostnossl all proven 127.0.0.1/32 reject";
        let rules = format!("{proven}\n{rules}");
        let files = [("server.crt", certificate.pem()), ("server.key", key.serialize_pem()), ("pg_hba.conf", rules)];
        let owner = fs::metadata(&data).unwrap();
        for (name, text) in files {
            let path = data.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
    }

    fn url(&self, host: &str, query: &str) -> String {
        format!("postgres://proven:{PASSWORD}@{host}:{}/postgres?hostaddr=127.0.0.1&{query}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = script("postgres-stop").arg(self.dir.path()).arg("--kill").status(); // the folder goes anyway
    }
}

/// Asks until the answer is yes.
async fn wait_until(client: &Client, question: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !client.query_one(question, &[]).await.unwrap().get::<_, bool>(0) {
        assert!(Instant::now() < deadline, "waited in vain: {question}");
    }
}

fn script(name: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts").join(name))
}

/// Connects, and says whether it is over TLS; or why not.
async fn speaks_tls(url: &str, authority: Option<&Authority>) -> Result<bool, String> {
    let database = Database::new(url, authority.map(|authority| authority.file.as_path()));
    let connected = match database {
        Ok(database) => database.connect().await,
        Err(error) => Err(error.into()),
    };
    let client = connected.map_err(|error| error.to_string())?;
    let row = client.query_one("select ssl from pg_stat_ssl where pid = pg_backend_pid()", &[]).await;
    Ok(row.unwrap().get(0))
}

#[tokio::test]
async fn a_server_that_speaks_tls_must_be_whom_it_says() {
    let dir = TempDir::new().unwrap();
    let (ours, other) = (Authority::new(&dir, "ours.pem"), Authority::new(&dir, "other.pem"));
    let server = Server::start(&ours).await;
    for mode in ["", "sslmode=prefer", "sslmode=require", "sslmode=require&channel_binding=require"] {
        assert_eq!(speaks_tls(&server.url("localhost", mode), Some(&ours)).await, Ok(true), "{mode}");
    }
    // As PostgreSQL is installed: with a certificate that nobody knows, and that may be of another name.
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(speaks_tls(&server.url(host, ""), None).await, Ok(true), "{host}");
    }
    // The other authority has the same name, so the signature is what does not fit.
    let stranger = "certificate: BadSignature; name the authority that signed it by --database-ca";
    let elsewhere = "certificate not valid for name \"127.0.0.1\"";
    let cases = [
        ("localhost", "sslmode=require", Some(&other), stranger),
        ("localhost", "sslmode=require", None, "--database-ca"),
        ("127.0.0.1", "", Some(&ours), elsewhere),
        ("localhost", "sslmode=disable", Some(&ours), "only one can be meant"),
        ("localhost", "sslmode=disable", None, "no encryption"),
        ("localhost", "sslmode=verify-full", None, "sslmode is disable, prefer or require"),
    ];
    for (host, query, authority, expected) in cases {
        let said = speaks_tls(&server.url(host, query), authority).await.unwrap_err();
        assert!(said.contains(expected), "{host} {query}: {said}");
        assert!(!said.contains(PASSWORD), "{said}");
    }
    let clear = server.url("localhost", "sslmode=disable").replace("proven:s3cret", "watchbeat");
    assert_eq!(speaks_tls(&clear, None).await, Ok(false));
}

#[tokio::test]
async fn a_statement_is_ended_over_tls_too() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new(&dir, "ours.pem");
    let server = Server::start(&authority).await;
    let database = Database::new(&server.url("localhost", ""), Some(&authority.file)).unwrap();
    let pool = database.pool(1).unwrap();
    let client = pool.get().await.unwrap();
    let running = client.cancel_token();
    let other = database.connect().await.unwrap();
    let canceling = async {
        let runs = "select count(*) = 1 from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)'";
        wait_until(&other, runs).await;
        pool.cancel(&running).await.unwrap();
    };
    let (slept, ()) = tokio::join!(client.batch_execute("select pg_sleep(60)"), canceling);
    assert_eq!(slept.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
}

#[tokio::test]
async fn a_server_without_tls_is_spoken_to_only_where_clear_text_may_be() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new(&dir, "ours.pem");
    let database = TestDatabase::create().await;
    let url = |query: &str| format!("{}?{query}", database.url());
    for mode in ["", "sslmode=prefer", "sslmode=disable"] {
        assert_eq!(speaks_tls(&url(mode), None).await, Ok(false), "{mode}");
    }
    for (mode, authority) in [("", Some(&authority)), ("sslmode=require", None)] {
        let said = speaks_tls(&url(mode), authority).await.unwrap_err();
        assert!(said.contains("server does not support TLS"), "{mode}: {said}");
    }
}

#[test]
fn what_cannot_be_opened_is_refused_without_the_password() {
    let dir = TempDir::new().unwrap();
    let (missing, empty) = (dir.path().join("missing.pem"), dir.path().join("empty.pem"));
    fs::write(&empty, "no certificate").unwrap();
    let refused = |url: &str, file: Option<&Path>| Database::new(url, file).map(|_| ()).unwrap_err().to_string();
    let url = "postgres://u:s3cret@host/name";
    assert!(refused(url, Some(&missing)).contains("missing.pem: "), "{}", refused(url, Some(&missing)));
    assert!(refused(url, Some(&empty)).contains("empty.pem holds no certificate"));
    for url in ["s3cret=1", "postgres://u:p@x?s3cret=1@host", "host=h password='s3cret"] {
        let said = refused(url, None);
        assert!(said.contains("is not usable") && !said.contains(PASSWORD), "{said}");
    }
    assert!(!format!("{:?}", Database::new(url, None)).contains(PASSWORD));
}

#[test]
fn a_peer_that_is_gone_is_noticed_as_soon_as_the_url_says_or_else_soon() {
    let cases = [
        ("", 60, 30),
        ("?tcp_user_timeout=5", 5, 30),
        ("?keepalives_idle=300", 60, 300),
        ("?keepalives_idle=300&tcp_user_timeout=90", 90, 300),
    ];
    for (query, unacknowledged, idle) in cases {
        let config = Database::new(&format!("postgres://u@host/name{query}"), None).unwrap().config;
        let found = (config.get_tcp_user_timeout().copied(), config.get_keepalives_idle());
        assert_eq!(found, (Some(Duration::from_secs(unacknowledged)), Duration::from_secs(idle)), "{query}");
    }
}

#[tokio::test]
async fn the_server_ends_what_a_pool_leaves_behind() {
    let database = TestDatabase::create().await;
    let read = "select current_setting('idle_in_transaction_session_timeout'), current_setting('statement_timeout')";
    let patient = database.pool(1);
    let impatient = database.database().impatient_pool(1, Duration::from_millis(9_500)).unwrap();
    for (pool, expected) in [(patient, ("1min", "0")), (impatient, ("1min", "9500ms"))] {
        let row = pool.get().await.unwrap().query_one(read, &[]).await.unwrap();
        assert_eq!((row.get(0), row.get(1)), expected);
    }
}

#[test]
fn a_cause_that_a_text_has_already_is_told_once() {
    #[derive(Debug, thiserror::Error)]
    #[error("sink failed: {source}")]
    struct Quoting {
        source: std::io::Error,
    }
    #[derive(Debug, thiserror::Error)]
    #[error("cannot go on")]
    struct Silent(#[source] Quoting);
    let error = Silent(Quoting { source: std::io::Error::other("disk full") });
    assert_eq!(with_causes(&error), "cannot go on: sink failed: disk full");
}

#[tokio::test]
async fn a_connection_that_cannot_be_set_up_cannot_be_made() {
    let database = TestDatabase::create().await;
    let impossible = database.database().impatient_pool(1, Duration::MAX).unwrap();
    let refused = impossible.get().await.err().unwrap();
    assert!(matches!(&refused, PoolError::Backend(error) if error.as_db_error().is_some()), "{refused:?}");
}
