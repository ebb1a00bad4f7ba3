//! Starts and answers READs and READDIRs as far as there is room for their answers.

use futures::FutureExt;
use tidegate_vfs::FsError;

use super::audit;
use super::events::{Event, Origin};
use super::handles::{Closing, OpenHandle, READDIR_BYTES};
use super::reads::ReadAnswer;
use super::run::Session;
use crate::codec::{HandleId, MAX_PACKET, NameEntry, StatusCode};

/// What a READ is charged at least while it runs: one far from the others is a request to the
/// store of its own, however few bytes it asks for, so their number is bounded too.
const READ_COST_MIN: usize = 32 << 10;

/// What the READs that run at once may ask for in all, in bytes: as many at random places as hide the
/// store's latency.
const READS_MAX: usize = 2 << 20;

fn cost(len: u32) -> usize {
    (len as usize).max(READ_COST_MIN)
}

/// Whether a handle has to be looked at again in this round.
#[derive(PartialEq, Eq)]
enum Turn {
    /// It did one step and may do more.
    Again,
    /// It waits for an event or a request.
    Done,
    /// It waits for room or bandwidth.
    NoRoom,
}

impl Session {
    /// Serves the handles that have something to do in turn, one step each, until none can go on.
    pub(super) fn pump(&mut self) {
        self.throttle.begin_round();
        let mut without_room = 0;
        while without_room < self.ready.len()
            && let Some(id) = self.ready.pop_front()
        {
            match self.step(id) {
                Turn::Again => {
                    without_room = 0;
                    self.ready.push_back(id);
                }
                Turn::Done => without_room = 0,
                Turn::NoRoom => {
                    without_room += 1;
                    self.ready.push_back(id);
                }
            }
        }
    }

    /// Has a handle looked at by the next [`Session::pump`].
    pub(super) fn make_ready(&mut self, id: HandleId) {
        if !self.ready.contains(&id) {
            self.ready.push_back(id);
        }
    }

    fn step(&mut self, id: HandleId) -> Turn {
        match self.handles.any(id) {
            Some(OpenHandle::Read(_) | OpenHandle::Write(_)) => self.step_read(id),
            Some(OpenHandle::Directory(_)) => self.step_directory(id),
            None => Turn::Done,
        }
    }

    fn step_read(&mut self, id: HandleId) -> Turn {
        let room = self.room();
        let (nothing_waits, nothing_runs) = (self.replies.is_empty(), self.reading == 0);
        let room_to_read = READS_MAX.saturating_sub(self.reading);
        let Some(open) = self.handles.any(id).and_then(OpenHandle::readable) else { return Turn::Done };
        if let Some(len) = open.reads.answerable() {
            if len > room && !nothing_waits {
                return Turn::NoRoom;
            }
            let Some(answer) = open.reads.answer() else { return Turn::Done };
            self.answer_read(id, answer);
            return Turn::Again;
        }
        if let Some((offset, len)) = open.reads.next() {
            // What is begun while answers wait would only wait behind them, beyond the memory budget.
            if (room == 0 && !nothing_waits) || (cost(len) > room_to_read && !nothing_runs) {
                return Turn::NoRoom;
            }
            // What lies behind the end of the file is not sent.
            let sent = u64::from(len).min(open.size().saturating_sub(offset));
            if !self.throttle.pass_read(sent, &self.context) {
                return Turn::NoRoom;
            }
            let Some((start, shrunk)) = open.reads.start() else { return Turn::Done };
            let mut read = open.read(start.offset, start.len);
            let slot = start.slot;
            // What is here already, the rule behind a read-ahead, needs no event of its own.
            match (&mut read).now_or_never() {
                Some(result) => open.reads.finish(slot, result),
                None => self.pending.push(read.map(move |result| Event::Read { handle: id, slot, result }).boxed()),
            }
            self.reading += cost(start.len);
            self.queued_bytes -= shrunk;
            return Turn::Again;
        }
        if open.reads.is_empty()
            && let Some(closing) = open.closing
        {
            match self.handles.any(id) {
                Some(OpenHandle::Write(_)) => self.close_writer(id, closing),
                _ => self.close_reader(id, closing),
            }
        }
        Turn::Done
    }

