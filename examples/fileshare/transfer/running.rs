//! The transfers of this program, as people see them.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use actix_peer::overlay::content::Digest;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    model::{Transfer, TransferState},
    name::FileName,
};

/// Transfers that are remembered.
const MAX_REMEMBERED: usize = 200;

/// Transfers that run at once. Those that wait do not count.
const MAX_RUNNING: usize = 16;

/// Transfers that run or wait.
const MAX_OPEN: usize = 128;

/// How much of a new measurement goes into the speed that is shown.
const SMOOTHING: f64 = 0.3;

/// Why a transfer does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TransferBusy {
    #[error("{MAX_RUNNING} files are being fetched already: wait for one, or cancel one")]
    TooMany,
    #[error("{MAX_OPEN} transfers run or wait already: cancel one")]
    TooManyWait,
    #[error("that file is being fetched already")]
    Twice,
}

/// Why a transfer is not cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotCleared {
    #[error("no transfer has the number {0}")]
    Unknown(u64),
    #[error("transfer {0} is running: clear it when it has ended")]
    Running(u64),
}

#[derive(Debug)]
struct Meter {
    at: Instant,
    done: u64,
    per_second: f64,
}

/// One transfer.
#[derive(Debug)]
pub(crate) struct Running {
    view: Mutex<Transfer>,
    /// Bytes that are there, verified where that is possible.
    done: AtomicU64,
    meter: Mutex<Option<Meter>>,
    digest: Mutex<Option<Digest>>,
    /// Bytes on the disk that it has or will have written; 0 while it does not write.
    room: AtomicU64,
    end: Mutex<Ending>,
    cancelled: CancellationToken,
}

/// Whether a transfer waited before it waits for something else, or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    Not,
    ForOther,
}

/// A transfer is cancelled or gets its name, not both.
#[derive(Debug, Default, PartialEq, Eq)]
enum Ending {
    #[default]
    Open,
    Naming,
    Cancelled,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Running {
    /// What people see.
    pub(crate) fn view(&self) -> Transfer {
        let mut view = lock(&self.view).clone();
        view.done = self.done.load(Ordering::Relaxed);
        view
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Transfer)) {
        let mut view = lock(&self.view);
        view.done = self.done.load(Ordering::Relaxed);
        change(&mut view);
    }

    /// What it waits for. When that is news, whether it waited before.
    pub(super) fn set_waits(&self, what: Option<String>) -> Option<Waited> {
        let mut view = lock(&self.view);
        if view.waits == what {
            return None;
        }
        let before = std::mem::replace(&mut view.waits, what);
        Some(before.map_or(Waited::Not, |_| Waited::ForOther))
    }

