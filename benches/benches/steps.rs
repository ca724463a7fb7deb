//! The steps inside the processor, one by one: decode, kernel, facts to columns, the views, encoding. `cargo bench-steps`.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use playback::facts::Facts;
use playback::kernel::{Kernel, Parameters};
use playback::record::Record;
use processor::columns::Run;
use processor::partials::{ClosedEpoch, partials};
use processor::views::Views;
use prost::Message;
use sql::codec::Encoder;
use std::sync::Arc;

#[path = "../src/viewers.rs"]
#[allow(dead_code)] // the appending half is for the whole roles
mod viewers;

const START: i64 = 1_763_683_200_000;
/// Records of an epoch in these benchmarks.
const RECORDS: u64 = 4_096;

/// A kernel that has seen `viewers` viewers for one beat, and the records of the next.
fn warm(viewers: u64) -> (Kernel, Vec<Record>) {
    let (mut kernel, mut facts) = (Kernel::new(Parameters::default()), Facts::default());
    for viewer in 0..viewers {
        kernel.report(&viewers::record(viewer, 0, START), START + 5_000, &mut facts);
        facts.clear();
    }
    let stride = (viewers / RECORDS).max(1);
    (kernel, (0..RECORDS).map(|number| viewers::record(number * stride % viewers, 1, START)).collect())
}

fn facts_of(records: &[Record], mut kernel: Kernel) -> Facts {
    let mut facts = Facts::default();
    for record in records {
        kernel.report(record, START + 10_000, &mut facts);
    }
    facts
}

fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("per 4,096 heartbeats");
    group.throughput(Throughput::Elements(RECORDS)).sample_size(20);

    let (kernel, records) = warm(100_000);
    let encoded: Vec<_> = records.iter().map(Record::encode_to_vec).collect();
    let mut record = Record::default();
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            for value in &encoded {
                record.clear();
                record.merge(value.as_slice()).expect("it was encoded here");
            }
        });
    });
    for viewers in [10_000, 100_000, 500_000] {
        let (mut kernel, mut records) = warm(viewers);
        let mut facts = Facts::default();
        group.bench_function(format!("kernel, {viewers} sessions"), |bencher| {
            bencher.iter(|| {
                for record in &mut records {
                    kernel.report(record, record.event_time, &mut facts);
                    record.seq += 1;
                    record.event_time += 5_000;
                    record.from_ms = Some(record.position_ms);
                    record.position_ms = (record.position_ms + 5_000) % 100_000_000;
                }
                facts.clear();
            });
        });
    }
    let facts = facts_of(&records, kernel);
    group.bench_function("facts to columns", |bencher| {
        bencher.iter(|| {
            let mut run = Run::default();
            run.append(&facts);
            run
        });
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let sources = sql::views::shipped();
    let views = runtime.block_on(Views::plan(&sources)).expect("the shipped views are sound");
    let fresh = || {
        let mut run = Run::default();
        run.append(&facts);
        Arc::new(run)
    };
    for source in &sources {
        let view = runtime.block_on(Views::plan(std::slice::from_ref(source))).expect("the view is sound");
        group.bench_function(format!("view {}", source.file), |bencher| {
            bencher.iter_batched(fresh, |run| runtime.block_on(view.run(&run)), BatchSize::SmallInput);
        });
    }
    let run = fresh();
    let outputs = runtime.block_on(views.run(&run)).expect("the views run");
    let epoch = ClosedEpoch { partition: 0, from: 0, to: RECORDS, clock: START, ledger: Default::default() };
    let epochs = [epoch];
    group.bench_function("partials", |bencher| {
        bencher.iter(|| partials(&epochs, &run, &views, &outputs, "main", "f"));
    });
    let partials = partials(&epochs, &run, &views, &outputs, "main", "f");
    let mut encoder = Encoder::new();
    group.bench_function("partials, encoded", |bencher| {
        bencher.iter(|| encoder.encode(&partials[0]).expect("a sink takes it"));
    });
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
