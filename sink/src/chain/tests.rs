//! Epochs in every order, with repeats, holes and more waiting than there is room for.

use super::*;

fn arrival(offset: u64, from: u64, to: u64) -> Arrival {
    let partial = Partial { from, to, fingerprint: "f".into(), ..Partial::default() };
    Arrival { offset, bytes: 1, partial }
}

/// What each message of `script` (from, to) lets through, as from-offsets.
fn taken(script: &[(u64, u64)]) -> Result<Vec<Vec<u64>>, ChainError> {
    let mut chain = Chain::new(0, String::new(), 0);
    let messages = script.iter().enumerate();
    messages
        .map(|(offset, &(from, to))| {
            let ready = chain.take(arrival(offset as u64, from, to))?;
            Ok(ready.iter().map(|arrival| arrival.partial.from).collect())
        })
        .collect()
}

#[test]
fn epochs_are_taken_once_and_in_order_however_they_come() {
    /// Epochs as they come, and those that are ready after each.
    type Case<'a> = (&'a [(u64, u64)], &'a [&'a [u64]]);
    let cases: &[Case<'_>] = &[
        (&[(0, 5), (5, 9)], &[&[0], &[5]]),
        (&[(0, 5), (0, 5), (5, 9), (0, 5)], &[&[0], &[], &[5], &[]]),
        (&[(5, 9), (9, 10), (0, 5)], &[&[], &[], &[0, 5, 9]]),
        (&[(0, 5), (9, 10), (9, 10), (5, 9), (9, 10)], &[&[0], &[], &[], &[5, 9], &[]]),
    ];
    for (script, expected) in cases {
        assert_eq!(taken(script), Ok(expected.iter().map(|ready| ready.to_vec()).collect()), "{script:?}");
    }
}

#[test]
fn an_overlap_and_another_fingerprint_stop_the_chain() {
    assert_eq!(taken(&[(0, 5), (3, 9)]), Err(ChainError::Overlap { from: 3, to: 9, next: 5 }));
    let mut chain = Chain::new(0, "other".into(), 0);
    assert!(matches!(chain.take(arrival(0, 0, 1)), Err(ChainError::Fingerprint { .. })));
}

#[test]
fn a_chain_with_waiting_epochs_resumes_at_the_first_of_them() -> Result<(), ChainError> {
    let mut chain = Chain::new(0, String::new(), 7);
    chain.take(arrival(7, 5, 9))?;
    chain.take(arrival(8, 9, 12))?;
    assert_eq!(chain.resume_at(), 7);
    chain.take(arrival(9, 0, 5))?;
    assert_eq!((chain.resume_at(), chain.waiting()), (10, 0));
    Ok(())
}

/// Reads `topic` (from, to) as a sink does: goes back where the chain says so, and reads to the end.
fn read(topic: &[(u64, u64)]) -> Result<Vec<u64>, ChainError> {
    let (mut chain, mut taken, mut at) = (Chain::new(0, String::new(), 0), Vec::new(), 0);
    while let Some(&(from, to)) = topic.get(at) {
        taken.extend(chain.take(arrival(at as u64, from, to))?.iter().map(|ready| ready.partial.from));
        assert!(chain.waiting() <= limits::WAITING_EPOCHS);
        at = chain.read_again().map_or(at + 1, |offset| offset as usize);
        if chain.wants_end() {
            chain.note_end(topic.len() as u64);
        }
        if chain.is_stuck() {
            chain.note_read_back()?;
            chain.reset(0, String::new(), 0);
            (at, taken) = (0, Vec::new());
        }
    }
    Ok(taken)
}

#[test]
fn a_missing_epoch_is_found_however_many_come_before_it() {
    let epochs = 3 * limits::WAITING_EPOCHS as u64;
    let mut topic: Vec<_> = (1..epochs).map(|epoch| (epoch, epoch + 1)).collect();
    topic.push((0, 1));
    assert!(read(&topic).unwrap().into_iter().eq(0..epochs));
    // A second epoch is missing among those that are kept, and comes near the end.
    topic.retain(|(from, _)| *from != 700);
    topic.extend([(epochs, epochs + 1), (700, 701), (epochs + 1, epochs + 2)]);
    assert!(read(&topic).unwrap().into_iter().eq(0..epochs + 2));
    // All the wrong way round.
    let topic: Vec<_> = (0..epochs).rev().map(|epoch| (epoch, epoch + 1)).collect();
    assert!(read(&topic).unwrap().into_iter().eq(0..epochs));
}

#[test]
fn a_chain_that_let_epochs_go_resumes_at_the_first_of_them() {
    let mut chain = Chain::new(0, String::new(), 0);
    let epochs = limits::WAITING_EPOCHS as u64 + 5;
    for epoch in (1..=epochs).rev() {
        chain.take(arrival(100 + epochs - epoch, epoch, epoch + 1)).unwrap();
    }
    assert_eq!(chain.resume_at(), 100);
    chain.take(arrival(100 + epochs, 0, 1)).unwrap();
    assert_eq!((chain.resume_at(), chain.read_again(), chain.resume_at()), (100, Some(100), 100));
}

#[test]
fn a_gap_that_is_there_at_the_end_after_reading_back_is_the_end() {
    let topic: Vec<_> = (1..=limits::WAITING_EPOCHS as u64 + 1).map(|epoch| (epoch, epoch + 1)).collect();
    assert!(matches!(read(&topic), Err(ChainError::Gap { next: 0, first: 1, .. })));
    assert_eq!(read(&topic[1..]), Ok(Vec::new()), "fewer wait for it");
}

#[test]
fn where_too_much_waits_in_all_the_chain_with_most_of_it_lets_its_farthest_go() {
    /// Sizes of the epochs that wait in two chains, how many bytes may wait in all, and sizes of the epochs that still wait.
    type Case<'a> = ([&'a [usize]; 2], usize, [&'a [usize]; 2]);
    let cases: [Case<'_>; 6] = [
        ([&[10, 10, 10], &[20]], 50, [&[10, 10, 10], &[20]]),
        ([&[10, 10, 10], &[20]], 49, [&[10, 10], &[20]]),
        ([&[10, 10, 10], &[20]], 35, [&[10], &[20]]),
        ([&[10, 10], &[21, 1]], 41, [&[10, 10], &[21]]),
        ([&[30], &[10, 10]], 45, [&[30], &[10]]),
        ([&[30], &[20]], 10, [&[30], &[20]]),
    ];
    for (waiting, most, expected) in cases {
        let mut chains = BTreeMap::new();
        for (partition, sizes) in (0..).zip(waiting) {
            let mut chain = Chain::new(0, String::new(), 0);
            for (at, &bytes) in (1..).zip(sizes) {
                chain.take(Arrival { bytes, ..arrival(at, at, at + 1) }).unwrap();
            }
            chains.insert(partition, chain);
        }
        bound(&mut chains, most);
        let left = chains.values().map(|chain| chain.waiting.values().map(|arrival| arrival.bytes).collect::<Vec<_>>());
        assert!(left.clone().eq(expected), "{waiting:?} {most}: {:?}", left.collect::<Vec<_>>());
    }
}
