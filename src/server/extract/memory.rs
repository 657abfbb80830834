//! The memory of requests in flight: a limit on their total, in bytes.
//!
//! A request counts with the bytes that have arrived, not with its announced length, and later with its decoded size,
//! until its answer has ended. Small requests never wait. A part of the memory is reserved for requests of usual size,
//! so that a few very large ones cannot block them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::device;
use crate::error::ErrorKind;
use crate::server::error::ApiError;
use crate::server::origin::Origin;

/// The unit of accounting.
const BLOCK: usize = 64 << 10;

/// Bytes that each request may use without reserving them. The number of connections bounds their sum.
const FREE: usize = 64 << 10;

/// Requests up to this size use the reserved part: a context of a million tokens.
const USUAL: usize = 4 << 20;

/// The divisor for that part, and for the part of one origin that is not this machine.
const USUAL_SHARE: usize = 4;
const ORIGIN_SHARE: usize = 2;

/// How long a request waits for memory before it is refused with 503.
const PATIENCE: Duration = Duration::from_secs(10);

/// The divisor of the machine's memory, and the bounds in bytes.
const MACHINE_SHARE: u64 = 8;
const MOST: u64 = 1 << 30;
const LEAST: u64 = 64 << 20;

/// The memory of all requests.
#[derive(Debug)]
pub(crate) struct Memory(Arc<Pools>);

#[derive(Debug)]
struct Pools {
    common: Arc<Semaphore>,
    /// For requests of usual size.
    usual: Arc<Semaphore>,
    n_common: usize,
    /// The blocks of one origin that is not this machine.
    n_of_origin: usize,
    origins: Mutex<BTreeMap<Origin, Weak<Semaphore>>>,
}

impl Memory {
    /// Makes a limit of so many bytes; the default is a part of the machine's memory.
    pub(crate) fn new(bytes: Option<u64>) -> Self {
        let bytes = bytes.unwrap_or_else(|| {
            let (machine, _) = device::system_memory();
            (machine / MACHINE_SHARE).clamp(LEAST, MOST)
        });
        let n_blocks = usize::try_from(bytes).unwrap_or(usize::MAX) / BLOCK;
        let n_blocks = n_blocks.min(Semaphore::MAX_PERMITS);
        let n_usual = n_blocks / USUAL_SHARE;
        let n_common = n_blocks - n_usual;
        Self(Arc::new(Pools {
            common: Arc::new(Semaphore::new(n_common)),
            usual: Arc::new(Semaphore::new(n_usual)),
            n_common,
            n_of_origin: n_blocks / ORIGIN_SHARE,
            origins: Mutex::default(),
        }))
    }

    /// Returns an empty share for a request.
    pub(crate) fn share(&self, origin: Origin) -> Share {
        let own = (!origin.is_local()).then(|| self.of_origin(origin));
        Share {
            pools: Arc::clone(&self.0),
            own,
            held: Vec::new(),
        }
    }

    fn of_origin(&self, origin: Origin) -> Arc<Semaphore> {
        let mut origins = self
            .0
            .origins
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        origins.retain(|_, own| own.strong_count() > 0);
        let known = origins.get(&origin).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let own = Arc::new(Semaphore::new(self.0.n_of_origin));
            origins.insert(origin, Arc::downgrade(&own));
            own
        })
    }
}

/// The memory of one request; released when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    pools: Arc<Pools>,
    /// The limit of its origin.
    own: Option<Arc<Semaphore>>,
    held: Vec<Piece>,
}

/// Permits of a pool, and as many of the origin's.
#[derive(Debug)]
struct Piece {
    blocks: OwnedSemaphorePermit,
    own: Option<OwnedSemaphorePermit>,
}

/// Why memory is not available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Short {
    /// Other requests hold it.
    Busy,
    /// It exceeds the limit for all requests.
    Never,
}

impl From<Short> for ApiError {
    fn from(short: Short) -> Self {
        match short {
            Short::Busy => Self::new(
                ErrorKind::Overloaded,
                "server busy, please try again: other requests hold the memory that requests may take",
            ),
            Short::Never => Self::new(
                ErrorKind::TooLarge,
                "the request takes more memory than all requests together may (DROVER_BODY_MEMORY)",
            ),
        }
    }
}

impl Share {
    /// Grows the share to at least so many bytes; waits for a while if necessary.
    ///
    /// # Errors
    /// See [`Short`].
    pub(crate) async fn grow(&mut self, bytes: usize) -> Result<(), Short> {
        match self.try_grow(bytes) {
            Err(Short::Busy) => {}
            done => return done,
        }
        let n_blocks = self.missing(bytes)?;
        let pools = Arc::clone(&self.pools);
        let (common, usual) = (Arc::clone(&pools.common), Arc::clone(&pools.usual));
        let own = self.own.clone();
        let waiting = async {
            let own = match own {
                Some(own) => Some(own.acquire_many_owned(n_blocks).await.ok()?),
                None => None,
            };
            let common = common.acquire_many_owned(n_blocks);
            let blocks = if bytes > USUAL {
                common.await
            } else {
                tokio::select! {
                    blocks = common => blocks,
                    blocks = usual.acquire_many_owned(n_blocks) => blocks,
                }
            };
            Some(Piece {
                blocks: blocks.ok()?,
                own,
            })
        };
        let piece = tokio::time::timeout(PATIENCE, waiting).await;
        self.add(piece.ok().flatten().ok_or(Short::Busy)?);
        Ok(())
    }

