//! A set of half-open intervals, kept as disjoint spans in order; touching ones are joined.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// A union of half-open intervals. Most sets are one span, which is kept in place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervals {
    spans: SmallVec<[(u32, u32); 1]>,
}

/// What [`Intervals::insert`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inserted {
    /// How much the set grew.
    pub added: u32,
    /// The span that now holds the interval.
    pub span: (u32, u32),
}

impl Intervals {
    /// The spans, in order.
    pub fn spans(&self) -> &[(u32, u32)] {
        &self.spans
    }

    /// Adds `[from, to)`, which must not be empty; `absorbed` gets the starts of spans that are no more, because the span that
    /// now holds the interval took them in.
    pub fn insert(&mut self, from: u32, to: u32, absorbed: impl FnMut(u32)) -> Inserted {
        assert!(from < to, "an interval is not empty");
        let first = self.spans.partition_point(|span| span.1 < from);
        let last = first + self.spans[first..].partition_point(|span| span.0 <= to);
        let touched = &self.spans[first..last];
        let span = match (touched.first(), touched.last()) {
            (Some(head), Some(tail)) => (head.0.min(from), tail.1.max(to)),
            _ => (from, to),
        };
        let before: u32 = touched.iter().map(|span| span.1 - span.0).sum();
        touched.iter().map(|touched| touched.0).filter(|start| *start != span.0).for_each(absorbed);
        match last - first {
            0 => self.spans.insert(first, span),
            1 => self.spans[first] = span,
            _ => {
                self.spans[first] = span;
                self.spans.drain(first + 1..last);
            }
        }
        Inserted { added: span.1 - span.0 - before, span }
    }
}

#[cfg(test)]
mod tests {
    use super::{Inserted, Intervals};
    use proptest::prelude::*;

    #[test]
    fn touching_intervals_are_joined_and_the_absorbed_starts_named() {
        let mut set = Intervals::default();
        set.insert(0, 10, |_| {});
        set.insert(20, 30, |_| {});
        let mut absorbed = Vec::new();
        assert_eq!(set.insert(10, 20, |start| absorbed.push(start)), Inserted { added: 10, span: (0, 30) });
        assert_eq!(absorbed, [20]);
        assert_eq!(set.spans(), &[(0, 30)]);
    }

    #[test]
    fn an_interval_that_is_in_already_adds_nothing() {
        let mut set = Intervals::default();
        set.insert(0, 10, |_| {});
        let inserted = set.insert(2, 5, |start| panic!("the span from {start} is still there"));
        assert_eq!(inserted, Inserted { added: 0, span: (0, 10) });
    }

    proptest! {
        #[test]
        fn the_set_covers_exactly_the_points_of_its_intervals(intervals in prop::collection::vec((0u32..200, 1u32..30), 0..40)) {
            let (mut set, mut points) = (Intervals::default(), [false; 256]);
            for (from, length) in intervals {
                let added = set.insert(from, from + length, |_| {}).added as usize;
                let fresh = points[from as usize..(from + length) as usize].iter_mut().map(|point| !std::mem::replace(point, true)).filter(|fresh| *fresh).count();
                prop_assert_eq!(added, fresh);
            }
            prop_assert!(set.spans().windows(2).all(|pair| pair[0].1 < pair[1].0));
            for (point, covered) in points.iter().enumerate() {
                let inside = set.spans().iter().any(|span| (span.0..span.1).contains(&(point as u32)));
                prop_assert_eq!(inside, *covered);
            }
        }
    }
}
