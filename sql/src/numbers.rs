//! Columns of integers as bytes.

use bytes::Bytes;
use prost::Message;

/// Numbers that lie close together: the least of them, and how far each is above it, in as few bytes as the farthest
/// needs. A column that says the same in every row takes no bytes a row.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)]
pub struct Numbers {
    #[prost(uint32, tag = "1")]
    pub count: u32,
    #[prost(sint64, tag = "2")]
    pub least: i64,
    #[prost(uint32, tag = "3")]
    pub width: u32,
    #[prost(bytes = "bytes", tag = "4")]
    pub above: Bytes,
}

impl Numbers {
    /// These numbers, packed.
    #[must_use]
    pub fn pack(numbers: &[i64]) -> Numbers {
        let (least, greatest) = numbers
            .iter()
            .fold((i64::MAX, i64::MIN), |(least, greatest), number| (least.min(*number), greatest.max(*number)));
        let count = u32::try_from(numbers.len()).expect("a message has far fewer than 2^32 rows");
        if count == 0 {
            return Numbers::default();
        }
        let farthest = greatest.wrapping_sub(least).cast_unsigned();
        let width = (u64::BITS - farthest.leading_zeros()).div_ceil(8);
        let above = match width {
            0 => Vec::new(),
            1 => above::<1>(numbers, least),
            2 => above::<2>(numbers, least),
            3 => above::<3>(numbers, least),
            4 => above::<4>(numbers, least),
            5 => above::<5>(numbers, least),
            6 => above::<6>(numbers, least),
            7 => above::<7>(numbers, least),
            _ => above::<8>(numbers, least),
        };
        Numbers { count, least, width, above: above.into() }
    }

    /// Whether they are as many as they say.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.width <= 8 && self.above.len() as u64 == u64::from(self.count) * u64::from(self.width)
    }

    /// The numbers, which must be whole.
    pub fn unpack(&self) -> impl ExactSizeIterator<Item = i64> + '_ {
        let width = self.width as usize;
        let mask = u64::MAX.checked_shr(u64::BITS - 8 * self.width).unwrap_or(0);
        (0..self.count as usize).map(move |index| {
            let bytes = &self.above[index * width..];
            let above = match bytes.first_chunk() {
                Some(eight) => u64::from_le_bytes(*eight) & mask,
                None => bytes[..width].iter().rev().fold(0, |above, byte| above << 8 | u64::from(*byte)),
            };
            self.least.wrapping_add(above.cast_signed())
        })
    }
}

fn above<const WIDTH: usize>(numbers: &[i64], least: i64) -> Vec<u8> {
    let mut above = vec![0; numbers.len() * WIDTH];
    for (bytes, number) in above.as_chunks_mut::<WIDTH>().0.iter_mut().zip(numbers) {
        bytes.copy_from_slice(&number.wrapping_sub(least).to_le_bytes()[..WIDTH]);
    }
    above
}

#[cfg(test)]
mod tests {
    use super::Numbers;

    #[test]
    fn numbers_come_back_and_take_the_bytes_that_their_distance_needs() {
        let cases: [(&[i64], u32); 7] = [
            (&[], 0),
            (&[7, 7, 7], 0),
            (&[-1, 254], 1),
            (&[-1, 255], 2),
            (&[1_763_683_200_000, 1_763_683_260_000], 2),
            (&[0, 1 << 55], 7),
            (&[i64::MIN, 0, i64::MAX], 8),
        ];
        for (numbers, width) in cases {
            let packed = Numbers::pack(numbers);
            assert!(packed.is_whole(), "{numbers:?}");
            assert_eq!((packed.unpack().collect::<Vec<_>>(), packed.width), (numbers.to_vec(), width));
        }
    }
}
