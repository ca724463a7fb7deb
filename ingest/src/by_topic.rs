//! A value for each of the two topics that the gateway writes.

/// One of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ByTopic<T> {
    pub(crate) heartbeats: T,
    pub(crate) dead_letters: T,
}

impl<T> ByTopic<T> {
    pub(crate) fn as_ref(&self) -> ByTopic<&T> {
        ByTopic { heartbeats: &self.heartbeats, dead_letters: &self.dead_letters }
    }

    pub(crate) fn as_mut(&mut self) -> ByTopic<&mut T> {
        ByTopic { heartbeats: &mut self.heartbeats, dead_letters: &mut self.dead_letters }
    }

    pub(crate) fn zip<U>(self, other: ByTopic<U>) -> ByTopic<(T, U)> {
        ByTopic {
            heartbeats: (self.heartbeats, other.heartbeats),
            dead_letters: (self.dead_letters, other.dead_letters),
        }
    }

    pub(crate) fn map<U>(self, mut of: impl FnMut(T) -> U) -> ByTopic<U> {
        ByTopic { heartbeats: of(self.heartbeats), dead_letters: of(self.dead_letters) }
    }

    /// Both, one after the other.
    pub(crate) fn each(self) -> [T; 2] {
        [self.heartbeats, self.dead_letters]
    }
}

impl<C> ByTopic<C>
where
    for<'a> &'a C: IntoIterator<IntoIter: ExactSizeIterator>,
{
    /// How many there are in both.
    pub(crate) fn len(&self) -> usize {
        self.as_ref().each().map(|of| of.into_iter().len()).iter().sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
