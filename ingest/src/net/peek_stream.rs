//! A stream that tells its watch when something comes, and that can be read ahead: what was read early comes again.

use super::watch::Watch;
use bytes::{Buf, BytesMut};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// One connection, below TLS.
pub(super) struct PeekStream<T> {
    early: BytesMut,
    stream: T,
    watch: Rc<Watch>,
}

/// What is read ahead at a time: most requests are smaller.
const EARLY_BYTES: usize = 1024;

impl<T: AsyncRead + Unpin> PeekStream<T> {
    pub(super) fn new(stream: T, watch: Rc<Watch>) -> PeekStream<T> {
        PeekStream { early: BytesMut::new(), stream, watch }
    }

    /// What was read early and not consumed.
    pub(super) fn early(&self) -> &[u8] {
        &self.early
    }

    /// Reads some more ahead; 0 is the end.
    pub(super) async fn read_early(&mut self) -> io::Result<usize> {
        self.early.reserve(EARLY_BYTES);
        self.stream.read_buf(&mut self.early).await
    }

    /// Drops the first bytes of what was read early.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.early.advance(bytes);
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for PeekStream<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.early.is_empty() {
            let bytes = this.early.len().min(into.remaining());
            into.put_slice(&this.early[..bytes]);
            this.early.advance(bytes);
            if this.early.is_empty() {
                this.early = BytesMut::new(); // a connection may live for hours: give the buffer back
            }
            return Poll::Ready(Ok(()));
        }
        ready!(Pin::new(&mut this.stream).poll_read(context, into))?;
        this.watch.heard();
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for PeekStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
