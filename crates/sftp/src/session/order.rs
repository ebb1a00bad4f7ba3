//! Keeps requests on the same path in the order they were sent, and lets all others run at once.
//!
//! "The protocol and implementations MUST process requests relating to the same file in the order
//! in which they are received": draft-ietf-secsh-filexfer-02, section 6.1. WinSCP relies on it
//! when it sends SETSTAT before CLOSE was answered.

use std::collections::VecDeque;

use tidegate_vfs::VirtualPath;

/// Names a request from its arrival to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// What a request touches.
#[derive(Clone, Debug)]
pub(super) struct Footprint {
    access: Access,
    scope: Scope,
    paths: Paths,
    step: Step,
    /// What a change looks at besides.
    looks: Vec<VirtualPath>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Look,
    Change,
}

/// A CLOSE does not wait for an OPEN of its path, which may itself wait for the memory that the
/// CLOSE gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Close,
    Open,
    Other,
}

/// Whether only the path itself is touched, or all below it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Point,
    Tree,
}

#[derive(Clone, Debug)]
enum Paths {
    One(VirtualPath),
    Two(VirtualPath, VirtualPath),
}

impl Footprint {
    /// Reads the attributes or bytes of one path.
    pub(super) fn look(path: &VirtualPath) -> Self {
        Self {
            access: Access::Look,
            scope: Scope::Point,
            paths: Paths::One(path.clone()),
            step: Step::Other,
            looks: Vec::new(),
        }
    }

    /// Opens a file for writing.
    pub(super) fn open(path: &VirtualPath) -> Self {
        Self { step: Step::Open, ..Self::change(path) }
    }

    /// Publishes a file, which may be copied from others.
    pub(super) fn close(path: &VirtualPath, copied_from: Vec<VirtualPath>) -> Self {
        Self { step: Step::Close, looks: copied_from, ..Self::change(path) }
    }

    /// The same of another name of the file as well.
    pub(super) fn also(self, name: Option<VirtualPath>) -> Self {
        match (self.paths, name) {
            (Paths::One(path), Some(name)) => Self { paths: Paths::Two(path, name), ..self },
            (paths, _) => Self { paths, ..self },
        }
    }

    /// Reads which names lie below a path.
    pub(super) fn list(path: &VirtualPath) -> Self {
        Self { scope: Scope::Tree, ..Self::look(path) }
    }

    /// Changes one file.
    pub(super) fn change(path: &VirtualPath) -> Self {
        Self { access: Access::Change, ..Self::look(path) }
    }

    /// Changes whether a directory is there.
    pub(super) fn change_tree(path: &VirtualPath) -> Self {
        Self { scope: Scope::Tree, ..Self::change(path) }
    }

    /// Moves one path to another.
    pub(super) fn rename(from: &VirtualPath, to: &VirtualPath) -> Self {
        Self { paths: Paths::Two(from.clone(), to.clone()), ..Self::change_tree(from) }
    }

    /// Whether a request must wait for this earlier one.
    fn conflicts(&self, other: &Self) -> bool {
        let both_look = self.access == Access::Look && other.access == Access::Look;
        let close_behind_open = self.step == Step::Open && other.step == Step::Close;
        if close_behind_open {
            return false;
        }
        let meet = !both_look && self.paths().any(|mine| other.paths().any(|theirs| self.meets(mine, other, theirs)));
        meet || self.changes_under(other) || other.changes_under(self)
    }

    /// Whether it changes what the other one looks at besides.
    fn changes_under(&self, other: &Self) -> bool {
        let is_changed = |looked: &VirtualPath| {
            self.paths().any(|path| path == looked || (self.scope == Scope::Tree && path.contains(looked)))
        };
        self.access == Access::Change && other.looks.iter().any(is_changed)
    }

    fn meets(&self, mine: &VirtualPath, other: &Self, theirs: &VirtualPath) -> bool {
        mine == theirs
            || (self.scope == Scope::Tree && mine.contains(theirs))
            || (other.scope == Scope::Tree && theirs.contains(mine))
    }

