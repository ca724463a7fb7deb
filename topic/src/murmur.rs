//! Which partition a key belongs to: murmur2 exactly as Java's default partitioner, so that other producers agree.

/// The partition of `key` among `partitions`, as Kafka's Java client chooses it.
///
/// # Panics
/// When `partitions` is 0: no topic has none.
#[must_use]
pub fn partition_for(key: &[u8], partitions: u32) -> u32 {
    assert!(partitions > 0, "a topic has at least one partition");
    (murmur2(key).cast_unsigned() & 0x7fff_ffff) % partitions
}

/// Kafka's variant of murmur2: seed `0x9747b28c`, signed result.
fn murmur2(key: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    // Java computes the length as an i32; a key that long cannot be on the log.
    let mut hash = SEED ^ u32::try_from(key.len()).expect("a key is shorter than a message may be");
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        let word: [u8; 4] = word.try_into().expect("chunks_exact gives four bytes");
        let mut k = u32::from_le_bytes(word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    for (index, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * index);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ (hash >> 15)).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::murmur2;

    #[test]
    fn murmur2_gives_the_values_of_kafkas_own_test() {
        let golden: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, expected) in golden {
            assert_eq!(murmur2(key), expected, "{}", String::from_utf8_lossy(key));
        }
    }
}
