//! Which parts of the process are ready for work, and why the others are not. It decides nothing: the parts report,
//! the admin port answers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Stop;

/// The readiness of a process: it is ready when all its components are.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    components: Arc<Mutex<Components>>,
}

/// Per component: `None` when ready, else the reason.
type Components = BTreeMap<&'static str, Option<Cow<'static, str>>>;

impl Readiness {
    /// A readiness without components, hence ready.
    pub fn new() -> Readiness {
        Readiness::default()
    }

    /// Adds a component, not ready because it is `starting`. The same name again starts the same component anew.
    pub fn component(&self, name: &'static str) -> Component {
        self.lock().insert(name, Some(Cow::Borrowed("starting")));
        Component { name, readiness: self.clone() }
    }

    /// Whether every component is ready.
    pub fn is_ready(&self) -> bool {
        self.lock().values().all(Option::is_none)
    }

    /// Every component by name, with the reason if it is not ready.
    pub fn reasons(&self) -> Vec<(&'static str, Option<String>)> {
        self.lock().iter().map(|(name, reason)| (*name, reason.as_ref().map(ToString::to_string))).collect()
    }

    fn set(&self, name: &'static str, reason: Option<Cow<'static, str>>) {
        let mut components = self.lock();
        let before = components.insert(name, reason.clone()).flatten();
        drop(components);
        match (&before, &reason) {
            (Some(_), None) => tracing::info!(component = name, "component is ready"),
            (None, Some(reason)) => tracing::warn!(component = name, %reason, "component is not ready any more"),
            _ => {}
        }
    }

    /// A panic while the lock is held cannot leave the map half written: each change is one insert.
    fn lock(&self) -> MutexGuard<'_, Components> {
        self.components.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One part of the process that reports whether it is ready. Clones are the same component.
#[derive(Clone, Debug)]
pub struct Component {
    name: &'static str,
    readiness: Readiness,
}

impl Component {
    /// Reports that the component can do its work.
    pub fn ready(&self) {
        self.readiness.set(self.name, None);
    }

    /// Reports whether `check` succeeds, again after each `pause`, until a stop is requested.
    pub async fn watch<T, E: Display, F: Future<Output = Result<T, E>>>(
        &self,
        pause: Duration,
        stop: &Stop,
        check: impl Fn() -> F,
    ) {
        let follow = async {
            loop {
                match check().await {
                    Ok(_) => self.ready(),
                    Err(error) => self.not_ready(error.to_string()),
                }
                tokio::time::sleep(pause).await;
            }
        };
        tokio::select! {
            () = follow => {}
            () = stop.requested() => {}
        }
    }

    /// Reports why the component cannot do its work now.
    pub fn not_ready(&self, why: impl Into<Cow<'static, str>>) {
        self.readiness.set(self.name, Some(why.into()));
    }
}