    fn paths(&self) -> impl Iterator<Item = &VirtualPath> {
        let (first, second) = match &self.paths {
            Paths::One(path) => (path, None),
            Paths::Two(from, to) => (from, Some(to)),
        };
        std::iter::once(first).chain(second)
    }
}

/// The requests on paths that run, and those that wait for them. `T` is what starts a request.
#[derive(Debug)]
pub(super) struct PathOrder<T> {
    running: Vec<(Ticket, Footprint)>,
    waiting: VecDeque<(Ticket, Footprint, T)>,
    next: u64,
}

impl<T> PathOrder<T> {
    pub(super) fn new() -> Self {
        Self { running: Vec::new(), waiting: VecDeque::new(), next: 0 }
    }

    /// How many requests run or wait.
    pub(super) fn len(&self) -> usize {
        self.running.len() + self.waiting.len()
    }

    /// Takes a request in; gives it back if it may start at once.
    pub(super) fn submit(&mut self, footprint: Footprint, make: impl FnOnce(Ticket) -> T) -> Option<T> {
        let ticket = self.ticket();
        let request = make(ticket);
        let earlier = self.running.iter().map(|(_, running)| running);
        let earlier = earlier.chain(self.waiting.iter().map(|(_, waiting, _)| waiting));
        if earlier.into_iter().any(|earlier| earlier.conflicts(&footprint)) {
            self.waiting.push_back((ticket, footprint, request));
            None
        } else {
            self.running.push((ticket, footprint));
            Some(request)
        }
    }

    /// Ends a request; returns those that waited for it and may start now, in order.
    pub(super) fn finish(&mut self, ticket: Ticket) -> Vec<T> {
        self.running.retain(|(running, _)| *running != ticket);
        let mut started = Vec::new();
        let mut still = VecDeque::with_capacity(self.waiting.len());
        for (ticket, footprint, request) in self.waiting.drain(..) {
            let blocked = self.running.iter().any(|(_, running)| running.conflicts(&footprint))
                || still.iter().any(|(_, earlier, _): &(Ticket, Footprint, T)| earlier.conflicts(&footprint));
            if blocked {
                still.push_back((ticket, footprint, request));
            } else {
                self.running.push((ticket, footprint));
                started.push(request);
            }
        }
        self.waiting = still;
        started
    }

