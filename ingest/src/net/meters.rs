//! The metrics of connections and certificates, each declared once. No label says who is at the other end.

use super::slots::Crowded;
use super::watch::TimedOut;
use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

const OPEN: &str = "watchbeat_ingest_connections";
const OPENED: &str = "watchbeat_ingest_connections_opened_total";
const REFUSED: &str = "watchbeat_ingest_connections_refused_total";
const LATE: &str = "watchbeat_ingest_connections_timed_out_total";
const CERTIFICATE_LEFT: &str = "watchbeat_ingest_certificate_left_seconds";
const CERTIFICATE_CHANGES: &str = "watchbeat_ingest_certificate_changes_total";

/// Tells the recorder what the metrics mean.
pub(crate) fn describe() {
    describe_gauge!(OPEN, "Open connections.");
    describe_counter!(OPENED, "Connections that came as far as HTTP, by protocol.");
    describe_counter!(
        REFUSED,
        "Connections closed before HTTP, by reason: address_limit, proxy_header, handshake. And requests over HTTP/2 that would have \
         counted as connections: address_limit, limit."
    );
    describe_counter!(LATE, "Connections closed because the client took too long, by phase: opening, head, finishing.");
    describe_gauge!(
        CERTIFICATE_LEFT,
        Unit::Seconds,
        "Time until the certificate in use expires; negative when it has."
    );
    describe_counter!(CERTIFICATE_CHANGES, "New certificates found on disk, by outcome: taken, refused.");
}

/// What is spoken on a connection.
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// The handles of a worker.
pub(super) struct Meters {
    open: Gauge,
    http1: Counter,
    http2: Counter,
    address_limit: Counter,
    proxy_header: Counter,
    handshake: Counter,
}

/// Counts a connection as open until it is dropped.
pub(super) struct Counted(Gauge);

impl Meters {
    pub(super) fn new() -> Meters {
        Meters {
            open: gauge!(OPEN),
            http1: counter!(OPENED, "protocol" => "http/1.1"),
            http2: counter!(OPENED, "protocol" => "h2"),
            address_limit: counter!(REFUSED, "reason" => "address_limit"),
            proxy_header: counter!(REFUSED, "reason" => "proxy_header"),
            handshake: counter!(REFUSED, "reason" => "handshake"),
        }
    }

    pub(super) fn open(&self) -> Counted {
        self.open.increment(1.0);
        Counted(self.open.clone())
    }

    pub(super) fn speaks(&self, protocol: Protocol) {
        match protocol {
            Protocol::Http1 => self.http1.increment(1),
            Protocol::Http2 => self.http2.increment(1),
        }
    }

    pub(super) fn too_many_of_one_address(&self) {
        self.address_limit.increment(1);
    }

    pub(super) fn bad_proxy_header(&self) {
        self.proxy_header.increment(1);
    }

    pub(super) fn failed_handshake(&self) {
        self.handshake.increment(1);
    }

    #[allow(clippy::unused_self)] // one owner of all counters
    pub(super) fn timed_out(&self, phase: TimedOut) {
        counter!(LATE, "phase" => phase.as_str()).increment(1);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

pub(super) fn request_without_place(crowded: Crowded) {
    let reason = match crowded {
        Crowded::Address => "address_limit",
        Crowded::All => "limit",
    };
    counter!(REFUSED, "reason" => reason).increment(1);
}

pub(super) fn certificate_left(seconds: i64) {
    gauge!(CERTIFICATE_LEFT).set(seconds as f64);
}

pub(super) fn certificate_changed(taken: bool) {
    counter!(CERTIFICATE_CHANGES, "outcome" => if taken { "taken" } else { "refused" }).increment(1);
}
