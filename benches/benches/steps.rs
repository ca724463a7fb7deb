//! The steps of a heartbeat, one by one, per epoch of 4,096 heartbeats of as many viewers. `cargo bench-steps`.

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use playback::facts::Facts;
use playback::kernel::{Kernel, Parameters, READ_AHEAD};
use playback::message::{self, Heartbeats};
use playback::model;
use playback::record::{self, Record};
use playback::validate::is_ours;
use processor::columns::Run;
use processor::partials::partials;
use processor::shard::{ClosedEpoch, Reading, Shard};
use processor::snapshot::{Packing, Snapshots};
use processor::views::Views;
use prost::Message;
use sink::merge::Merged;
use sql::codec::{Encoder, decode};
use std::sync::Arc;
use tokio::runtime::Runtime;

#[path = "../src/viewers.rs"]
#[allow(dead_code)] // the appending half is for the whole roles
mod viewers;

const START: i64 = 1_763_683_200_000;
/// Records of an epoch in these benchmarks.
const RECORDS: u64 = 4_096;
/// Reports of one request.
const BATCH: usize = 12;
/// Sessions of a partition that is saved.
const SAVED_SESSIONS: u64 = 10_000;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// A kernel that has seen `viewers` viewers for one beat, and the records of the next.
fn warm(viewers: u64) -> (Kernel, Vec<Record>) {
    let (mut kernel, mut facts) = (Kernel::new(Parameters::default()), Facts::default());
    for viewer in 0..viewers {
        kernel.fold(&viewers::record(viewer, 0, START), START + 5_000, &mut facts);
        facts.clear();
    }
    let stride = (viewers / RECORDS).max(1);
    (kernel, (0..RECORDS).map(|number| viewers::record(number * stride % viewers, 1, START)).collect())
}

/// What the gateway does with a report besides HTTP.
fn reports(group: &mut Group<'_>, records: &[Record]) {
    let texts: Vec<_> = records.iter().map(model::body).collect();
    group.bench_function("JSON to valid heartbeats", |bencher| {
        bencher.iter(|| texts.iter().filter(|text| playback::json::heartbeat(text, START + 10_000).is_ok()).count());
    });
    let bodies: Vec<_> = records
        .chunks(BATCH)
        .map(|records| Heartbeats { heartbeats: records.iter().map(model::message).collect() }.encode_to_vec())
        .collect();
    group.bench_function("Protobuf to valid heartbeats", |bencher| {
        bencher.iter(|| {
            let messages = bodies.iter().flat_map(|body| message::decode(body, BATCH).expect("it was encoded here"));
            messages.filter(|message| message::heartbeat(message, START + 10_000).is_ok()).count()
        });
    });
    let valid = texts.iter().map(|text| playback::json::heartbeat(text, START + 10_000).expect("it was written here"));
    let heartbeats: Vec<_> = valid.collect();
    group.bench_function("heartbeats to records of the log", |bencher| {
        bencher
            .iter(|| heartbeats.iter().map(|heartbeat| record::written("default", heartbeat).0.len()).sum::<usize>());
    });
}

/// From the log's bytes to facts.
fn folding(group: &mut Group<'_>, records: &[Record]) {
    let encoded: Vec<_> = records.iter().map(Record::encode_to_vec).collect();
    let mut copy = Vec::new();
    group.bench_function("floor: the records' bytes copied", |bencher| {
        bencher.iter(|| {
            copy.clear();
            encoded.iter().for_each(|value| copy.extend_from_slice(value));
        });
    });
    let mut record = Record::default();
    group.bench_function("records decoded and checked", |bencher| {
        bencher.iter(|| {
            for value in &encoded {
                record.clear();
                record.merge(value.as_slice()).expect("it was encoded here");
                assert!(is_ours(&record), "it keeps the rules");
            }
        });
    });
    for viewers in [10_000, 100_000, 500_000] {
        let (mut kernel, mut records) = warm(viewers);
        let mut facts = Facts::default();
        group.bench_function(format!("kernel, {viewers} sessions"), |bencher| {
            bencher.iter(|| {
                for few in records.chunks_mut(READ_AHEAD) {
                    kernel.prefetch(few.iter());
                    for record in few {
                        kernel.fold(record, record.event_time, &mut facts);
                        record.seq += 1;
                        record.event_time += 5_000;
                        record.from_ms = Some(record.position_ms);
                        record.position_ms = (record.position_ms + 5_000) % 100_000_000;
                    }
                }
                facts.clear();
            });
        });
    }
}

