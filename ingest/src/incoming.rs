//! A body on its way in: the memory and the time it may take, and what becomes of one that nobody wants.

use crate::grant::Site;
use crate::limits::{
    BODY_TIMEOUT, DISCARD_TIMEOUT, MAX_BODIES_IN_FLIGHT_BYTES, MAX_BODY_BYTES, MAX_DISCARDED_BYTES, RETRY_AFTER_S,
};
use crate::problem::{Fault, Problem};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use tokio::time::timeout;

/// Memory of a body as far as it has arrived: who only announces one takes nothing from others. Given back when dropped.
pub(crate) struct Room<'a> {
    site: &'a Site,
    /// Bytes of the bodies of all sites.
    of_all: &'a AtomicU64,
    bytes: u64,
}

impl<'a> Room<'a> {
    /// None yet, of a site and of all together.
    pub(crate) fn new(site: &'a Site, of_all: &'a AtomicU64) -> Room<'a> {
        Room { site, of_all, bytes: 0 }
    }

    fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        let bytes = bytes as u64;
        self.bytes += bytes;
        let of_site = self.site.bodies.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let of_all = self.of_all.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if of_site > self.site.max_bodies_bytes || of_all > MAX_BODIES_IN_FLIGHT_BYTES {
            return Err(Problem::retry(Fault::Overloaded, RETRY_AFTER_S));
        }
        Ok(())
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.site.bodies.fetch_sub(self.bytes, Ordering::Relaxed);
        self.of_all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads a body up to the limit. Most bodies are there already, and then no timer is set.
pub(crate) async fn read_in_time(body: &mut Incoming, room: &mut Room<'_>) -> Result<Bytes, Problem> {
    let mut reading = pin!(read(body, room));
    match poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await {
        Poll::Ready(read) => read,
        Poll::Pending => timeout(BODY_TIMEOUT, reading).await.map_err(|_| Problem::from(Fault::BodyTimeout))?,
    }
}

/// Reads a body up to the limit, as long as there is room.
async fn read(body: &mut Incoming, room: &mut Room<'_>) -> Result<Bytes, Problem> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Fault::IncompleteBody)?.into_data() else { continue };
        if first.len().max(all.len()) + data.len() > MAX_BODY_BYTES {
            return Err(Fault::BodyTooLarge.into());
        }
        // Most bodies come in one piece, which need not be copied and takes no room, since nobody waits for the rest of it. So
        // senders that keep us waiting for the rest of their bodies take no room from these.
        if first.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        room.take(data.len())?;
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// Reads what is left of an unwanted body, within bounds: a connection closed on unread bytes is reset, and the sender
/// might never see the answer.
pub(crate) async fn discard(body: &mut Incoming) {
    let mut left = MAX_DISCARDED_BYTES;
    let discarding = async {
        while let Some(Ok(frame)) = body.frame().await {
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { break };
            left = rest;
        }
    };
    // A sender too slow for this has lost its answer; the connection is closed either way.
    let _ = timeout(DISCARD_TIMEOUT, discarding).await;
}
