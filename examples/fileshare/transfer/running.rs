//! The transfers of this program.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use actix_peer::content::Digest;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    model::{Transfer, TransferState},
    name::FileName,
    state::now,
};

/// The maximum number of remembered transfers.
const MAX_REMEMBERED: usize = 200;

/// The maximum number of running transfers. Those that wait do not count.
const MAX_RUNNING: usize = 16;

/// The maximum number of transfers that run or wait.
const MAX_OPEN: usize = 128;

/// The weight of a new measurement in the speed.
const SMOOTHING: f64 = 0.3;

/// Why a transfer is not started, cancelled or cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TransferRefused {
    #[error("{MAX_RUNNING} files are already being fetched: wait for one or cancel one")]
    TooMany,
    #[error("{MAX_OPEN} transfers already run or wait: cancel one")]
    TooManyWait,
    #[error("the file is already being fetched")]
    Twice,
    #[error("no open transfer has the number {0}")]
    NotOpen(u64),
    #[error("no transfer has the number {0}")]
    Unknown(u64),
    #[error("transfer {0} is running: clear it after it has ended")]
    Open(u64),
}

/// One transfer.
#[derive(Debug)]
pub(crate) struct Running {
    inner: Mutex<Inner>,
    cancelled: CancellationToken,
}

#[derive(Debug)]
struct Inner {
    view: Transfer,
    /// The time, the bytes and the speed of the last measurement.
    measured: (Instant, u64, f64),
    digest: Option<Digest>,
    /// The bytes on the disk that are reserved for it, written ones included; 0 while it does not
    /// write.
    room: u64,
    /// Whether the file is being renamed, so that it can no longer be cancelled.
    naming: bool,
}

impl Inner {
    fn is_open(&self) -> bool {
        self.view.state == TransferState::Running
    }

    /// The bytes that it has yet to write.
    fn missing_room(&self) -> u64 {
        self.room.saturating_sub(self.view.done)
    }
}

impl Running {
    /// The current view.
    pub(crate) fn view(&self) -> Transfer {
        self.inner.lock().view.clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Transfer)) {
        change(&mut self.inner.lock().view);
    }

    /// Sets what it waits for. If that changed, returns whether it waited before.
    pub(super) fn set_waits(&self, what: Option<String>) -> Option<bool> {
        let waits = &mut self.inner.lock().view.waits;
        (*waits != what).then(|| std::mem::replace(waits, what).is_some())
    }

    pub(super) async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }

    /// Whether the file may be renamed. A transfer is either cancelled or renamed.
    pub(super) fn may_be_named(&self) -> bool {
        let mut inner = self.inner.lock();
        inner.naming = !self.cancelled.is_cancelled();
        inner.naming
    }

    pub(super) fn digest(&self) -> Option<Digest> {
        self.inner.lock().digest
    }

    /// Reserves room on the disk. Returns the bytes that it has yet to write.
    pub(super) fn set_room(&self, bytes: u64) -> u64 {
        let mut inner = self.inner.lock();
        inner.room = bytes;
        inner.missing_room()
    }

    /// Adds received bytes, which are verified if possible.
    pub(crate) fn add(&self, bytes: u64) {
        self.inner.lock().view.done += bytes;
    }

    /// Sets the bytes at the start of an attempt, which may be left from an earlier one.
    pub(crate) fn begin_at(&self, bytes: u64) {
        let mut inner = self.inner.lock();
        inner.view.done = bytes;
        inner.measured = (now(), bytes, 0.0);
    }

    /// Measures the speed. Returns whether there is progress to report.
    pub(crate) fn measure(&self, now: Instant) -> bool {
        let Inner { view, measured, .. } = &mut *self.inner.lock();
        let (at, done, before) = *measured;
        let seconds = now.saturating_duration_since(at).as_secs_f64();
        if seconds <= 0.0 {
            return false;
        }
        let weight = if before == 0.0 { 1.0 } else { SMOOTHING };
        let speed = view.done.saturating_sub(done) as f64 / seconds;
        let speed = (speed - before).mul_add(weight, before);
        let speed = if speed < 1.0 { 0.0 } else { speed };
        *measured = (now, view.done, speed);
        view.bytes_per_second = to_u64(speed);
        let left = view.size.map(|size| size.saturating_sub(view.done) as f64);
        let left = left.filter(|_| speed > 0.0);
        view.seconds_left = left.map(|left| to_u64((left / speed).ceil()));
        view.done != done || before > 0.0
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
const fn to_u64(value: f64) -> u64 {
    value as u64
}

/// All transfers, the newest first, bounded.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    list: Mutex<List>,
    room: Notify,
}

#[derive(Debug, Default)]
struct List {
    last: u64,
    all: VecDeque<Arc<Running>>,
}

impl List {
    /// The transfers that run or wait.
    fn open(&self) -> impl Iterator<Item = MutexGuard<'_, Inner>> {
        self.all.iter().map(|one| one.inner.lock()).filter(|inner| inner.is_open())
    }

    fn position(&self, number: u64) -> Option<usize> {
        self.all.iter().position(|one| one.inner.lock().view.number == number)
    }
}

