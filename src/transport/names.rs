//! Names with several addresses: looked up, cached for a short time, and dialled concurrently (RFC
//! 8305, "Happy Eyeballs Version 2").

use std::{fmt, io, net::SocketAddr, sync::MutexGuard, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use indexmap::IndexSet;
use tokio::time::{Instant, timeout};

use super::NameFault;
use crate::{bounded::BoundedMap, overlay::Host, sync::Mutex, time::Later};

/// The time between the starts of two attempts (RFC 8305 section 5, "Connection Attempt Delay").
/// After a failed attempt the next one starts at once.
const STAGGER: Duration = Duration::from_millis(250);

/// The time-out for one of several addresses: four SYNs, after 0, 1, 3 and 7 s. A single address
/// has all the time that the caller gives.
const ATTEMPT: Duration = Duration::from_secs(10);

/// The maximum number of addresses of one name for dialling and listening.
pub(super) const MAX_ADDRESSES: usize = 16;

/// How long a look-up is used without another one.
const FRESH_FOR: Duration = Duration::from_secs(30);

/// How long the addresses of the last look-up are used when a new one fails.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// The time-out for a look-up.
const LOOKUP: Duration = Duration::from_secs(5);

/// The time-out for a look-up if the addresses of the last one are still cached.
const LOOKUP_AGAIN: Duration = Duration::from_millis(500);

/// How long the cached addresses are used after a failed look-up before the next one.
const REST: Duration = Duration::from_secs(5);

/// The maximum number of cached names. The one that was looked up first is replaced by a new one.
const MAX_NAMES: usize = 1_024;

/// The cache entry of a name.
#[derive(Debug)]
struct CachedName {
    addresses: Vec<SocketAddr>,
    /// When they were looked up.
    at: Instant,
    /// Until when they are used without another look-up.
    fresh: Instant,
    /// The address that was connected last. `None` if none was.
    worked: Option<SocketAddr>,
}

/// The cache of look-ups. The ports of the addresses have no meaning.
pub(super) struct Names(Mutex<Cache>);

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("cached", &self.lock().len()).finish()
    }
}

/// By name in lower case, ranked by the time of the look-up.
type Cache = BoundedMap<String, CachedName, Instant>;

impl Default for Names {
    fn default() -> Self {
        Self(Mutex::new(Cache::new(MAX_NAMES)))
    }
}

fn key(host: &Host) -> String {
    host.to_string().to_ascii_lowercase()
}

impl Names {
    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.0.lock()
    }

    /// The cached addresses of a name, or the result of `look_up`.
    pub(super) async fn resolve(
        &self,
        host: &Host,
        look_up: impl Future<Output = io::Result<Vec<SocketAddr>>>,
    ) -> Result<Vec<SocketAddr>, NameFault> {
        let now = Instant::now();
        if let Some(known) = self.lock().get(&key(host)).filter(|known| now < known.fresh) {
            return Ok(known.addresses.clone());
        }
        self.ask(host, look_up, LOOKUP).await
    }

    /// The addresses to dial, in order. If a look-up fails, those of an earlier one.
    pub(super) async fn to_dial(
        &self,
        host: &Host,
        look_up: impl Future<Output = io::Result<Vec<SocketAddr>>>,
    ) -> Result<Vec<SocketAddr>, NameFault> {
        let now = Instant::now();
        let kept = {
            let mut names = self.lock();
            let known =
                names.get_mut(&key(host)).filter(|known| now.duration_since(known.at) < KEPT_FOR);
            known.map(|known| (known.addresses.clone(), known.worked, now < known.fresh))
        };
        match kept {
            Some((addresses, worked, true)) => Ok(in_order(addresses, worked)),
            Some((kept, worked, false)) => match self.ask(host, look_up, LOOKUP_AGAIN).await {
                Ok(addresses) => Ok(in_order(addresses, worked)),
                Err(error) => {
                    tracing::debug!(%error, "look-up failed: using the last known addresses");
                    if let Some(known) = self.lock().get_mut(&key(host)) {
                        known.fresh = Instant::now().later(REST);
                    }
                    Ok(in_order(kept, worked))
                }
            },
            None => Ok(in_order(self.ask(host, look_up, LOOKUP).await?, None)),
        }
    }

    async fn ask(
        &self,
        host: &Host,
        look_up: impl Future<Output = io::Result<Vec<SocketAddr>>>,
        within: Duration,
    ) -> Result<Vec<SocketAddr>, NameFault> {
        let unknown = |reason: String| NameFault::Unknown { host: host.clone(), reason };
        let found = timeout(within, look_up).await;
        let found = found.map_err(|_| NameFault::Late { host: host.clone(), within })?;
        let mut addresses = found.map_err(|error| unknown(error.to_string()))?;
        let mut seen = IndexSet::new();
        addresses.retain(|address| seen.insert(*address));
        if addresses.is_empty() {
            return Err(unknown("the look-up found none".to_owned()));
        }
        let now = Instant::now();
        let mut names = self.lock();
        let worked = names.remove(&key(host)).and_then(|known| known.worked);
        let fresh = now.later(FRESH_FOR);
        let name = CachedName { addresses: addresses.clone(), at: now, fresh, worked };
        names.insert(key(host), name, now);
        Ok(addresses)
    }

    /// Dials the addresses of a name; `connect` dials one. The connected address comes first the
    /// next time. If none is connected, the name is looked up again.
    pub(super) async fn dial<T, F: Future<Output = io::Result<T>>>(
        &self,
        host: &Host,
        look_up: impl Future<Output = io::Result<Vec<SocketAddr>>>,
        connect: impl Fn(SocketAddr) -> F,
    ) -> io::Result<T> {
        let addresses = self.to_dial(host, look_up).await?;
        let mut outcome = Outcome { names: self, host, worked: None };
        let (address, connected) = race(addresses, connect).await?;
        outcome.worked = Some(address);
        Ok(connected)
    }
}

