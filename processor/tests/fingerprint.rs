//! The fingerprint of the pipeline as it is shipped. When this changes, every running pipeline refuses its snapshots and
//! tables: the change must be intended.
#![allow(clippy::unwrap_used)]

use expect_test::expect;
use playback::kernel::Parameters;
use processor::fingerprint::fingerprint;
use processor::views::Views;

#[tokio::test]
async fn the_shipped_pipeline_is_the_one_that_runs() {
    let views = Views::plan(&sql::views::shipped()).await.unwrap();
    let of = |parameters, partitions| fingerprint(parameters, processor::EPOCH_MS, partitions, &views);
    expect!["f58cb15c6e92d306"].assert_eq(&of(Parameters::default(), 64));
    let other = Parameters { point_wait_ms: 1, ..Parameters::default() };
    assert_ne!(of(other, 64), of(Parameters::default(), 64));
    assert_ne!(of(Parameters::default(), 63), of(Parameters::default(), 64));
}
