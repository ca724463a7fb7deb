//! The gateway as a task: checks its topics, accepts connections, watches the log, and drains when asked to stop.

use crate::gateway::{Destination, Gateway};
use crate::keys::Keys;
use crate::limits::{
    ACCEPT_PAUSE, FLUSH_TIMEOUT, HEAD_TIMEOUT, MAX_CONNECTIONS, MAX_HEAD_BYTES, MAX_HEADERS, WATCH_INTERVAL,
};
use crate::meter;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use service::{Component, Readiness, Stop, TaskError};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use topic::Log;

/// What an operator may set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Topic of the accepted reports.
    pub heartbeats_topic: String,
    /// Topic of the refused ones.
    pub dead_letters_topic: String,
    /// The keys file; without one everybody may send for the site `default`.
    pub keys: Option<PathBuf>,
    /// How long the producer waits for more records before it sends: latency for throughput.
    pub linger: Duration,
}

/// Why the gateway does not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The topic stamps records with the producer's clock.
    #[error("topic {topic} has message.timestamp.type=CreateTime, set it to LogAppendTime")]
    NotLogAppendTime {
        /// Its name.
        topic: String,
    },
    /// The topic drops records by key.
    #[error("topic {topic} has cleanup.policy={policy}, set it to delete")]
    NotDelete {
        /// Its name.
        topic: String,
        /// What it has instead.
        policy: String,
    },
    /// Somebody changed the partitions of a topic in use: users would move to other partitions than their sessions.
    #[error("topic {topic} has {now} partitions now and had {before} at the start, make a new topic for another count")]
    PartitionsChanged {
        /// Its name.
        topic: String,
        /// At the start.
        before: u32,
        /// Now.
        now: u32,
    },
}

/// Serves until `stop` is requested, then finishes what is in flight and flushes the producer.
pub async fn serve(
    listener: TcpListener,
    log: Log,
    settings: Settings,
    readiness: Readiness,
    stop: Stop,
) -> Result<(), TaskError> {
    meter::describe();
    let component = readiness.component("ingest_log");
    let keys = Keys::load(settings.keys.as_deref())?;
    let heartbeats = checked(&log, &settings.heartbeats_topic).await?;
    let dead_letters = checked(&log, &settings.dead_letters_topic).await?;
    let producer = log.producer(settings.linger)?;
    let gateway = Arc::new(Gateway::new(keys, producer.clone(), heartbeats.clone(), dead_letters));
    component.ready();
    tracing::info!(address = %listener.local_addr()?, topic = heartbeats.topic, "taking heartbeats");
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
    let watched = tokio::select! {
        () = accept(listener, gateway, room.clone(), stop.clone()) => Ok(()),
        failed = watch(&log, &heartbeats, &component) => Err(failed),
        () = stop.requested() => Ok(()),
    };
    component.not_ready("stopping");
    if let Err(failed) = watched {
        return Err(failed.into());
    }
    let open = MAX_CONNECTIONS as usize - room.available_permits();
    tracing::info!(connections = open, "stopping: finishing the requests in flight");
    // Every connection holds one permit, so all permits are there when the last one has ended.
    let _ended = room.acquire_many(MAX_CONNECTIONS).await?;
    producer.flush(FLUSH_TIMEOUT).await?;
    Ok(())
}

/// The topic, when it keeps what the pipeline relies on.
async fn checked(log: &Log, topic: &str) -> Result<Destination, TaskError> {
    let found = log.describe(topic).await?;
    let topic = topic.to_owned();
    if !found.log_append_time {
        return Err(StartError::NotLogAppendTime { topic }.into());
    }
    if found.cleanup_policy != "delete" {
        return Err(StartError::NotDelete { topic, policy: found.cleanup_policy }.into());
    }
    Ok(Destination { topic, partitions: found.partitions })
}

/// Keeps the readiness true; returns only when the topic has become another one.
async fn watch(log: &Log, heartbeats: &Destination, component: &Component) -> StartError {
    loop {
        tokio::time::sleep(WATCH_INTERVAL).await;
        match log.describe(&heartbeats.topic).await {
            Ok(found) if found.partitions != heartbeats.partitions => {
                return StartError::PartitionsChanged {
                    topic: heartbeats.topic.clone(),
                    before: heartbeats.partitions,
                    now: found.partitions,
                };
            }
            Ok(_) => component.ready(),
            Err(error) => component.not_ready(error.to_string()),
        }
    }
}

/// Accepts connections for ever.
async fn accept(listener: TcpListener, gateway: Arc<Gateway>, room: Arc<Semaphore>, stop: Stop) {
    loop {
        let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = serve_connection(stream, gateway.clone(), stop.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection, trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection until its end; when asked to stop, until the end of its request.
async fn serve_connection(stream: TcpStream, gateway: Arc<Gateway>, stop: Stop) {
    // Answers are small: without this they would wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| {
        let gateway = gateway.clone();
        async move { Ok::<_, Infallible>(gateway.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = std::pin::pin!(connection);
    // How a connection ends is the peer's business; what matters of it is in the answers.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.requested() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