    /// Grows the share without waiting.
    ///
    /// # Errors
    /// See [`Short`].
    pub(crate) fn try_grow(&mut self, bytes: usize) -> Result<(), Short> {
        let n_blocks = self.missing(bytes)?;
        if n_blocks == 0 {
            return Ok(());
        }
        let take = |pool: &Arc<Semaphore>| {
            let taken = Arc::clone(pool).try_acquire_many_owned(n_blocks);
            taken.map_err(|_| Short::Busy)
        };
        let own = self.own.as_ref().map(take).transpose()?;
        let blocks = match take(&self.pools.common) {
            Err(_) if bytes <= USUAL => take(&self.pools.usual)?,
            taken => taken?,
        };
        self.add(Piece { blocks, own });
        Ok(())
    }

    fn add(&mut self, piece: Piece) {
        let last = self.held.last_mut();
        let same =
            last.filter(|last| Arc::ptr_eq(last.blocks.semaphore(), piece.blocks.semaphore()));
        let Some(last) = same else {
            self.held.push(piece);
            return;
        };
        last.blocks.merge(piece.blocks);
        if let (Some(held), Some(own)) = (&mut last.own, piece.own) {
            held.merge(own);
        }
    }

    /// Shrinks the share to so many bytes.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let mut n_extra = self.n_held().saturating_sub(n_blocks(bytes));
        while let Some(mut piece) = self.held.pop_if(|_| n_extra > 0) {
            let n = n_extra.min(piece.blocks.num_permits());
            n_extra -= n;
            if n < piece.blocks.num_permits() {
                drop(piece.blocks.split(n));
                drop(piece.own.as_mut().and_then(|own| own.split(n)));
                self.held.push(piece);
            }
        }
    }

    /// Whether nothing is reserved.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn n_held(&self) -> usize {
        self.held
            .iter()
            .map(|piece| piece.blocks.num_permits())
            .sum()
    }

    /// The number of blocks that are missing for so many bytes.
    fn missing(&self, bytes: usize) -> Result<u32, Short> {
        let n_wanted = n_blocks(bytes);
        let n_most = match self.own {
            Some(_) => self.pools.n_of_origin.min(self.pools.n_common),
            None => self.pools.n_common,
        };
        if n_wanted > n_most {
            return Err(Short::Never);
        }
        u32::try_from(n_wanted.saturating_sub(self.n_held())).map_err(|_| Short::Never)
    }
}

fn n_blocks(bytes: usize) -> usize {
    bytes.saturating_sub(FREE).div_ceil(BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    /// Sixteen mebibytes, four of them for requests of usual size.
    fn memory() -> Memory {
        Memory::new(Some(16 << 20))
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_what_others_give_back_or_hears_that_there_is_none() {
        let memory = memory();
        let (mut first, mut second) = (memory.share(Origin::LOCAL), memory.share(Origin::LOCAL));
        first.grow(10 * MIB).await.unwrap();
        assert_eq!(second.grow(8 * MIB).await, Err(Short::Busy));
        let waiting = tokio::join!(second.grow(8 * MIB), async { first.shrink(MIB) });
        assert_eq!(waiting.0, Ok(()));
        assert_eq!(first.n_held(), n_blocks(MIB));
        drop((first, second));
        assert_eq!(memory.0.common.available_permits(), memory.0.n_common);
    }

    #[tokio::test(start_paused = true)]
    async fn large_requests_leave_room_for_usual_ones_and_small_ones_never_ask() {
        let memory = memory();
        let share = || memory.share(Origin::LOCAL);
        let mut large = share();
        large.grow(12 * MIB).await.unwrap();
        let mut usual = share();
        usual.grow(4 * MIB).await.unwrap();
        assert_eq!(share().grow(MIB).await, Err(Short::Busy));
        share().grow(FREE).await.unwrap();
        drop(usual);
        assert_eq!(share().grow(MIB).await, Ok(()));
        assert_eq!(memory.0.usual.available_permits(), 64);
    }

    #[tokio::test(start_paused = true)]
    async fn one_origin_leaves_room_for_others() {
        let memory = memory();
        let share = |address: &str| memory.share(Origin::of(address.parse().unwrap()));
        let (mut first, mut second) = (share("192.0.2.1"), share("192.0.2.1"));
        first.grow(5 * MIB).await.unwrap();
        assert_eq!(second.grow(5 * MIB).await, Err(Short::Busy));
        assert_eq!(second.grow(9 * MIB).await, Err(Short::Never));
        share("192.0.2.2").grow(5 * MIB).await.unwrap();
        drop(first);
        second.grow(5 * MIB).await.unwrap();
    }

    #[tokio::test]
    async fn what_can_never_be_there_is_not_waited_for() {
        let short = memory().share(Origin::LOCAL).grow(13 * MIB).await;
        assert_eq!(short, Err(Short::Never));
    }
}