    /// Begins the READs of a handle that may begin now, so that they come before what is asked for next.
    pub(super) fn begin_reads(&mut self, id: HandleId) {
        while self.step(id) == Turn::Again {}
    }

    fn answer_read(&mut self, id: HandleId, answer: ReadAnswer) {
        let Some(open) = self.handles.any(id).and_then(OpenHandle::readable) else { return };
        self.reading -= cost(answer.len);
        match answer.result {
            Ok(data) if data.is_empty() => {
                self.answer_status(answer.id, "read", answer.arrived, StatusCode::Eof, "End of file");
            }
            Ok(data) => {
                let len = data.len() as u64;
                *open.bytes += len;
                self.bytes_out += len;
                self.context.metrics.bytes_out.inc_by(len);
                self.replies.data(answer.id, data.chunks());
                self.context.metrics.answered("read", StatusCode::Ok.as_str(), answer.arrived.elapsed());
            }
            Err(error) => {
                let path = open.path.clone();
                self.fail(&Origin { id: answer.id, operation: "read", path, arrived: answer.arrived }, &error);
            }
        }
    }

    fn close_reader(&mut self, id: HandleId, closing: Closing) {
        if let Some(OpenHandle::Read(open)) = self.handles.remove(id) {
            audit::closed(&open.path, 0, open.bytes, open.opened.elapsed());
            self.answer_status(closing.id, "close", closing.arrived, StatusCode::Ok, "Success");
        }
    }

    fn step_directory(&mut self, id: HandleId) -> Turn {
        let has_room = self.room() > 0;
        let Some(OpenHandle::Directory(open)) = self.handles.any(id) else { return Turn::Done };
        let Some(&(request, arrived)) = open.waiting.front() else {
            if open.directory.is_some()
                && let Some(closing) = open.closing
            {
                self.handles.remove(id);
                self.answer_status(closing.id, "close", closing.arrived, StatusCode::Ok, "Success");
            }
            return Turn::Done;
        };
        if !open.entries.is_empty() {
            if !has_room {
                return Turn::NoRoom;
            }
            self.fill_up(id);
            let Some(OpenHandle::Directory(open)) = self.handles.any(id) else { return Turn::Done };
            let sent = self.replies.names(request, &open.entries);
            open.entries.drain(..sent.min(open.entries.len()));
            open.waiting.pop_front();
            self.queued_bytes -= READDIR_BYTES;
            self.context.metrics.answered("readdir", StatusCode::Ok.as_str(), arrived.elapsed());
            return Turn::Again;
        }
        if let Some(error) = open.failed.take() {
            open.waiting.pop_front();
            let origin = Origin { id: request, operation: "readdir", path: open.path.clone(), arrived };
            self.queued_bytes -= READDIR_BYTES;
            self.fail(&origin, &error);
            return Turn::Again;
        }
        if open.ended {
            open.waiting.pop_front();
            self.queued_bytes -= READDIR_BYTES;
            self.answer_status(request, "readdir", arrived, StatusCode::Eof, "End of directory");
            return Turn::Again;
        }
        if let Some(mut directory) = open.directory.take() {
            self.pending.push(
                async move {
                    let result: Result<_, FsError> = directory.next_page().await;
                    Event::Page { handle: id, directory, result }
                }
                .boxed(),
            );
        }
        Turn::Done
    }

    /// Takes the next page as well where a packet has room for more than is left of the last one and it is
    /// here already.
    fn fill_up(&mut self, id: HandleId) {
        let Some(OpenHandle::Directory(open)) = self.handles.any(id) else { return };
        let left: usize = open.entries.iter().map(NameEntry::wire_len).sum();
        if left >= MAX_PACKET || open.ended || open.failed.is_some() {
            return;
        }
        let Some(mut directory) = open.directory.take() else { return };
        match directory.next_page().now_or_never() {
            Some(result) => self.take_page(id, directory, result),
            None => open.directory = Some(directory),
        }
    }

    /// How many bytes more of answers may wait for the client now.
    fn room(&self) -> usize {
        let limit = usize::try_from(self.context.config.output_buffer.as_u64()).unwrap_or(usize::MAX);
        limit.saturating_sub(self.replies.len())
    }
}
