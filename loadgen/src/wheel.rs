//! Who is next: a timer wheel over virtual time. Eight bytes for each waiting device; those due in the same moment come
//! in the order of their numbers, so that the order of a run is the same every time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Time in one slot; ms.
const SLOT_MS: u32 = 32;
/// Slots: the wheel goes round in a little over four minutes. Who is due later goes round again.
const SLOTS: usize = 8_192;

/// Devices by the time of their next request.
pub(crate) struct Wheel {
    slots: Vec<Vec<u64>>,
    /// Those of the slots up to this one, in order.
    current: BinaryHeap<Reverse<u64>>,
    /// Number of the current slot since the first instant.
    at: u32,
    /// How many wait in the slots.
    waiting: usize,
}

impl Wheel {
    pub(crate) fn new() -> Wheel {
        Wheel { slots: vec![Vec::new(); SLOTS], current: BinaryHeap::new(), at: 0, waiting: 0 }
    }

    /// Lets a device wait until `due_ms` since the first instant.
    pub(crate) fn insert(&mut self, due_ms: u32, device: u32) {
        let entry = u64::from(due_ms) << 32 | u64::from(device);
        let slot = due_ms / SLOT_MS;
        if slot <= self.at {
            self.current.push(Reverse(entry));
        } else {
            self.slots[slot.min(self.at + SLOTS as u32 - 1) as usize % SLOTS].push(entry);
            self.waiting += 1;
        }
    }

    /// When the next device is due.
    pub(crate) fn next_due(&mut self) -> Option<u32> {
        while self.current.is_empty() && self.waiting > 0 {
            self.at += 1;
            let mut due = std::mem::take(&mut self.slots[self.at as usize % SLOTS]);
            self.waiting -= due.len();
            for entry in due.drain(..) {
                self.insert((entry >> 32) as u32, entry as u32);
            }
            // Its memory serves again.
            let slot = &mut self.slots[self.at as usize % SLOTS];
            if slot.is_empty() {
                *slot = due;
            }
        }
        self.current.peek().map(|Reverse(entry)| (entry >> 32) as u32)
    }

    /// The next device, and when it is due.
    pub(crate) fn pop(&mut self) -> Option<(u32, u32)> {
        self.next_due()?;
        self.current.pop().map(|Reverse(entry)| ((entry >> 32) as u32, entry as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use std::collections::BTreeSet;

    #[test]
    fn everybody_comes_out_in_the_order_of_time_and_number() {
        let (mut wheel, mut waiting, mut dice) = (Wheel::new(), BTreeSet::new(), Dice::new(1, 1));
        let mut now = 0;
        for device in 0..40_000 {
            let reach = dice.pick(&[1, 40, 5_000, 300_000, 20_000_000]);
            let due = now + dice.below(reach);
            wheel.insert(due, device);
            waiting.insert((due, device));
            if dice.permille(600) {
                let next = waiting.pop_first();
                assert_eq!(wheel.pop(), next);
                now = next.map_or(now, |(due, _)| due);
            }
        }
        while let Some(next) = waiting.pop_first() {
            assert_eq!(wheel.pop(), Some(next));
        }
        assert_eq!(wheel.pop(), None);
    }
}
