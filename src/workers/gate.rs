//! Limits the use of workers: in total, and for each owner of templates.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, oneshot};

use crate::fair_queue::FairQueue;
use crate::protocol::Priority;

/// Admits requests within limits. Owners take turns, and so do the clients of an owner.
///
/// *Invariants:* an owner has at most `n_each` requests admitted. So an owner whose templates never end
/// leaves workers for the others, and a client with a thousand prompts delays another one by one turn.
#[derive(Debug)]
pub(super) struct Gate {
    line: Arc<Line>,
    /// Permits for waiting requests.
    waiting: Semaphore,
}

/// The client whose turn a request takes, and its priority.
#[derive(Debug, Clone, Default)]
pub struct Claim {
    /// See [`crate::fair_queue`] for its parts.
    pub client: String,
    pub priority: Priority,
}

#[derive(Debug)]
struct Line {
    n_each: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Free passes.
    n_free: usize,
    /// Owners with passes or waiting requests; the next one in turn comes first.
    owners: Vec<Owner>,
}

#[derive(Debug)]
struct Owner {
    id: u64,
    n_admitted: usize,
    waiting: FairQueue<oneshot::Sender<Pass>>,
}

/// The right to use a worker, until it is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    /// `None` = it was not accepted, and no longer counts.
    line: Option<Arc<Line>>,
    owner: u64,
}

/// Too many requests are waiting.
#[derive(Debug)]
pub(super) struct Full;

impl Gate {
    /// Admits `n_all` at once, `n_each` of one owner; `n_waiting` more may wait, and others are refused.
    pub(super) fn new(n_all: usize, n_each: usize, n_waiting: usize) -> Self {
        let state = State {
            n_free: n_all,
            owners: Vec::new(),
        };
        Self {
            line: Arc::new(Line {
                n_each,
                state: Mutex::new(state),
            }),
            waiting: Semaphore::new(n_waiting),
        }
    }

    /// Waits for a pass; dropping the future leaves the queue.
    pub(super) async fn pass(&self, owner: u64, claim: &Claim) -> Result<Pass, Full> {
        let _place = self.waiting.try_acquire().map_err(|_| Full)?;
        let (admit, admitted) = oneshot::channel();
        self.line.enter(owner, claim, admit);
        // A sender stays in line until it is used.
        admitted.await.map_err(|_| Full)
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>, owner: u64, claim: &Claim, admit: oneshot::Sender<Pass>) {
        let mut state = self.lock();
        let waiting = &mut state.owner(owner).waiting;
        waiting.push(claim.priority, &claim.client, admit);
        self.admit(&mut state);
    }

    fn leave(self: &Arc<Self>, owner: u64) {
        let mut state = self.lock();
        state.n_free += 1;
        // The owner's turn is over.
        if let Some(at) = state.owners.iter().position(|known| known.id == owner) {
            let owner = &mut state.owners[at];
            owner.n_admitted -= 1;
            owner.waiting.retain(|admit| !admit.is_closed());
            state.owners[at..].rotate_left(1);
        }
        self.admit(&mut state);
        state.owners.retain(Owner::is_needed);
    }

    /// Admits as many as the limits allow.
    fn admit(self: &Arc<Self>, state: &mut State) {
        while state.n_free > 0 {
            let may_enter =
                |owner: &Owner| owner.n_admitted < self.n_each && !owner.waiting.is_empty();
            let Some(at) = state.owners.iter().position(may_enter) else {
                return;
            };
            let owner = &mut state.owners[at];
            let Some(admit) = owner.waiting.pop() else {
                return;
            };
            let pass = Pass {
                line: Some(Arc::clone(self)),
                owner: owner.id,
            };
            match admit.send(pass) {
                Ok(()) => {
                    owner.n_admitted += 1;
                    state.n_free -= 1;
                    // The owner's turn is over.
                    state.owners[at..].rotate_left(1);
                }
                // The client has left. Nothing was taken, so nothing is to be given back.
                Err(mut pass) => pass.line = None,
            }
        }
    }
}

impl State {
    fn owner(&mut self, id: u64) -> &mut Owner {
        let known = self.owners.iter().position(|owner| owner.id == id);
        let at = known.unwrap_or_else(|| {
            self.owners.push(Owner {
                id,
                n_admitted: 0,
                waiting: FairQueue::default(),
            });
            self.owners.len() - 1
        });
        &mut self.owners[at]
    }
}