/// Records the outcome of a dial when it is dropped, because the caller may cancel the dial at any
/// time: the connected address, or that the name has to be looked up again.
struct Outcome<'a> {
    names: &'a Names,
    host: &'a Host,
    worked: Option<SocketAddr>,
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        if let Some(known) = self.names.lock().get_mut(&key(self.host)) {
            match self.worked {
                Some(address) => known.worked = Some(address),
                None => known.fresh = Instant::now(),
            }
        }
    }
}

/// Alternates the families, beginning with the one that the look-up returns first. The address that
/// was connected last comes before all others.
fn in_order(addresses: Vec<SocketAddr>, worked: Option<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (one, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first_is_v4);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut ordered = Vec::new();
    while one.len() + other.len() > 0 {
        ordered.extend(one.next());
        ordered.extend(other.next());
    }
    if let Some(at) = worked.and_then(|worked| ordered.iter().position(|at| *at == worked)) {
        let first = ordered.remove(at);
        ordered.insert(0, first);
    }
    ordered.truncate(MAX_ADDRESSES);
    ordered
}

/// Dials one address after the other, and waits for each at most [`STAGGER`] before the next. The
/// first connection wins, and the other attempts are cancelled.
pub(super) async fn race<T, F: Future<Output = io::Result<T>>>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<(SocketAddr, T)> {
    if let [address] = addresses.as_slice() {
        return Ok((*address, connect(*address).await?));
    }
    let attempt = |address| {
        let connecting = timeout(ATTEMPT, connect(address));
        async move {
            let connected = connecting.await.unwrap_or_else(|late| Err(late.into()));
            connected.map(|connected| (address, connected))
        }
    };
    let mut waiting = addresses.into_iter();
    let mut under_way = FuturesUnordered::new();
    let mut failure = None;
    loop {
        under_way.extend(waiting.next().map(&attempt));
        let ended = if waiting.len() == 0 {
            under_way.next().await
        } else {
            // After the delay, or after a failure, the next attempt begins.
            timeout(STAGGER, under_way.next()).await.ok().flatten()
        };
        match ended {
            Some(Ok(connected)) => return Ok(connected),
            Some(Err(error)) => failure = Some(error),
            None if waiting.len() == 0 && under_way.is_empty() => {
                return Err(failure.unwrap_or_else(no_address));
            }
            None => {}
        }
    }
}

