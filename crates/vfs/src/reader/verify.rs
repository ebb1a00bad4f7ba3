//! Whether a file that is read from its beginning to its end is the one that was stored.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tidegate_store::Checksum;

use super::fill::Fetch;
use super::source::Source;
use super::window::Segment;
use crate::error::{FsError, FsErrorKind};

/// What the store says the checksum of the whole is, if it says.
pub(crate) type Expected = Shared<BoxFuture<'static, Option<Checksum>>>;

/// The checksum of what a sequential reader has passed. It ends with the first gap: a client that
/// jumps about is not checked.
#[derive(Debug)]
pub(crate) struct Verification {
    size: u64,
    /// Of the bytes before all that follows.
    sum: Checksum,
    /// Ranges behind them that were still coming when they were passed.
    coming: VecDeque<Arc<Fetch>>,
    /// Where the next range must begin.
    next: u64,
    gap: bool,
    expected: Option<Expected>,
}

/// What is left to do for a read that reaches the end.
#[derive(Debug)]
pub(crate) struct Ending {
    sum: Checksum,
    rest: Vec<Arc<Fetch>>,
    expected: Expected,
}

impl Verification {
    /// For a file of `size` bytes whose checksum is asked for when the end comes near.
    pub(crate) fn new(size: u64) -> Self {
        Self { size, sum: Checksum::EMPTY, coming: VecDeque::new(), next: 0, gap: false, expected: None }
    }

    /// For a file that is not checked in this way.
    pub(crate) fn off() -> Self {
        Self { gap: true, ..Self::new(0) }
    }

    /// The reader has passed a segment, up to its end.
    pub(crate) fn pass(&mut self, segment: &Segment<Arc<Fetch>>) {
        let follows = segment.bytes.start() == self.next;
        self.next = segment.end;
        let whole = segment.bytes.end() == segment.end;
        match segment.bytes.sum_until(segment.end) {
            _ if self.gap => {}
            Some(sum) if follows && self.coming.is_empty() => self.sum = self.sum.then(sum),
            _ if follows && whole => self.coming.push_back(Arc::clone(&segment.bytes)),
            // Also a part of a range behind one that is still coming: rare, and not worth more.
            _ => self.give_up(),
        }
    }

    /// Lets go of ranges that have come meanwhile.
    pub(crate) fn settle(&mut self) {
        while let Some(sum) = self.coming.front().and_then(|first| first.sum_until(first.end())) {
            self.sum = self.sum.then(sum);
            self.coming.pop_front();
        }
    }

    /// Whether nothing is left out if a range that begins here comes next.
    pub(crate) fn goes_on_at(&self, start: u64) -> bool {
        !self.gap && start == self.next
    }

    /// Asks for the checksum if that was not done yet and will be of use.
    pub(crate) fn expect(&mut self, ask: impl FnOnce() -> Expected) {
        if !self.gap && self.expected.is_none() {
            self.expected = Some(ask());
        }
    }

    /// What a read has to do that reaches the end, with the segments that were not passed yet; `None`
    /// if the file is not checked.
    pub(crate) fn ending<'a>(&self, segments: impl Iterator<Item = &'a Segment<Arc<Fetch>>>) -> Option<Ending> {
        let expected = self.expected.clone().filter(|_| !self.gap)?;
        let (mut next, mut rest) = (self.next, Vec::from_iter(self.coming.iter().cloned()));
        for segment in segments {
            if segment.bytes.start() != next {
                return None;
            }
            next = segment.bytes.end();
            rest.push(Arc::clone(&segment.bytes));
        }
        (next == self.size).then_some(Ending { sum: self.sum, rest, expected })
    }

    fn give_up(&mut self) {
        self.gap = true;
        self.coming.clear();
        self.expected = None;
    }
}

impl Ending {
    /// Compares the whole with what the store says.
    ///
    /// # Errors
    /// `Corrupt` if they differ.
    pub(crate) async fn check(self, source: &Source) -> Result<(), FsError> {
        let mut sum = self.sum;
        for fetch in self.rest {
            sum = sum.then(fetch.whole().await?);
        }
        compare(source, sum, self.expected.await)
    }
}

/// # Errors
/// `Corrupt` if the checksum is known and another.
pub(crate) fn compare(source: &Source, sum: Checksum, expected: Option<Checksum>) -> Result<(), FsError> {
    match expected {
        None => source.metrics.reads_unchecked.inc(),
        Some(expected) if expected == sum => source.metrics.reads_good.inc(),
        Some(_) => {
            source.metrics.reads_corrupt.inc();
            let message = "the file was damaged in the storage or on its way from there: its checksum differs; \
                           download it again, and tell the server's operator if that does not help";
            return Err(FsError::new(FsErrorKind::Corrupt, message));
        }
    }
    Ok(())
}

/// Asks the store for the checksum. What goes wrong there is left to the requests for the bytes.
pub(crate) fn ask(source: &Arc<Source>, tasks: &mut tokio::task::JoinSet<()>) -> Expected {
    let (answer, answered) = tokio::sync::oneshot::channel();
    let asking = Arc::clone(source);
    tasks.spawn(async move {
        let checksum = asking.store.checksum(&asking.key, Some(&asking.etag())).await.ok().flatten();
        let _ = answer.send(checksum);
    });
    let expected = answered.map(|answer| answer.ok().flatten()).boxed().shared();
    source.note_sum(&expected);
    expected
}
