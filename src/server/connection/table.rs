//! The table of connections, which decides whether there is room for another one.
//!
//! If there is no free place, a new connection replaces an unused one: of the same origin if that has too
//! many, otherwise of the origin that has most. If all are in use, it is refused. An eighth of the places
//! is reserved for this machine and another one for all others, so that neither can lock the other out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::activity::Activity;
use crate::server::limits::Limits;
use crate::server::origin::Origin;

/// How long a new connection keeps its place while its first request may be arriving.
const YOUNG: Duration = Duration::from_secs(1);

/// All connections of the daemon.
#[derive(Debug)]
pub(super) struct Table {
    limits: Arc<Limits>,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    next_id: u64,
    n_local: usize,
    n_foreign: usize,
    origins: BTreeMap<Origin, OfOrigin>,
}

#[derive(Debug, Default)]
struct OfOrigin {
    connections: BTreeMap<u64, Arc<Activity>>,
    n_requests: usize,
}

/// Which connections a new one may replace.
#[derive(Debug, Clone, Copy)]
enum Among {
    Origin(Origin),
    /// Those of this machine, or (false) those of all others.
    Side(bool),
    All,
}

impl Table {
    pub(super) fn new(limits: Arc<Limits>) -> Arc<Self> {
        Arc::new(Self {
            limits,
            entries: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a connection; `None` = there is no room, and no unused connection to replace. A connection that many
    /// clients share (a proxy's) does not count against its origin's limit, only against the total.
    pub(super) fn admit(self: &Arc<Self>, origin: Origin, is_shared: bool) -> Option<Place> {
        let now = Instant::now();
        let mut entries = self.lock();
        while let Some(among) = entries.crowd(origin, is_shared, &self.limits) {
            let (of, id) = entries.least_used(among, now)?;
            let evicted = entries.remove(of, id)?;
            evicted.unwanted.notify_one();
        }
        let id = entries.next_id;
        entries.next_id += 1;
        let activity = Arc::new(Activity::new(now));
        *entries.side(origin) += 1;
        let of_origin = entries.origins.entry(origin).or_default();
        of_origin.connections.insert(id, Arc::clone(&activity));
        Some(Place {
            table: Arc::clone(self),
            origin,
            id,
            activity,
        })
    }

    /// Counts a request; `None` = its origin is at its limit. One connection may have many requests.
    pub(super) fn begin(self: &Arc<Self>, origin: Origin) -> Option<Counted> {
        let most = if origin.is_local() {
            self.limits.n_connections
        } else {
            self.limits.n_of_origin
        };
        let mut entries = self.lock();
        let of_origin = entries.origins.entry(origin).or_default();
        if of_origin.n_requests >= most {
            return None;
        }
        of_origin.n_requests += 1;
        Some(Counted {
            table: Arc::clone(self),
            origin,
        })
    }
}

impl Entries {
    fn side(&mut self, origin: Origin) -> &mut usize {
        if origin.is_local() {
            &mut self.n_local
        } else {
            &mut self.n_foreign
        }
    }

    /// Returns which group must lose a connection before one of this origin finds room.
    fn crowd(&mut self, origin: Origin, is_shared: bool, limits: &Limits) -> Option<Among> {
        let of_origin = self.origins.get(&origin);
        let n_of_origin = of_origin.map_or(0, |of_origin| of_origin.connections.len());
        let n_of_side = *self.side(origin);
        if !origin.is_local() && !is_shared && n_of_origin >= limits.n_of_origin {
            Some(Among::Origin(origin))
        } else if n_of_side >= limits.n_connections - limits.n_reserved {
            Some(Among::Side(origin.is_local()))
        } else if self.n_local + self.n_foreign >= limits.n_connections {
            Some(Among::All)
        } else {
            None
        }
    }

    /// Among the origins with an unused connection, finds the one with the most connections, and of those
    /// the one that has been unused longest.
    fn least_used(&self, among: Among, now: Instant) -> Option<(Origin, u64)> {
        let candidates = self.origins.iter().filter(|(origin, _)| match among {
            Among::Origin(only) => **origin == only,
            Among::Side(is_local) => origin.is_local() == is_local,
            Among::All => true,
        });
        let unused = candidates.filter_map(|(origin, of_origin)| {
            let since = |(id, activity): (&u64, &Arc<Activity>)| {
                let since = activity.quiet_since()?;
                (now.duration_since(since) >= YOUNG).then_some((since, *id))
            };
            let (_, id) = of_origin.connections.iter().filter_map(since).min()?;
            Some((of_origin.connections.len(), *origin, id))
        });
        let (_, origin, id) = unused.max()?;
        Some((origin, id))
    }

    fn remove(&mut self, origin: Origin, id: u64) -> Option<Arc<Activity>> {
        let activity = self.origins.get_mut(&origin)?.connections.remove(&id)?;
        *self.side(origin) -= 1;
        self.forget(origin);
        Some(activity)
    }

    fn forget(&mut self, origin: Origin) {
        let is_empty = |of: &OfOrigin| of.connections.is_empty() && of.n_requests == 0;
        if self.origins.get(&origin).is_some_and(is_empty) {
            self.origins.remove(&origin);
        }
    }
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    table: Arc<Table>,
    origin: Origin,
    id: u64,
    pub(super) activity: Arc<Activity>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // Another connection may have replaced it.
        self.table.lock().remove(self.origin, self.id);
    }
}

/// A counted request, until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    table: Arc<Table>,
    origin: Origin,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut entries = self.table.lock();
        if let Some(of_origin) = entries.origins.get_mut(&self.origin) {
            of_origin.n_requests -= 1;
        }
        entries.forget(self.origin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "127.0.0.1";

    /// Sixteen places, four for each origin, two reserved for each side.
    fn table() -> Arc<Table> {
        let second = Duration::from_secs(1);
        Table::new(Arc::new(Limits {
            n_connections: 16,
            n_of_origin: 4,
            n_reserved: 2,
            n_refused: 1,
            head: 30 * second,
            idle: 300 * second,
            stall: 60 * second,
        }))
    }

    fn admit(table: &Arc<Table>, origin: &str) -> Option<Place> {
        table.admit(Origin::of(origin.parse().unwrap()), false)
    }

    fn admit_all(table: &Arc<Table>, origin: &str, n: usize) -> Vec<Place> {
        let places = std::iter::repeat_with(|| admit(table, origin));
        places.take(n).map(|place| place.expect("room")).collect()
    }

    async fn is_unwanted(place: &Place) -> bool {
        let told = place.activity.unwanted.notified();
        tokio::time::timeout(Duration::ZERO, told).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn one_origin_has_its_share_and_replaces_its_own() {
        let table = table();
        let mut crowd = Vec::new();
        for _ in 0..4 {
            crowd.extend(admit(&table, "192.0.2.1"));
            tokio::time::advance(YOUNG / 8).await;
        }
        // Its first request may be arriving.
        assert!(admit(&table, "192.0.2.1").is_none());
        tokio::time::advance(YOUNG).await;
        let _running = crowd[0].activity.begin(false);
        let fifth = admit(&table, "192.0.2.1").expect("the place of the second");
        assert!(is_unwanted(&crowd[1]).await && !is_unwanted(&crowd[2]).await);
        // Removing it twice has no effect.
        drop(crowd.remove(1));
        assert!(admit(&table, "192.0.2.2").is_some());
        drop(fifth);
        assert!(admit(&table, "192.0.2.1").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn neither_side_locks_out_the_other() {
        for (many, other) in [(LOCAL, "192.0.2.9"), ("192.0.2.9", LOCAL)] {
            let table = table();
            let mut crowd = Vec::new();
            for number in 0..20 {
                let origin = if many == LOCAL {
                    LOCAL.to_owned()
                } else {
                    format!("198.51.100.{}", number / 3)
                };
                crowd.extend(admit(&table, &origin));
            }
            let running = crowd.iter().map(|place| place.activity.begin(false));
            let _running: Vec<_> = running.collect();
            assert_eq!(crowd.len(), 14, "{many}");
            tokio::time::advance(YOUNG).await;
            assert!(admit(&table, many).is_none());
            let _two = admit_all(&table, other, 2);
            assert!(admit(&table, other).is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_with_most_connections_makes_room() {
        let table = table();
        let modest = admit_all(&table, "192.0.2.1", 1);
        let local = admit_all(&table, LOCAL, 2);
        let greedy: Vec<_> = (2..6)
            .flat_map(|number| admit_all(&table, &format!("192.0.2.{number}"), 3))
            .collect();
        let greediest = admit_all(&table, "192.0.2.2", 1);
        tokio::time::advance(YOUNG).await;
        let _new = admit(&table, "192.0.2.7").expect("room");
        for place in modest
            .iter()
            .chain(&local)
            .chain(&greedy[3..])
            .chain(&greediest)
        {
            assert!(!is_unwanted(place).await);
        }
        assert!(is_unwanted(&greedy[0]).await);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_count_whatever_they_come_through() {
        let table = table();
        let origin = Origin::of("192.0.2.1".parse().unwrap());
        let mut counted: Vec<_> = (0..4).filter_map(|_| table.begin(origin)).collect();
        assert_eq!(counted.len(), 4);
        assert!(table.begin(origin).is_none());
        assert!(table.begin(Origin::LOCAL).is_some());
        counted.pop();
        assert!(table.begin(origin).is_some());
        counted.clear();
        assert!(table.lock().origins.is_empty());
    }
}
