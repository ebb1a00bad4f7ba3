//! Acknowledging what arrives without an answer soon.
//!
//! Clients that write a request in pieces without TCP_NODELAY (ssh2 for Node.js and what is built on
//! it) send the second piece when the first is acknowledged (Nagle's algorithm, RFC 896), and the
//! kernel acknowledges only with an answer or after 40 ms (delayed acknowledgements, RFC 1122, section
//! 4.2.3.2). Each of their requests would take these 40 ms.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// How long an answer may take that carries the acknowledgement with it, which costs nothing.
const PATIENCE: Duration = Duration::from_millis(2);

/// Tells when received bytes have to be acknowledged without an answer. Costs one setting of a timer in
/// [`PATIENCE`], however many answers there are meanwhile.
#[derive(Debug)]
pub(crate) struct PromptAck {
    due: Pin<Box<Sleep>>,
    is_armed: bool,
    /// Whether anything was received since something was sent.
    is_owed: bool,
    /// Whether that was after `due` was set.
    is_new: bool,
}

impl PromptAck {
    pub(crate) fn new() -> Self {
        Self { due: Box::pin(sleep(PATIENCE)), is_armed: false, is_owed: false, is_new: false }
    }

    pub(crate) fn received(&mut self) {
        if !self.is_owed {
            (self.is_owed, self.is_new) = (true, self.is_armed);
        }
    }

    /// What is sent acknowledges what was received.
    pub(crate) fn sent(&mut self) {
        self.is_owed = false;
    }

    /// Nothing more has arrived: whether to acknowledge now what there is. Wakes when it becomes time.
    pub(crate) fn poll_due(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.is_owed {
            return false;
        }
        if !self.is_armed {
            self.arm();
        }
        while self.due.as_mut().poll(cx).is_ready() {
            if !std::mem::take(&mut self.is_new) {
                (self.is_armed, self.is_owed) = (false, false);
                return true;
            }
            self.arm();
        }
        false
    }

    fn arm(&mut self) {
        self.due.as_mut().reset(Instant::now() + PATIENCE);
        self.is_armed = true;
    }
}

#[cfg(target_os = "linux")]
pub(crate) fn acknowledge(stream: &TcpStream) {
    // A connection that has just broken says so at the next read.
    let _ = stream.set_quickack(true);
}

/// Other systems wait for as long as they do.
#[cfg(not(target_os = "linux"))]
pub(crate) fn acknowledge(_: &TcpStream) {}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    async fn due_now(ack: &mut PromptAck) -> bool {
        poll_fn(|cx| Poll::Ready(ack.poll_due(cx))).await
    }

    async fn due(ack: &mut PromptAck) {
        poll_fn(|cx| if ack.poll_due(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_answered_is_acknowledged_soon_and_once() {
        let mut ack = PromptAck::new();
        assert!(!due_now(&mut ack).await, "nothing was received");
        for _ in 0..3 {
            let begun = Instant::now();
            ack.received();
            due(&mut ack).await;
            assert_eq!(begun.elapsed(), PATIENCE);
            tokio::time::advance(10 * PATIENCE).await;
            assert!(!due_now(&mut ack).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_acknowledges_and_what_follows_it_has_its_own_time() {
        let mut ack = PromptAck::new();
        for _ in 0..100 {
            ack.received();
            assert!(!due_now(&mut ack).await);
            tokio::time::advance(PATIENCE / 2).await;
            ack.sent();
            assert!(!due_now(&mut ack).await);
        }
        let received = Instant::now();
        ack.received();
        due(&mut ack).await;
        assert!((PATIENCE..=2 * PATIENCE).contains(&received.elapsed()));
    }
}
