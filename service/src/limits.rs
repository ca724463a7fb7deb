//! The limits of this crate in one place. No behaviour.

use std::time::Duration;

/// How often a stopping process says what it still waits for.
pub(crate) const WAITING_NOTICE: Duration = Duration::from_secs(5);

/// How often recorded histogram samples are folded into their buckets, so that they do not pile up between scrapes.
pub(crate) const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Buckets of every histogram named `…_seconds`: from a tenth of a millisecond (an append to a local log) to a minute
/// (a slow flush to the database).
pub(crate) const SECONDS: [f64; 17] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// Buckets of all other histograms, which count rows, records or bytes: powers of four up to 16 Mi.
pub(crate) const SIZES: [f64; 13] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];
