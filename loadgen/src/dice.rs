//! Chance by seed: the same dice, the same throws, on every machine. Eight bytes, so that every viewer has its own.

use rand::TryRng;
use std::convert::Infallible;

/// A splitmix64 generator. It serves the distributions of `rand_distr` too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The dice of one purpose among those of a seed.
    pub(crate) fn new(seed: u64, purpose: u64) -> Dice {
        let mut mixed = Dice(seed ^ purpose.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Dice(mixed.throw())
    }

    /// Any number.
    pub(crate) fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
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
        of[self.below(of.len() as u32) as usize]
    }

    /// Puts a list into any order.
    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last as u32 + 1) as usize);
        }
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
