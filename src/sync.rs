//! Layer 1: locks that stay usable after a panic.
//!
//! A lock of the standard library is poisoned if its holder panics, and every later user has to
//! decide what to do. This crate changes the state behind a lock in steps that leave it valid, so a
//! panic (of a handler, a router or a waker of the application) must not stop the node.
//!
//! What several threads share, and whose order of use decides an outcome, is of this module: in a
//! model (`model.rs`) the operations on it are the points at which another thread may go on.

use std::{
    fmt,
    sync::{self, MutexGuard, PoisonError, RwLockReadGuard, RwLockWriteGuard, TryLockError},
};

#[cfg(test)]
pub(crate) use self::observed::{Notify, Semaphore, atomic};
#[cfg(not(test))]
pub(crate) use tokio::sync::{Notify, Semaphore};

/// The atomic integers of the standard library.
#[cfg(not(test))]
pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
}

/// A [`std::sync::Mutex`] that ignores poisoning.
#[derive(Default)]
pub(crate) struct Mutex<T: ?Sized>(sync::Mutex<T>);

/// The guard of a lock that was free.
fn unless_taken<G>(tried: Result<G, TryLockError<G>>) -> Option<G> {
    match tried {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks it, after a panic of an earlier holder as well.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        #[cfg(test)]
        if model::is_running() {
            return model::wait_for(|| unless_taken(self.0.try_lock()));
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks it if it is free. `None` if it is locked.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        #[cfg(test)]
        model::point();
        unless_taken(self.0.try_lock())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A [`std::sync::RwLock`] that ignores poisoning.
#[derive(Default)]
pub(crate) struct RwLock<T: ?Sized>(sync::RwLock<T>);

impl<T: ?Sized> RwLock<T> {
    /// Locks it for reading, after a panic of an earlier holder as well.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        #[cfg(test)]
        if model::is_running() {
            return model::wait_for(|| unless_taken(self.0.try_read()));
        }
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks it for writing, after a panic of an earlier holder as well.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        #[cfg(test)]
        if model::is_running() {
            return model::wait_for(|| unless_taken(self.0.try_write()));
        }
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
mod observed;

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_lock_stays_usable_after_a_panic_of_its_holder() {
        let (mutex, lock) = (Mutex::new(1), RwLock::default());
        let panics = |work: &dyn Fn()| catch_unwind(AssertUnwindSafe(work)).is_err();
        assert!(panics(&|| {
            *mutex.lock() = 2;
            panic!("inside");
        }));
        assert!(panics(&|| {
            *lock.write() = 3;
            panic!("inside");
        }));
        assert_eq!((*mutex.lock(), *lock.read()), (2, 3));
        let held = mutex.try_lock();
        assert!(held.is_some() && mutex.try_lock().is_none());
    }
}