impl Transfers {
    pub(crate) fn begin(
        &self,
        name: &FileName,
        sources: Vec<String>,
    ) -> Result<Arc<Running>, TransferRefused> {
        let mut list = self.list.lock();
        if list.open().filter(|other| other.view.waits.is_none()).count() >= MAX_RUNNING {
            return Err(TransferRefused::TooMany);
        }
        if list.open().count() >= MAX_OPEN {
            return Err(TransferRefused::TooManyWait);
        }
        if list.open().any(|other| other.view.name == name.as_str()) {
            return Err(TransferRefused::Twice);
        }
        list.last += 1;
        let (number, name) = (list.last, name.to_string());
        let view = Transfer { number, name, sources, ..Transfer::default() };
        let measured = (now(), 0, 0.0);
        let inner = Inner { view, measured, digest: None, room: 0, naming: false };
        let cancelled = CancellationToken::new();
        let running = Arc::new(Running { inner: Mutex::new(inner), cancelled });
        list.all.push_front(Arc::clone(&running));
        // There is always an ended one, because fewer are open than are remembered.
        if list.all.len() > MAX_REMEMBERED
            && let Some(ended) = list.all.iter().rposition(|one| !one.inner.lock().is_open())
        {
            list.all.remove(ended);
        }
        Ok(running)
    }

    /// Claims a digest for a transfer, because two transfers would write to the same file.
    pub(crate) fn claim(&self, running: &Running, digest: Digest) -> Result<(), TransferRefused> {
        let list = self.list.lock();
        let number = running.view().number;
        let is_taken = |other: &Inner| other.digest == Some(digest) && other.view.number != number;
        if list.open().any(|other| is_taken(&other)) {
            return Err(TransferRefused::Twice);
        }
        running.inner.lock().digest = Some(digest);
        Ok(())
    }

    /// Cancels a transfer that runs or waits, and returns its view.
    pub(crate) fn cancel(&self, number: u64) -> Result<Transfer, TransferRefused> {
        let list = self.list.lock();
        let running = list.position(number).and_then(|at| list.all.get(at));
        let running = running.ok_or(TransferRefused::NotOpen(number))?;
        let inner = running.inner.lock();
        if !inner.is_open() || inner.naming {
            return Err(TransferRefused::NotOpen(number));
        }
        running.cancelled.cancel();
        Ok(inner.view.clone())
    }

    /// The bytes that all transfers have yet to write.
    pub(super) fn reserved(&self) -> u64 {
        let list = self.list.lock();
        list.open().map(|other| other.missing_room()).fold(0, u64::saturating_add)
    }

    /// The digests of files that are being written, or are about to be.
    pub(super) fn writing(&self) -> Vec<Digest> {
        let list = self.list.lock();
        list.open().filter(|other| other.room > 0).filter_map(|other| other.digest).collect()
    }

    /// Wakes transfers that wait for room on the disk.
    pub(super) fn room_changed(&self) {
        self.room.notify_waiters();
    }

    pub(super) async fn until_room_changed(&self) {
        self.room.notified().await;
    }

    /// Removes the transfer with this number, or all, except running ones.
    pub(crate) fn clear(&self, number: Option<u64>) -> Result<(), TransferRefused> {
        let mut list = self.list.lock();
        let is_open = |one: &Arc<Running>| one.inner.lock().is_open();
        let Some(number) = number else {
            list.all.retain(is_open);
            return Ok(());
        };
        let at = list.position(number).ok_or(TransferRefused::Unknown(number))?;
        if list.all.get(at).is_some_and(is_open) {
            return Err(TransferRefused::Open(number));
        }
        list.all.remove(at);
        Ok(())
    }

    pub(crate) fn all(&self) -> Vec<Transfer> {
        self.list.lock().all.iter().map(|running| running.view()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn name(n: usize) -> FileName {
        format!("f{n}").parse().unwrap()
    }

    fn end(running: &Running) {
        running.change(|view| view.state = TransferState::Done);
    }

    #[test]
    fn transfers_are_bounded_and_the_newest_is_first() {
        let transfers = Transfers::default();
        let begin = |n| transfers.begin(&name(n), Vec::new());
        let begun: Vec<_> = (0..MAX_RUNNING).map(|n| begin(n).unwrap()).collect();
        assert_eq!(begin(99).unwrap_err(), TransferRefused::TooMany);
        begun[1].set_waits(Some("for bob".to_owned()));
        let other = begin(99).unwrap();
        begun[1].set_waits(None);
        end(&other);
        end(&begun[0]);
        assert_eq!(begin(5).unwrap_err(), TransferRefused::Twice);
        (100..500).for_each(|n| end(&begin(n).unwrap()));
        let all = transfers.all();
        assert_eq!((all.len(), all[0].name.as_str()), (MAX_REMEMBERED, "f499"));
        assert_eq!(all.last().unwrap().name, "f1", "one that runs is not forgotten");
    }

    #[test]
    fn a_transfer_is_cancelled_or_named_and_not_both() {
        let transfers = Transfers::default();
        let [a, b] = [1, 2].map(|n| transfers.begin(&name(n), Vec::new()).unwrap());
        assert!(transfers.cancel(1).is_ok() && !a.may_be_named());
        assert!(b.may_be_named() && transfers.cancel(2).is_err());
        assert!(a.cancelled.is_cancelled() && !b.cancelled.is_cancelled());
        assert_eq!(transfers.cancel(3), Err(TransferRefused::NotOpen(3)));
        assert_eq!(transfers.clear(Some(2)), Err(TransferRefused::Open(2)));
    }

    #[test]
    fn speed_and_time_left_follow_the_received_bytes() {
        let transfers = Transfers::default();
        let running = transfers.begin(&name(1), Vec::new()).unwrap();
        running.change(|view| view.size = Some(1_000_000));
        let begin = running.inner.lock().measured.0;
        running.add(100_000);
        assert!(running.measure(begin + Duration::from_secs(1)));
        let view = running.view();
        assert_eq!(
            (view.done, view.bytes_per_second, view.seconds_left),
            (100_000, 100_000, Some(9))
        );
    }
}