pub(super) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the host name has no address")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    const FOUND: [&str; 4] = ["[2001:db8::1]:0", "[2001:db8::2]:0", "10.0.0.1:0", "10.0.0.2:0"];

    #[test]
    fn the_families_take_turns_and_the_address_that_worked_last_is_first() {
        let found = addresses(&FOUND);
        let expected = ["[2001:db8::1]:0", "10.0.0.1:0", "[2001:db8::2]:0", "10.0.0.2:0"];
        assert_eq!(in_order(found.clone(), None), addresses(&expected));
        let worked = "10.0.0.2:0".parse().unwrap();
        let expected = ["10.0.0.2:0", "[2001:db8::1]:0", "10.0.0.1:0", "[2001:db8::2]:0"];
        assert_eq!(in_order(found.clone(), Some(worked)), addresses(&expected));
        let gone = "10.0.0.9:0".parse().unwrap();
        assert_eq!(in_order(found, Some(gone)).len(), 4);
        let many: Vec<_> = (1..100).map(|n| SocketAddr::from(([10, 0, 0, n], 0))).collect();
        assert_eq!(in_order(many, None).len(), MAX_ADDRESSES);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_begin_a_quarter_of_a_second_apart_and_a_failure_makes_none_wait() {
        let begun = Instant::now();
        let at = Mutex::new(Vec::new());
        let connect = async |address: SocketAddr| {
            at.lock().push(begun.elapsed().as_millis());
            match address.port() {
                1 => std::future::pending().await,
                2 => Err(io::ErrorKind::ConnectionRefused.into()),
                _ => Ok(address.port()),
            }
        };
        let dialled = addresses(&["10.0.0.1:1", "10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:4"]);
        assert_eq!(race(dialled, connect).await.unwrap().1, 4);
        assert_eq!(*at.lock(), [0, 250, 500, 500]);
    }

    #[tokio::test(start_paused = true)]
    async fn each_attempt_has_a_time_of_its_own() {
        let begun = Instant::now();
        let connect = async |_| std::future::pending::<io::Result<()>>().await;
        let late = race(addresses(&["10.0.0.1:1", "10.0.0.2:1"]), connect).await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), ATTEMPT + STAGGER);
        let none = race(Vec::new(), connect).await.unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
    }

    /// Looks a name up, with this duration and this result.
    async fn look_up(takes: Duration, found: &[&str]) -> io::Result<Vec<SocketAddr>> {
        tokio::time::sleep(takes).await;
        Ok(addresses(found))
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_up_is_kept_for_a_short_while_and_has_a_time_of_its_own() {
        let (names, host): (_, Host) = (Names::default(), "name".parse().unwrap());
        let never = Duration::from_secs(3_600);
        let late = names.to_dial(&host, look_up(never, &FOUND)).await;
        assert_eq!(late, Err(NameFault::Late { host: host.clone(), within: LOOKUP }));
        names.to_dial(&host, look_up(Duration::ZERO, &FOUND)).await.unwrap();
        // No other is waited for.
        let begun = Instant::now();
        assert_eq!(names.to_dial(&host, look_up(never, &[])).await.unwrap().len(), 4);
        assert_eq!(names.resolve(&host, look_up(never, &[])).await.unwrap().len(), 4);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        tokio::time::advance(FRESH_FOR).await;
        // A dial waits a little, and then does with what it has; who asks what a name means does
        // not.
        let begun = Instant::now();
        assert_eq!(names.to_dial(&host, look_up(never, &[])).await.unwrap().len(), 4);
        assert_eq!(begun.elapsed(), LOOKUP_AGAIN);
        tokio::time::advance(KEPT_FOR).await;
        assert!(names.resolve(&host, look_up(never, &[])).await.is_err());
        assert!(names.to_dial(&host, look_up(never, &[])).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_looked_up_anew_when_no_address_of_it_was_connected_to() {
        let (names, host): (_, Host) = (Names::default(), "name".parse().unwrap());
        let silent = async |_| std::future::pending::<io::Result<()>>().await;
        let dial = names.dial(&host, look_up(Duration::ZERO, &FOUND[..1]), silent);
        assert!(timeout(Duration::from_secs(1), dial).await.is_err());
        let moved = look_up(Duration::ZERO, &FOUND[2..3]);
        let to = names.dial(&host, moved, async |address| Ok(address)).await.unwrap();
        assert_eq!(to, addresses(&FOUND)[2]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_names_that_are_remembered_are_bounded() {
        let names = Names::default();
        for n in 0..3 * MAX_NAMES {
            let host = format!("n{n}").parse().unwrap();
            names.to_dial(&host, look_up(Duration::ZERO, &FOUND)).await.unwrap();
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(names.lock().len() <= MAX_NAMES);
        }
        assert!(names.lock().contains_key(&format!("n{}", 3 * MAX_NAMES - 1)));
    }
}
