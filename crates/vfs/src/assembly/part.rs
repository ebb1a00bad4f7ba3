//! One part being gathered: ranges of bytes in any order, the later ones winning.

use bytes::Bytes;
use tidegate_store::{Body, Checksum};

use super::extent::Extent;

/// How many separate runs of bytes one part keeps at most, so that a client that writes crumbs all
/// over can't make the bookkeeping larger than the data.
const EXTENTS_MAX: usize = 4_096;

/// Zeros for holes: slices of one static block.
pub(crate) static ZEROS: [u8; 256 << 10] = [0; 256 << 10];

/// A part's bytes so far; offsets are relative to its start.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Ascending; neighbours never touch.
    extents: Vec<Extent>,
    filled: u64,
}

/// There are too many separate runs of bytes.
#[derive(Debug)]
pub(super) struct TooScattered;

impl Part {
    /// How many bytes there are.
    pub(super) fn filled(&self) -> u64 {
        self.filled
    }

    /// Lays `data` at `start`, over whatever is there.
    pub(super) fn write(&mut self, start: u64, data: Bytes) -> Result<(), TooScattered> {
        let end = start + data.len() as u64;
        let first = self.extents.partition_point(|extent| extent.end < start);
        let after = first + self.extents.iter().skip(first).take_while(|extent| extent.start <= end).count();
        if first == after {
            if self.extents.len() >= EXTENTS_MAX {
                return Err(TooScattered);
            }
            self.filled += data.len() as u64;
            self.extents.insert(first, Extent::new(start, data));
            return Ok(());
        }
        let next_start = self.extents.get(first + 1).map_or(u64::MAX, |next| next.start);
        if let Some(extent) = self.extents.get_mut(first)
            && extent.end == start
            && end < next_start
        {
            // The way of almost every write: it goes on where the last one ended.
            self.filled += data.len() as u64;
            extent.append(data);
            return Ok(());
        }
        self.overlay(first, after, start, data);
        Ok(())
    }

    /// Puts `data` in the place of what the extents `first..after`, which overlap or touch it, have
    /// there, and makes them one.
    fn overlay(&mut self, first: usize, after: usize, start: u64, data: Bytes) {
        let end = start + data.len() as u64;
        let mut touched = self.extents.drain(first..after);
        let Some(mut head) = touched.next() else { return };
        let mut before = head.end - head.start;
        let mut tail = touched.next_back();
        before += touched.map(|extent| extent.end - extent.start).sum::<u64>();
        before += tail.as_ref().map_or(0, |tail| tail.end - tail.start);

        let right = match &mut tail {
            Some(tail) => tail.split_off(end.clamp(tail.start, tail.end)),
            None => head.split_off(end.clamp(head.start, head.end)),
        };
        head.split_off(start.clamp(head.start, head.end));
        let mut joined = if head.is_empty() {
            Extent::new(start, data)
        } else {
            head.append(data);
            head
        };
        if !right.is_empty() {
            joined.join(right);
        }
        self.filled = self.filled - before + (joined.end - joined.start);
        self.extents.insert(first, joined);
    }

    /// Forgets what lies behind the first `len` bytes.
    pub(super) fn cut_to(&mut self, len: u64) {
        self.extents.retain(|extent| extent.start < len);
        if let Some(last) = self.extents.last_mut().filter(|last| last.end > len) {
            last.split_off(len);
        }
        self.filled = self.extents.iter().map(|extent| extent.end - extent.start).sum();
    }

    /// The first `len` bytes, holes as zeros, and their checksum where it is known without reading
    /// them again.
    pub(super) fn seal(self, len: u64) -> (Body, Option<Checksum>) {
        let mut body = Body::new();
        let mut checksum = Some(Checksum::EMPTY);
        for extent in self.extents {
            let zeros = pour_zeros(&mut body, extent.start);
            let bytes = extent.pour(&mut body);
            checksum = checksum.zip(bytes).map(|(sum, bytes)| sum.then(zeros).then(bytes));
        }
        let zeros = pour_zeros(&mut body, len);
        (body, checksum.map(|sum| sum.then(zeros)))
    }

