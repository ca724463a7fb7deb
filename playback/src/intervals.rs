//! A set of half-open intervals, kept as disjoint spans in order; touching ones are joined.

use crate::ordered::Ordered;
use serde::{Deserialize, Serialize};

/// A union of half-open intervals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervals {
    /// Ends by starts.
    spans: Ordered<u32>,
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
    /// The last span.
    pub fn last(&self) -> Option<(u32, u32)> {
        self.spans.last()
    }

    /// Adds `[from, to)`, which must not be empty; `absorbed` gets the starts of spans that are no more, because the span that
    /// now holds the interval took them in.
    pub fn insert(&mut self, from: u32, to: u32, mut absorbed: impl FnMut(u32)) -> Inserted {
        assert!(from < to, "an interval is not empty");
        if let Some((start, end)) = self.spans.last_mut().filter(|(start, end)| *start <= from && from <= **end) {
            let added = to.saturating_sub(*end); // nearly always
            *end += added;
            return Inserted { added, span: (start, *end) };
        }
        let touched = self.spans.up_to(from).filter(|(_, end)| from <= *end);
        let (start, mut end) = touched.map_or((from, to), |(start, end)| (start, end.max(to)));
        let mut before = touched.map_or(0, |(start, end)| end - start);
        while let Some(next) = self.spans.after(from).filter(|(next, _)| *next <= to) {
            self.spans.remove(next.0);
            absorbed(next.0);
            before += next.1 - next.0;
            end = end.max(next.1);
        }
        self.spans.insert(start, end);
        Inserted { added: end - start - before, span: (start, end) }
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
        set.spans.with_entries(|spans| assert_eq!(spans, [(0, 30)]));
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
            let spans = set.spans.with_entries(<[_]>::to_vec);
            prop_assert!(spans.windows(2).all(|pair| pair[0].1 < pair[1].0));
            for (point, covered) in points.iter().enumerate() {
                let inside = spans.iter().any(|span| (span.0..span.1).contains(&(point as u32)));
                prop_assert_eq!(inside, *covered);
            }
        }
    }
}