/// From facts to the messages on the topic of partials, and what a sink does with them before the database.
fn publishing(group: &mut Group<'_>, facts: &Facts, runtime: &Runtime) {
    group.bench_function("facts to columns", |bencher| bencher.iter(|| run_of(facts)));
    let sources = sql::views::shipped();
    let views = runtime.block_on(Views::plan(&sources)).expect("the shipped views are sound");
    for source in &sources {
        let view = runtime.block_on(Views::plan(std::slice::from_ref(source))).expect("the view is sound");
        let fresh = || Arc::new(run_of(facts));
        group.bench_function(format!("view {}", source.file), |bencher| {
            bencher.iter_batched(fresh, |run| runtime.block_on(view.run(&run)), BatchSize::SmallInput);
        });
    }
    let run = Arc::new(run_of(facts));
    let outputs = runtime.block_on(views.run(&run)).expect("the views run");
    let epochs = [ClosedEpoch { partition: 0, from: 0, to: RECORDS, clock: START, ledger: Default::default() }];
    group.bench_function("partials", |bencher| {
        bencher.iter(|| partials(&epochs, &run, &views, &outputs, "main", "f"));
    });
    let partials = partials(&epochs, &run, &views, &outputs, "main", "f");
    let mut encoder = Encoder::new();
    group.bench_function("partials, encoded", |bencher| {
        bencher.iter(|| encoder.encode(&partials[0]).expect("a sink takes it"));
    });
    let message = encoder.encode(&partials[0]).expect("a sink takes it");
    group.bench_function("partials decoded and merged", |bencher| {
        bencher.iter(|| {
            let mut merged = Merged::default();
            merged.add(&decode(&message).expect("it was encoded here")).expect("the first cannot disagree");
            merged.rows()
        });
    });
}

fn run_of(facts: &Facts) -> Run {
    let mut run = Run::default();
    run.append(facts);
    run
}

/// What it takes to save a partition, and to have it back.
fn saving(group: &mut Group<'_>, runtime: &Runtime) {
    let mut shard = Shard::new(0, 1_000, Parameters::default());
    for viewer in 0..SAVED_SESSIONS {
        let record = viewers::record(viewer, 0, START);
        shard.fold(viewer, START + 5_000, &Reading::of(&record.encode_to_vec())).expect("offsets have no gap");
    }
    shard.fold(SAVED_SESSIONS, START + 90_000, &Reading::default()).expect("offsets have no gap");
    shard.cut(START + 200_000, |_, _| {});
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = processor::snapshot_store(&dir.path().to_string_lossy(), []).expect("a folder is a store");
    let snapshots = Snapshots::new(store, "main", "f");
    group.throughput(Throughput::Elements(SAVED_SESSIONS));
    let mut save = || {
        shard.begin_save();
        shard.save_some(usize::MAX).parts
    };
    group.bench_function("snapshot saved by the loop", |bencher| bencher.iter(&mut save));
    let mut offset = 0;
    group.bench_function("snapshot saved, packed and written", |bencher| {
        bencher.iter(|| {
            offset += 1;
            let mut state = Packing::default();
            state.add(save(), runtime.handle());
            runtime.block_on(snapshots.write(0, offset, state)).expect("the folder is writable")
        });
    });
    group.bench_function("snapshot restored", |bencher| {
        bencher.iter(|| runtime.block_on(snapshots.restore(0)).expect("the folder is readable"));
    });
}

fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("per 4,096 heartbeats");
    group.throughput(Throughput::Elements(RECORDS)).sample_size(20);
    let runtime = Runtime::new().expect("a runtime");
    let (mut kernel, records) = warm(100_000);
    let mut facts = Facts::default();
    for record in &records {
        kernel.fold(record, START + 10_000, &mut facts);
    }
    reports(&mut group, &records);
    folding(&mut group, &records);
    publishing(&mut group, &facts, &runtime);
    group.finish();
    saving(&mut criterion.benchmark_group("per session of a partition"), &runtime);
}

criterion_group!(benches, steps);
criterion_main!(benches);