    /// The bytes from `start` on, up to the first that is not here.
    pub(super) fn run_from(&mut self, start: u64) -> Vec<Bytes> {
        let extent = self.extents.iter_mut().find(|extent| extent.start <= start && start < extent.end);
        extent.map_or_else(Vec::new, |extent| extent.bytes_from(start))
    }

    /// The bytes, with their offsets.
    pub(super) fn into_bytes(self) -> Vec<(u64, Bytes)> {
        let mut taken = Vec::new();
        for extent in self.extents {
            let (mut at, mut body) = (extent.start, Body::new());
            extent.pour(&mut body);
            for chunk in body.chunks() {
                taken.push((at, chunk.clone()));
                at += chunk.len() as u64;
            }
        }
        taken
    }

    #[cfg(test)]
    pub(super) fn pinned(&self) -> usize {
        self.extents.iter().map(Extent::pinned).sum()
    }
}

/// Fills `body` up to `len` bytes with zeros, and gives their checksum.
fn pour_zeros(body: &mut Body, len: u64) -> Checksum {
    let block = Bytes::from_static(&ZEROS);
    let missing = len.saturating_sub(body.len());
    let (blocks, rest) = (missing / block.len() as u64, missing % block.len() as u64);
    (0..blocks).for_each(|_| body.push(block.clone()));
    body.push(block.slice(..rest as usize));
    of_zeros(missing)
}

/// The checksum of so many zeros.
pub(crate) fn of_zeros(len: u64) -> Checksum {
    let block = ZEROS.len() as u64;
    // Only the rest is read where there is no more.
    let blocks = match len / block {
        0 => Checksum::EMPTY,
        count => repeat(Checksum::of(&ZEROS), count),
    };
    blocks.then(Checksum::of(ZEROS.get(..(len % block) as usize).unwrap_or_default()))
}

/// So many zeros.
pub(crate) fn zeros(len: u64) -> Body {
    let mut body = Body::new();
    pour_zeros(&mut body, len);
    body
}

/// The checksum of `times` copies of the bytes that `one` is of, by doubling.
fn repeat(one: Checksum, times: u64) -> Checksum {
    let (mut sum, mut power, mut times) = (Checksum::EMPTY, one, times);
    while times > 0 {
        if times & 1 == 1 {
            sum = sum.then(power);
        }
        times >>= 1;
        if times > 0 {
            power = power.then(power);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crumbs_cut_from_large_packets_do_not_pin_them() {
        let mut part = Part::default();
        let packet = Bytes::from(vec![7; 256 << 10]);
        for n in 0..1_000_u64 {
            part.write(n * 100, packet.slice(..100)).unwrap();
        }
        assert_eq!(part.filled(), 100_000);
        assert!(part.pinned() <= 300_000, "{} bytes pinned", part.pinned());
    }

    #[test]
    fn rewriting_at_growing_offsets_does_not_pin_what_was_overwritten() {
        let mut part = Part::default();
        for n in 0..1_000_u64 {
            part.write(n, Bytes::from(vec![7; 64 << 10])).unwrap();
        }
        assert_eq!(part.filled(), 999 + (64 << 10));
        assert!(part.pinned() <= 3 * (64 << 10), "{} bytes pinned", part.pinned());
    }

    #[test]
    fn refuses_to_keep_too_many_separate_runs() {
        let mut part = Part::default();
        let crumb = Bytes::from_static(b"x");
        for n in 0..EXTENTS_MAX as u64 {
            part.write(n * 2, crumb.clone()).unwrap();
        }
        assert!(part.write(1 << 20, crumb.clone()).is_err());
        assert!(part.write(1, crumb).is_ok(), "closing a gap is always possible");
    }

    #[test]
    fn the_checksum_is_known_unless_a_run_was_cut() {
        let mut part = Part::default();
        part.write(10, Bytes::from_static(b"world")).unwrap();
        part.write(0, Bytes::from_static(b"hello")).unwrap();
        let (body, checksum) = part.seal(1 << 20);
        assert_eq!(body.len(), 1 << 20);
        assert_eq!(checksum, Some(body.checksum()));

        let mut part = Part::default();
        part.write(0, Bytes::from_static(b"hello")).unwrap();
        part.write(2, Bytes::from_static(b"LL")).unwrap();
        let (body, checksum) = part.seal(5);
        assert_eq!((body.chunks().concat(), checksum), (b"heLLo".to_vec(), None));
    }
}
