//! The gateway as a task: finds its topics, starts the workers and what goes on beside them, and drains when asked to
//! stop.

use crate::gateway::Shared;
use crate::keys::Keys;
use crate::limits::{FILE_INTERVAL, FLUSH_TIMEOUT, PRODUCER_LINGER, START_PATIENCE};
use crate::net::{self, Certificates, Slots, Trust};
use crate::outlet::Outlet;
use crate::pseudonym::PepperFile;
use crate::rate::Guesses;
use crate::settings::{Listeners, Settings};
use crate::topic_watch::TopicWatch;
use crate::topics::Topics;
use crate::trace::Sampling;
use crate::worker::Worker;
use crate::{files, meters, replay};
use futures::future::try_join_all;
use service::{Readiness, Stop, TaskError};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Once};
use std::time::Duration;
use tokio::time::timeout;
use topic::{Log, Spool};

/// There is a listener for TLS and nothing to show there, or the other way round.
#[derive(Debug, thiserror::Error)]
#[error("TLS needs an address, a certificate and a key: give all of them or none")]
struct HalfTls;

/// Serves until `stop` is requested, then finishes what is in flight and flushes the producer.
pub async fn serve(
    listeners: Listeners,
    log: Log,
    settings: Settings,
    readiness: Readiness,
    stop: Stop,
) -> Result<(), TaskError> {
    meters::describe();
    net::describe();
    let component = readiness.component("ingest_log");
    let keys = Keys::load(settings.keys.as_deref())?;
    let peppers = settings.pepper.as_deref().map(PepperFile::load).transpose()?;
    let spool = settings.spool.as_ref().map(|spool| Spool::open(&spool.dir, spool.capacity_bytes)).transpose()?;
    // The appenders wait for company already; the producer waits this much longer, so that it does not send while a batch is
    // still being handed over.
    let producer = log.producer(PRODUCER_LINGER)?;
    let topics = Topics::new(&settings.heartbeats_topic, &settings.dead_letters_topic);
    let has_spool = spool.is_some();
    let outlet = Arc::new(Outlet::new(producer.clone(), topics, spool));
    let topics = TopicWatch { log: &log, outlet: &outlet, partitions: settings.partitions };
    match timeout(if has_spool { START_PATIENCE } else { Duration::MAX }, topics.find()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) if !has_spool || !error.is_outage() => return Err(error.into()),
        Ok(Err(error)) => tracing::warn!(%error, "the log is away, records go to the spool until it is back"),
        Err(_) => tracing::warn!("the log is away, records go to the spool until it is back"),
    }
    let shared = Arc::new(Shared {
        keys,
        peppers,
        outlet: outlet.clone(),
        guesses: Guesses::new(),
        bodies: AtomicU64::new(0),
        untaken: Arc::default(),
        sampling: Sampling::new(settings.log_sample),
        unprotected: Once::new(),
    });
    let certificates = certificates(&settings, &listeners)?;
    let workers = start_workers(listeners, certificates.clone(), shared.clone(), &settings, &stop)?;
    tracing::info!(workers = workers.len(), topic = settings.heartbeats_topic, "taking heartbeats");
    component.ready();
    let drained = async { try_join_all(workers).await?.into_iter().collect::<Result<(), TaskError>>() };
    let replayed = async { Ok(replay::run(&outlet, &stop).await?) };
    let watched = async { Ok(topics.watch(&component, &stop).await?) };
    tokio::try_join!(drained, watched, replayed, keep_files_current(&shared, certificates, &stop))?;
    if outlet.is_direct() {
        // Every request has its answer: what the log has not acknowledged was refused or is in the spool.
        if let Err(error) = producer.flush(FLUSH_TIMEOUT).await {
            tracing::warn!(%error, "some records may not have reached the log, and nobody was told that they have");
        }
    }
    Ok(())
}

/// Takes up new keys, peppers and certificates until asked to stop.
async fn keep_files_current(
    shared: &Shared,
    certificates: Option<Arc<Certificates>>,
    stop: &Stop,
) -> Result<(), TaskError> {
    let keys = files::keep_current("keys", FILE_INTERVAL, || shared.keys.take_up());
    let peppers = async {
        if let Some(peppers) = &shared.peppers {
            files::keep_current("peppers", FILE_INTERVAL, || peppers.take_up()).await;
        }
    };
    let certificates = async {
        if let Some(certificates) = certificates {
            certificates.keep_current(FILE_INTERVAL, stop.clone()).await;
        }
    };
    tokio::select! {
        _ = async { tokio::join!(keys, peppers, certificates) } => {}
        () = stop.requested() => {}
    }
    Ok(())
}

fn start_workers(
    listeners: Listeners,
    certificates: Option<Arc<Certificates>>,
    shared: Arc<Shared>,
    settings: &Settings,
    stop: &Stop,
) -> Result<Vec<tokio::sync::oneshot::Receiver<Result<(), TaskError>>>, TaskError> {
    let connections = listeners.max_connections.min(settings.connections);
    // Each listener keeps a place for the connection that it accepts next.
    let slots = Slots::new(connections + listeners.clear.len() + listeners.tls.len(), settings.connections_per_address);
    let trust = Arc::new(Trust {
        announcers: settings.proxy_protocol_from.clone(),
        forwarders: settings.forwarded_for_from.clone(),
    });
    let mut tls = listeners.tls.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
    let worker = |(index, clear)| {
        let worker = Worker {
            name: format!("ingest-{index}"),
            clear,
            tls: tls.next().flatten().zip(certificates.clone()),
            shared: shared.clone(),
            slots: slots.clone(),
            trust: trust.clone(),
            linger: settings.linger,
        };
        worker.start(stop.clone())
    };
    listeners.clear.into_iter().enumerate().map(worker).collect()
}

fn certificates(settings: &Settings, listeners: &Listeners) -> Result<Option<Arc<Certificates>>, TaskError> {
    match (&settings.tls, listeners.tls.is_empty()) {
        (None, true) => Ok(None),
        (Some(files), false) => Ok(Some(Certificates::load(&files.chain, &files.key)?)),
        _ => Err(HalfTls.into()),
    }
}
