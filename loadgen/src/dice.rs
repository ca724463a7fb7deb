//! Chance by seed: the same dice, the same throws, on every machine. Eight bytes, so that every viewer has its own.

use playback::random::Random;
use rand::TryRng;
use std::convert::Infallible;

/// Seeded numbers, which serve the distributions of `rand_distr` too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dice(Random);

impl Dice {
    /// The dice of one purpose among those of a seed.
    pub(crate) fn new(seed: u64, purpose: u64) -> Dice {
        let mut mixed = Random::new(seed ^ purpose.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Dice(Random::new(mixed.number()))
    }

    /// Any number.
    pub(crate) fn throw(&mut self) -> u64 {
        self.0.number()
    }

    /// Any number below `bound`; 0 when that is 0.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(bound) * (self.throw() >> 32)) >> 32) as u32
    }

    /// True in so many of a thousand cases.
    pub(crate) fn permille(&mut self, share: u16) -> bool {
        share > 0 && self.below(1_000) < u32::from(share)
    }

    /// One of several, which are not none.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        self.0.pick(of)
    }

    /// Puts a list into any order.
    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        self.0.shuffle(list);
    }
}

impl TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.throw() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.throw())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.throw().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}