    fn ticket(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> VirtualPath {
        VirtualPath::resolve(&VirtualPath::root(), text.as_bytes()).unwrap()
    }

    #[test]
    fn looks_run_together_and_wait_for_changes() {
        let mut order = PathOrder::new();
        let change = order.submit(Footprint::change(&path("/a")), |ticket| ticket).unwrap();
        assert!(order.submit(Footprint::look(&path("/a")), |_| change).is_none());
        assert!(order.submit(Footprint::look(&path("/b")), |ticket| ticket).is_some());
        assert!(order.submit(Footprint::look(&path("/a/below")), |ticket| ticket).is_some(), "not a tree");
        assert_eq!(order.finish(change).len(), 1);
    }

    #[test]
    fn a_listing_waits_for_the_files_below_it() {
        let mut order = PathOrder::new();
        let close = order.submit(Footprint::close(&path("/dir/file"), Vec::new()), |ticket| ticket).unwrap();
        assert!(order.submit(Footprint::list(&path("/dir")), |ticket| ticket).is_none());
        assert!(order.submit(Footprint::look(&path("/dir")), |ticket| ticket).is_some());
        assert_eq!(order.finish(close).len(), 1);
    }

    #[test]
    fn a_close_through_a_link_holds_up_the_names_of_link_and_file() {
        let mut order = PathOrder::new();
        let close = Footprint::close(&path("/link"), Vec::new()).also(Some(path("/dir/file")));
        let close = order.submit(close, |ticket| ticket).unwrap();
        for waiting in
            [Footprint::look(&path("/link")), Footprint::look(&path("/dir/file")), Footprint::list(&path("/dir"))]
        {
            assert!(order.submit(waiting, |ticket| ticket).is_none());
        }
        assert!(order.submit(Footprint::look(&path("/other")).also(None), |ticket| ticket).is_some());
        assert_eq!(order.finish(close).len(), 3);
        let mut order = PathOrder::new();
        let change = order.submit(Footprint::change(&path("/dir/file")), |ticket| ticket).unwrap();
        assert!(order.submit(Footprint::look(&path("/link")).also(Some(path("/dir/file"))), |_| change).is_none());
    }

    #[test]
    fn a_rename_waits_for_both_ends() {
        let mut order = PathOrder::new();
        let from = order.submit(Footprint::change(&path("/x.part")), |ticket| ticket).unwrap();
        let to = order.submit(Footprint::change(&path("/x")), |ticket| ticket).unwrap();
        assert!(order.submit(Footprint::rename(&path("/x.part"), &path("/x")), |ticket| ticket).is_none());
        assert!(order.finish(from).is_empty());
        assert_eq!(order.finish(to).len(), 1);
    }

    #[test]
    fn what_a_close_copies_from_is_not_changed_meanwhile() {
        let mut order = PathOrder::new();
        let close = Footprint::close(&path("/copy"), vec![path("/a/source")]);
        let close = order.submit(close, |ticket| ticket).unwrap();
        let look = order.submit(Footprint::look(&path("/a/source")), |ticket| ticket).unwrap();
        assert!(order.submit(Footprint::change(&path("/a")), |ticket| ticket).is_some(), "not a tree");
        assert!(order.submit(Footprint::change(&path("/a/source")), |_| close).is_none());
        assert!(order.submit(Footprint::rename(&path("/a"), &path("/b")), |_| close).is_none());
        assert!(order.finish(look).is_empty());
        assert_eq!(order.finish(close).len(), 1, "the rename waits for the change");
    }

    #[test]
    fn a_close_waits_for_a_rename_and_for_no_open() {
        let mut order = PathOrder::new();
        let rename = order.submit(Footprint::rename(&path("/a"), &path("/b")), |ticket| ticket).unwrap();
        assert!(order.submit(Footprint::close(&path("/a"), Vec::new()), |ticket| ticket).is_none());
        assert_eq!(order.finish(rename).len(), 1);
        assert!(order.submit(Footprint::open(&path("/c")), |ticket| ticket).is_some());
        assert!(order.submit(Footprint::close(&path("/c"), Vec::new()), |ticket| ticket).is_some());
        assert!(order.submit(Footprint::open(&path("/c")), |ticket| ticket).is_none(), "behind the CLOSE");
    }

    proptest! {
        // Whatever is sent, conflicting requests never run at once, they run in the order sent,
        // and all of them run in the end.
        #[test]
        fn conflicting_requests_run_one_after_the_other(
            requests in prop::collection::vec((0_u8..5, 0_usize..5, 0_usize..5), 1..40),
            finish_first in any::<bool>(),
        ) {
            let names = ["/", "/a", "/a/b", "/a/b/c", "/d"];
            let footprints: Vec<_> = requests.iter().map(|(kind, one, two)| {
                let (one, two) = (path(names[*one]), path(names[*two]));
                match kind {
                    0 => Footprint::look(&one),
                    1 => Footprint::list(&one),
                    2 => Footprint::change(&one),
                    3 => Footprint::change_tree(&one),
                    _ => Footprint::rename(&one, &two),
                }
            }).collect();
            let mut order = PathOrder::new();
            let mut running: Vec<(usize, Ticket)> = Vec::new();
            let mut done: Vec<usize> = Vec::new();
            for (number, footprint) in footprints.iter().enumerate() {
                running.extend(order.submit(footprint.clone(), |ticket| (number, ticket)));
            }
            while !running.is_empty() {
                for (i, (one, _)) in running.iter().enumerate() {
                    for (two, _) in &running[i + 1..] {
                        prop_assert!(!footprints[*one].conflicts(&footprints[*two]));
                    }
                    for earlier in 0..*one {
                        if footprints[earlier].conflicts(&footprints[*one]) {
                            prop_assert!(done.contains(&earlier), "{one} overtook {earlier}");
                        }
                    }
                }
                let at = if finish_first { 0 } else { running.len() - 1 };
                let (number, ticket) = running.remove(at);
                done.push(number);
                running.extend(order.finish(ticket));
            }
            prop_assert_eq!(done.len(), footprints.len());
            prop_assert_eq!(order.len(), 0);
        }
    }
}