impl Owner {
    fn is_needed(&self) -> bool {
        self.n_admitted > 0 || !self.waiting.is_empty()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            line.leave(self.owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn of(client: &str) -> Claim {
        Claim {
            client: client.to_owned(),
            priority: Priority::Interactive,
        }
    }

    #[tokio::test]
    async fn an_owner_leaves_room_for_others() {
        let (gate, any) = (Gate::new(4, 2, 100), of("a"));
        let first = gate.pass(1, &any).await.unwrap();
        let _second = gate.pass(1, &any).await.unwrap();
        let mut third = Box::pin(gate.pass(1, &any));
        assert!((&mut third).now_or_never().is_none());
        let other = gate.pass(2, &any).now_or_never();
        assert!(other.is_some_and(|pass| pass.is_ok()));
        drop(first);
        assert!(third.now_or_never().is_some_and(|pass| pass.is_ok()));
    }

    #[tokio::test]
    async fn an_owner_with_a_long_line_is_no_reason_to_wait_long() {
        let (gate, any) = (Gate::new(2, 1, 100), of("a"));
        let busy = gate.pass(1, &any).await.unwrap();
        let mut line: Vec<_> = (0..50).map(|_| Box::pin(gate.pass(1, &any))).collect();
        for waiting in &mut line {
            assert!(waiting.now_or_never().is_none());
        }
        let _other = gate.pass(2, &any).await.unwrap();
        let mut late = Box::pin(gate.pass(3, &any));
        assert!((&mut late).now_or_never().is_none());
        drop(busy);
        assert!(late.now_or_never().is_some(), "behind 50 of another owner");
    }

    #[tokio::test]
    async fn clients_of_one_owner_take_turns() {
        let (gate, eager, other) = (Gate::new(1, 1, 100), of("eager"), of("other"));
        let busy = gate.pass(1, &eager).await.unwrap();
        let mut line: Vec<_> = (0..50).map(|_| Box::pin(gate.pass(1, &eager))).collect();
        for waiting in &mut line {
            assert!(waiting.now_or_never().is_none());
        }
        let mut late = Box::pin(gate.pass(1, &other));
        assert!((&mut late).now_or_never().is_none());
        drop(busy);
        let next = (&mut line[0]).now_or_never();
        assert!((&mut late).now_or_never().is_none());
        drop(next);
        assert!(late.now_or_never().is_some(), "behind 50 of another client");
    }

    #[tokio::test]
    async fn jobs_wait_for_people() {
        let (gate, person) = (Gate::new(1, 1, 100), of("person"));
        let job = Claim {
            priority: Priority::Batch,
            ..of("job")
        };
        let busy = gate.pass(1, &job).await.unwrap();
        let mut line = Box::pin(gate.pass(1, &job));
        assert!((&mut line).now_or_never().is_none());
        let mut late = Box::pin(gate.pass(1, &person));
        assert!((&mut late).now_or_never().is_none());
        drop(busy);
        assert!((&mut line).now_or_never().is_none());
        assert!(late.now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_comes_when_all_places_are_taken_is_told_at_once() {
        let (gate, any) = (Gate::new(1, 1, 2), of("a"));
        let inside = gate.pass(1, &any).await.unwrap();
        let mut line: Vec<_> = (0..2).map(|_| Box::pin(gate.pass(1, &any))).collect();
        for waiting in &mut line {
            assert!(waiting.now_or_never().is_none());
        }
        assert!(gate.pass(2, &any).await.is_err());
        line.pop();
        let mut fourth = Box::pin(gate.pass(2, &any));
        assert!(
            (&mut fourth).now_or_never().is_none(),
            "the place is free again"
        );
        drop((inside, line));
        fourth.await.unwrap();
    }

    #[tokio::test]
    async fn a_pass_that_comes_too_late_is_given_to_the_next() {
        let (gate, any) = (Gate::new(1, 1, 100), of("a"));
        let inside = gate.pass(1, &any).await.unwrap();
        let mut left = Box::pin(gate.pass(1, &any));
        assert!((&mut left).now_or_never().is_none());
        let mut next = Box::pin(gate.pass(1, &any));
        assert!((&mut next).now_or_never().is_none());
        drop(inside);
        // This request has been admitted, but has not been polled yet.
        drop(left);
        assert!(next.now_or_never().is_some());
    }

    #[tokio::test]
    async fn owners_without_requests_are_forgotten() {
        let gate = Gate::new(4, 2, 100);
        for owner in 0..1000 {
            drop(gate.pass(owner, &of("a")).await.unwrap());
        }
        assert!(gate.line.lock().owners.is_empty());
    }
}