    pub(super) async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }

    /// Whether it may get its name: from then on it is not cancelled any more.
    pub(super) fn may_be_named(&self) -> bool {
        let mut end = lock(&self.end);
        let may = *end != Ending::Cancelled;
        if may {
            *end = Ending::Naming;
        }
        may
    }

    fn cancel(&self) -> bool {
        let mut end = lock(&self.end);
        let may = *end != Ending::Naming;
        if may {
            *end = Ending::Cancelled;
            self.cancelled.cancel();
        }
        may
    }

    pub(super) fn digest(&self) -> Option<Digest> {
        *lock(&self.digest)
    }

    pub(super) fn set_room(&self, bytes: u64) {
        self.room.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that it will still write.
    pub(super) fn missing_room(&self) -> u64 {
        let done = self.done.load(Ordering::Relaxed);
        self.room.load(Ordering::Relaxed).saturating_sub(done)
    }

    /// So many bytes more are there.
    pub(crate) fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes are there at the beginning: of an earlier try, or none, when it is begun anew.
    pub(crate) fn begin_at(&self, bytes: u64) {
        self.done.store(bytes, Ordering::Relaxed);
        *lock(&self.meter) = None;
    }

    /// Measures the speed. Whether the transfer has moved.
    pub(crate) fn measure(&self, now: Instant) -> bool {
        let done = self.done.load(Ordering::Relaxed);
        let mut meter = lock(&self.meter);
        let Some(last) = meter.as_mut() else {
            *meter = Some(Meter { at: now, done, per_second: 0.0 });
            return true;
        };
        let seconds = now.saturating_duration_since(last.at).as_secs_f64();
        if seconds <= 0.0 {
            return false;
        }
        let speed = done.saturating_sub(last.done) as f64 / seconds;
        let first = last.per_second == 0.0;
        let weight = if first { 1.0 } else { SMOOTHING };
        let moved = done != last.done || last.per_second >= 1.0;
        let per_second = (speed - last.per_second).mul_add(weight, last.per_second);
        *last =
            Meter { at: now, done, per_second: if per_second < 1.0 { 0.0 } else { per_second } };
        drop(meter);
        self.change(|view| {
            view.bytes_per_second = to_u64(per_second);
            let left = view.size.map(|size| size.saturating_sub(done) as f64);
            view.seconds_left =
                left.filter(|_| per_second >= 1.0).map(|left| to_u64((left / per_second).ceil()));
        });
        moved
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
    running: Vec<Arc<Running>>,
}

impl Transfers {
    pub(crate) fn begin(
        &self,
        name: &FileName,
        sources: Vec<String>,
    ) -> Result<Arc<Running>, TransferBusy> {
        let mut list = lock(&self.list);
        let waiting = list.running.iter().filter(|other| lock(&other.view).waits.is_some());
        if list.running.len() - waiting.count() >= MAX_RUNNING {
            return Err(TransferBusy::TooMany);
        }
        if list.running.len() >= MAX_OPEN {
            return Err(TransferBusy::TooManyWait);
        }
        if list.running.iter().any(|other| lock(&other.view).name == name.as_str()) {
            return Err(TransferBusy::Twice);
        }
        list.last += 1;
        let view = Transfer {
            number: list.last,
            name: name.to_string(),
            sources,
            done: 0,
            size: None,
            bytes_per_second: 0,
            seconds_left: None,
            state: TransferState::Running,
            waits: None,
            error: None,
            path: None,
        };
        let running = Arc::new(Running {
            view: Mutex::new(view),
            done: AtomicU64::new(0),
            meter: Mutex::default(),
            digest: Mutex::default(),
            room: AtomicU64::new(0),
            end: Mutex::default(),
            cancelled: CancellationToken::new(),
        });
        list.running.push(Arc::clone(&running));
        list.all.push_front(Arc::clone(&running));
        list.all.truncate(MAX_REMEMBERED);
        Ok(running)
    }

    /// Claims a digest for a transfer: two of them would write to the same place.
    pub(crate) fn claim(&self, running: &Running, digest: Digest) -> bool {
        let list = lock(&self.list);
        let mut others =
            list.running.iter().filter(|other| !std::ptr::eq(Arc::as_ptr(other), running));
        let taken = others.any(|other| *lock(&other.digest) == Some(digest));
        if !taken {
            *lock(&running.digest) = Some(digest);
        }
        !taken
    }

    /// Cancels a transfer that runs or waits, and returns its view. `None` when there is no such
    /// transfer.
    pub(crate) fn cancel(&self, number: u64) -> Option<Transfer> {
        let list = lock(&self.list);
        let running = list.running.iter().find(|running| lock(&running.view).number == number)?;
        running.cancel().then(|| running.view())
    }

    /// Bytes that all of them will still write.
    pub(super) fn promised(&self) -> u64 {
        let list = lock(&self.list);
        let missing = list.running.iter().map(|running| running.missing_room());
        missing.fold(0, u64::saturating_add)
    }

    /// What is being written, or is about to be.
    pub(super) fn writing(&self) -> Vec<Digest> {
        let list = lock(&self.list);
        let writes = |other: &&Arc<Running>| other.room.load(Ordering::Relaxed) > 0;
        list.running.iter().filter(writes).filter_map(|other| other.digest()).collect()
    }

    /// There may be room on the disk.
    pub(super) fn room_changed(&self) {
        self.room.notify_waiters();
    }

    pub(super) async fn until_room_changed(&self) {
        self.room.notified().await;
    }

    pub(crate) fn end(&self, running: &Running) {
        lock(&self.list).running.retain(|other| !std::ptr::eq(Arc::as_ptr(other), running));
    }

    /// Forgets the transfer with this number, or all, but none that runs.
    pub(crate) fn clear(&self, number: Option<u64>) -> Result<(), NotCleared> {
        let mut list = lock(&self.list);
        let List { all, running, .. } = &mut *list;
        let of = |one: &Running| lock(&one.view).number;
        let runs = |one: &Arc<Running>| running.iter().any(|other| Arc::ptr_eq(one, other));
        let Some(number) = number else {
            all.retain(runs);
            return Ok(());
        };
        let at = all.iter().position(|one| of(one) == number).ok_or(NotCleared::Unknown(number))?;
        if all.get(at).is_some_and(runs) {
            return Err(NotCleared::Running(number));
        }
        all.remove(at);
        Ok(())
    }

    pub(crate) fn all(&self) -> Vec<Transfer> {
        lock(&self.list).all.iter().map(|running| running.view()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn name(n: usize) -> FileName {
        format!("f{n}").parse().unwrap()
    }

    #[test]
    fn transfers_are_bounded_and_the_newest_is_first() {
        let transfers = Transfers::default();
        for n in 0..MAX_RUNNING {
            transfers.begin(&name(n), Vec::new()).unwrap();
        }
        assert_eq!(transfers.begin(&name(99), Vec::new()).unwrap_err(), TransferBusy::TooMany);
        let waits = Arc::clone(&lock(&transfers.list).running[1]);
        waits.set_waits(Some("for bob".to_owned()));
        let other = transfers.begin(&name(99), Vec::new()).unwrap();
        waits.set_waits(None);
        transfers.end(&other);
        let first = Arc::clone(&lock(&transfers.list).running[0]);
        transfers.end(&first);
        assert_eq!(transfers.begin(&name(5), Vec::new()).unwrap_err(), TransferBusy::Twice);
        for n in 100..500 {
            let running = transfers.begin(&name(n), Vec::new()).unwrap();
            transfers.end(&running);
        }
        let all = transfers.all();
        assert_eq!((all.len(), all[0].name.as_str()), (MAX_REMEMBERED, "f499"));
    }

    #[test]
    fn a_transfer_is_cancelled_or_named_and_not_both() {
        let transfers = Transfers::default();
        let [a, b] = [1, 2].map(|n| transfers.begin(&name(n), Vec::new()).unwrap());
        assert!(transfers.cancel(1).is_some() && !a.may_be_named());
        assert!(b.may_be_named() && transfers.cancel(2).is_none());
        assert!(a.cancelled.is_cancelled() && !b.cancelled.is_cancelled());
        assert!(transfers.cancel(3).is_none());
    }

    #[test]
    fn transfers_that_have_ended_are_cleared_one_and_all() {
        let transfers = Transfers::default();
        let begun: Vec<_> =
            (0..4).map(|n| transfers.begin(&name(n), Vec::new()).unwrap()).collect();
        let numbers = || transfers.all().iter().map(|view| view.number).collect::<Vec<_>>();
        begun.iter().skip(1).for_each(|ended| transfers.end(ended));
        assert_eq!(transfers.clear(Some(3)), Ok(()));
        assert_eq!(transfers.clear(Some(3)), Err(NotCleared::Unknown(3)));
        assert_eq!(transfers.clear(Some(1)), Err(NotCleared::Running(1)));
        assert_eq!(numbers(), [4, 2, 1]);
        assert_eq!(transfers.clear(None), Ok(()));
        assert_eq!(numbers(), [1], "one that runs stays");
    }

    #[test]
    fn speed_and_time_left_follow_what_came() {
        let transfers = Transfers::default();
        let running = transfers.begin(&name(1), Vec::new()).unwrap();
        running.change(|view| view.size = Some(1_000_000));
        let begin = tokio::time::Instant::now().into_std();
        running.measure(begin);
        running.add(100_000);
        assert!(running.measure(begin + Duration::from_secs(1)));
        let view = running.view();
        assert_eq!(
            (view.done, view.bytes_per_second, view.seconds_left),
            (100_000, 100_000, Some(9))
        );
    }
}
