//! The request to stop: asked for once, seen by everybody. It ends nothing by itself.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// A request to stop that all clones share. It is never taken back.
#[derive(Clone, Debug)]
pub struct Stop {
    requested: Arc<watch::Sender<bool>>,
}

impl Stop {
    /// A stop nobody has asked for yet.
    pub fn new() -> Stop {
        Stop { requested: Arc::new(watch::Sender::new(false)) }
    }

    /// Asks everybody who holds a clone to stop. Asking twice is the same as asking once.
    pub fn request(&self) {
        self.requested.send_replace(true);
    }

    /// Whether somebody asked: for loops on threads that cannot wait for [`Stop::requested`].
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    /// Resolves when somebody asks, at once if somebody did before.
    pub async fn requested(&self) {
        let mut changes = self.requested.subscribe();
        changes.wait_for(|requested| *requested).await.expect("the sender lives in `self`, so the channel is open");
    }
}

impl Default for Stop {
    fn default() -> Stop {
        Stop::new()
    }
}

/// Requests a stop at SIGTERM or SIGINT, and returns when a stop is requested, by a signal or by anybody else.
///
/// From then on another signal ends the process at once, with 128 + its number as is the custom: whoever asks twice does
/// not want to wait for the drain. Watching for that signal is the one task without an end: it ends with the process.
pub async fn stop_on_signals(stop: Stop) {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::warn!(%error, "cannot listen for signals: SIGTERM and SIGINT will end the process without a drain");
            return stop.requested().await;
        }
    };
    tokio::select! {
        number = signals.next() => {
            tracing::info!(signal = number, "stopping at a signal, another one ends the process at once");
            stop.request();
        }
        () = stop.requested() => {}
    }
    tokio::spawn(async move {
        let number = signals.next().await;
        tracing::error!(signal = number, "ending at once at a second signal, without waiting for the drain");
        std::process::exit(128 + number);
    });
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        }
    }
}
