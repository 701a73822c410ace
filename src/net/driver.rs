//! One task per connection: reads frames and hands them out, finishes writes the socket did not take at once, watches
//! time. It ends when the connection is closed or nobody needs it any more.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::shared::Shared;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::frames::Frames;

type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) struct Driver {
    shared: Arc<Shared>,
    reader: Box<dyn AsyncRead + Send + Unpin>,
    frames: Frames,
    timer: Option<Timer>,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, reader: Box<dyn AsyncRead + Send + Unpin>, frames: Frames) -> Self {
        Self { shared, reader, frames, timer: None }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<()> {
        loop {
            let polled = pin!(self.reader.read_buf(self.frames.space())).poll(cx);
            match polled {
                Poll::Pending => return Ok(()),
                // It will be found again after that.
                Poll::Ready(Ok(0) | Err(_)) if self.shared.is_deciding() => return Ok(()),
                Poll::Ready(Ok(0)) => {
                    let message = format!("{} closed the connection", self.shared.peer);
                    return Err(Error::new(ErrorKind::Connection, message));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(e)) => {
                    return Err(self.shared.lost(e, ""));
                }
            }
            while let Some(frame) = self.frames.next().map_err(|e| e.error(&self.shared.peer))? {
                self.shared.deliver(frame)?;
            }
        }
    }

    fn watch_time(&mut self, cx: &mut Context<'_>) -> Result<()> {
        loop {
            let fired = self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
            if fired {
                self.timer = None;
                self.shared.write_as_driver(cx)?;
            } else if !self.shared.take_rearm() {
                return Ok(());
            }
            self.timer = self.shared.check_time(self.shared.env.now())?.map(|at| {
                let env = self.shared.env.clone();
                Box::pin(async move { env.sleep_until(at).await }) as Timer
            });
        }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.driver.register(cx.waker());
        let this = &mut *self;
        let result = this.read(cx).and_then(|()| this.shared.write_as_driver(cx)).and_then(|()| this.watch_time(cx));
        if let Err(error) = result {
            self.shared.close(error);
        }
        if self.shared.closed_with().is_some() || self.shared.is_drained() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Also when the runtime stops: nobody waits for ever.
impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.close(Error::new(ErrorKind::Closed, format!("the connection to {} was closed", self.shared.peer)));
    }
}
