//! Answers that a client has not taken. Over HTTP/2 it may ask for many at a time and take none, and the longest ones say why
//! each of hundreds of reports was refused. So long answers have bounded room, per connection and in all.

use crate::limits::{ANSWER_PIECE_BYTES, MAX_ALL_UNTAKEN_BYTES, MAX_UNTAKEN_BYTES};
use crate::net::Place;
use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, SizeHint};
use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// Bytes of the answers of a connection that the client has not taken; clones are of the same connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Untaken(Rc<Cell<usize>>);

/// Room of an answer, until dropped.
pub(crate) struct AnswerRoom {
    bytes: usize,
    of_connection: Rc<Cell<usize>>,
    of_all: Arc<AtomicUsize>,
}

/// The body of an answer.
#[derive(Default)]
pub(crate) struct AnswerBody {
    left: Bytes,
    held: Option<Rc<Held>>,
}

/// A piece of an answer. It holds what the answer holds: over HTTP/2 it may wait long for a client that takes a byte of it.
pub(crate) struct Piece {
    bytes: Bytes,
    _held: Option<Rc<Held>>,
}

/// What an answer holds until it is taken.
struct Held {
    _room: Option<AnswerRoom>,
    /// Of its request.
    _place: Option<Place>,
}

impl Untaken {
    /// Makes room for a long answer among those of its connection and of all, if there is.
    pub(crate) fn room(&self, bytes: usize, of_all: &Arc<AtomicUsize>) -> Option<AnswerRoom> {
        let of_connection = self.0.get() + bytes;
        self.0.set(of_connection);
        let all = of_all.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let room = AnswerRoom { bytes, of_connection: self.0.clone(), of_all: of_all.clone() };
        (of_connection <= MAX_UNTAKEN_BYTES && all <= MAX_ALL_UNTAKEN_BYTES).then_some(room)
    }
}

impl Drop for AnswerRoom {
    fn drop(&mut self) {
        self.of_connection.set(self.of_connection.get() - self.bytes);
        self.of_all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl AnswerBody {
    /// One that holds nothing yet.
    pub(crate) fn new(bytes: Bytes) -> AnswerBody {
        AnswerBody { left: bytes, held: None }
    }

    /// Holds the room of a long answer and the place of its request for as long as any part of the answer is there. A short
    /// answer needs no room besides the place.
    pub(crate) fn hold(&mut self, room: Option<AnswerRoom>, place: Option<Place>) {
        if room.is_some() || place.is_some() {
            self.held = Some(Rc::new(Held { _room: room, _place: place }));
        }
    }
}

impl Body for AnswerBody {
    type Data = Piece;
    type Error = Infallible;

    /// Pieces: a client that takes a byte is given a whole one.
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.left.len().min(ANSWER_PIECE_BYTES);
        let piece = Piece { bytes: self.left.split_to(length), _held: self.held.clone() };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_answers_have_bounded_room_of_a_connection_and_of_all() {
        let of_all = Arc::new(AtomicUsize::new(MAX_ALL_UNTAKEN_BYTES - MAX_UNTAKEN_BYTES - 1));
        let [one, other] = [Untaken::default(), Untaken::default()];
        let held = one.room(MAX_UNTAKEN_BYTES, &of_all);
        assert!(held.is_some() && one.room(1, &of_all).is_none());
        let last = other.room(1, &of_all);
        assert!(last.is_some() && other.room(1, &of_all).is_none());
        drop(held);
        assert!(other.room(1, &of_all).is_some() && one.room(MAX_UNTAKEN_BYTES, &of_all).is_some());
    }
}
