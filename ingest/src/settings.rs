//! What an operator may set, and the sockets that are bound before anything else starts.

use crate::limits::{MAX_CONNECTIONS, RESERVED_FILES};
use crate::net;
use ipnet::IpNet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

/// What an operator may set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Topic of the accepted reports.
    pub heartbeats_topic: String,
    /// Topic of the refused ones.
    pub dead_letters_topic: String,
    /// Partitions that the heartbeats topic must have; without it those that it has at the start.
    pub partitions: Option<u32>,
    /// The keys file; without one everybody may send for the site `default`.
    pub keys: Option<PathBuf>,
    /// The pepper file; with it user ids are pseudonyms before they reach the log.
    pub pepper: Option<PathBuf>,
    /// Least time between two batches of a worker on their way to the log: latency for throughput.
    pub linger: Duration,
    /// Where records wait while the log is away; without it requests are refused then.
    pub spool: Option<SpoolSettings>,
    /// Certificate chain and key of the TLS listener; both PEM.
    pub tls: Option<TlsFiles>,
    /// Connections at a time, plus further requests that run at the same time on one of them; the limit of open files may
    /// allow fewer.
    pub connections: usize,
    /// The same of one address (of one /64 with IPv6).
    pub connections_per_address: u32,
    /// Load balancers that begin every connection with a PROXY protocol header.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Reverse proxies whose `X-Forwarded-For` counts.
    pub forwarded_for_from: Vec<IpNet>,
    /// One of so many requests is logged; 0 is none but those that their callers trace.
    pub log_sample: u32,
}

impl Settings {
    /// Settings for these topics, with the defaults of everything else.
    pub fn new(heartbeats_topic: String, dead_letters_topic: String) -> Settings {
        Settings {
            heartbeats_topic,
            dead_letters_topic,
            partitions: None,
            keys: None,
            pepper: None,
            linger: Duration::from_millis(4),
            spool: None,
            tls: None,
            connections: MAX_CONNECTIONS,
            connections_per_address: crate::limits::MAX_CONNECTIONS_PER_ADDRESS,
            proxy_protocol_from: Vec::new(),
            forwarded_for_from: Vec::new(),
            log_sample: 0,
        }
    }
}

/// Where records wait while the log is away.
#[derive(Debug, Clone)]
pub struct SpoolSettings {
    /// A folder of this gateway alone, on a disk that outlives the process.
    pub dir: PathBuf,
    /// Bytes it may hold.
    pub capacity_bytes: u64,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate and those that vouch for it.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The sockets of a gateway: one per worker and address.
#[derive(Debug)]
pub struct Listeners {
    pub(crate) clear: Vec<TcpListener>,
    pub(crate) tls: Vec<TcpListener>,
    /// Connections that the process has files for.
    pub(crate) max_connections: usize,
}

impl Listeners {
    /// Binds for `workers` workers; port 0 takes a free one. Raises the process's limit of open files as far as it may.
    pub fn bind(clear: SocketAddr, tls: Option<SocketAddr>, workers: usize) -> io::Result<Listeners> {
        let tls = tls.map(|address| net::listeners(address, workers)).transpose()?.unwrap_or_default();
        let files = usize::try_from(rlimit::increase_nofile_limit(u64::MAX)?).unwrap_or(usize::MAX);
        let max_connections = files.saturating_sub(RESERVED_FILES).clamp(1, MAX_CONNECTIONS);
        if max_connections < MAX_CONNECTIONS {
            tracing::info!(max_connections, "the limit of open files decides how many connections there may be");
        }
        Ok(Listeners { clear: net::listeners(clear, workers)?, tls, max_connections })
    }

    /// Where requests in clear text are taken.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.clear.first().ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }
}
