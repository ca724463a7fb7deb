//! Answers that a client has not taken. Over HTTP/2 it may ask for many at a time and take none, and the longest say of hundreds of
//! reports why they were refused; so the answers of a connection have bounded room.

use crate::limits::{ANSWER_PIECE_BYTES, MAX_UNTAKEN_BYTES};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Bytes of the answers of a connection that the client has not taken; clones are of the same connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Untaken(Rc<Cell<usize>>);

/// Room of an answer, until dropped.
pub(crate) struct AnswerRoom {
    bytes: usize,
    of_all: Rc<Cell<usize>>,
}

/// The body of an answer.
#[derive(Default)]
pub(crate) struct AnswerBody {
    left: Bytes,
    _room: Option<AnswerRoom>,
}

impl Untaken {
    /// Makes room for an answer, if there is.
    pub(crate) fn room(&self, bytes: usize) -> Option<AnswerRoom> {
        let taken = self.0.get() + bytes;
        (taken <= MAX_UNTAKEN_BYTES).then(|| {
            self.0.set(taken);
            AnswerRoom { bytes, of_all: self.0.clone() }
        })
    }
}

impl Drop for AnswerRoom {
    fn drop(&mut self) {
        self.of_all.set(self.of_all.get() - self.bytes);
    }
}

impl AnswerBody {
    pub(crate) fn new(bytes: Bytes, room: Option<AnswerRoom>) -> AnswerBody {
        AnswerBody { left: bytes, _room: room }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    /// Pieces: who takes a byte is given a piece, and that is out of our sight.
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let piece = self.left.len().min(ANSWER_PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.left.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}
