//! The queue of requests for a slot or a worker: priority classes, and round-robin between clients within a
//! class.
//!
//! A client is `ORIGIN/NAME/REQUEST`: origins take turns, then the names of one origin (so that making up
//! names gains nothing), then the requests of one name, each of which may have many choices or embeddings.
//!
//! *Promises:* a client's requests keep their order. An origin with a hundred requests delays another one
//! by at most one turn, and so does a request with a hundred choices. Batch jobs get every twentieth turn,
//! however busy the interactive class is. The queue has no limit of its own: the daemon's limit on requests
//! bounds it.

use std::collections::VecDeque;

use crate::protocol::Priority;

/// Interactive turns in a row while a batch job waits.
const TURNS_BEFORE_BATCH: u32 = 19;

/// A queue with two classes.
#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    interactive: Class<T>,
    batch: Class<T>,
    /// Interactive turns since the last batch turn, counted while a batch job waits.
    passed_over: u32,
}

#[derive(Debug)]
struct Class<T> {
    /// Preempted requests, which come first.
    returned: VecDeque<T>,
    origins: Turns<Turns<Turns<VecDeque<T>>>>,
}

/// Queues that take turns, by name. The first one is next; none is empty.
#[derive(Debug)]
struct Turns<L>(VecDeque<(String, L)>);

/// An entry of a queue.
trait Line<T> {
    /// Takes the first item; the queue that it came from goes to the end.
    fn pop(&mut self) -> Option<T>;
    fn front(&self) -> Option<&T>;
    /// Like `pop`, for the first item that fits among those at the front of the queues.
    fn pop_where(&mut self, fits: &impl Fn(&T) -> bool) -> Option<T>;
    /// Removes the first item that fits.
    fn remove(&mut self, fits: &impl Fn(&T) -> bool) -> Option<T>;
    /// Removes all items that do not fit.
    fn retain(&mut self, fits: &impl Fn(&T) -> bool);
    /// How many items are taken before the first one that fits, if no items are added or removed.
    fn n_before(&self, fits: &impl Fn(&T) -> bool) -> Option<usize>;
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool;
}

impl<T> Line<T> for VecDeque<T> {
    fn n_before(&self, fits: &impl Fn(&T) -> bool) -> Option<usize> {
        self.iter().position(fits)
    }

    fn pop(&mut self) -> Option<T> {
        self.pop_front()
    }

    fn front(&self) -> Option<&T> {
        self.front()
    }

    fn pop_where(&mut self, fits: &impl Fn(&T) -> bool) -> Option<T> {
        self.pop_front_if(|item| fits(item))
    }

    fn remove(&mut self, fits: &impl Fn(&T) -> bool) -> Option<T> {
        let at = self.iter().position(fits)?;
        self.remove(at)
    }

    fn retain(&mut self, fits: &impl Fn(&T) -> bool) {
        self.retain(fits);
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl<L> Default for Turns<L> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<L: Default> Turns<L> {
    /// The queue of a name; the caller must add something to it.
    fn of(&mut self, name: &str) -> &mut L {
        let known = self.0.iter().position(|(known, _)| known == name);
        let at = known.unwrap_or_else(|| {
            self.0.push_back((name.to_owned(), L::default()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }
}

impl<T, L: Line<T>> Line<T> for Turns<L> {
    fn n_before(&self, fits: &impl Fn(&T) -> bool) -> Option<usize> {
        let mut lines = self.0.iter().enumerate();
        let (at, turns) = lines.find_map(|(at, (_, line))| Some((at, line.n_before(fits)?)))?;
        // In each round, the queues in front of it come first.
        let others = self.0.iter().enumerate().filter(|(other, _)| *other != at);
        let of_others =
            others.map(|(other, (_, line))| line.len().min(turns + usize::from(other < at)));
        Some(turns + of_others.sum::<usize>())
    }

    fn pop(&mut self) -> Option<T> {
        let (name, mut line) = self.0.pop_front()?;
        let item = line.pop();
        if !line.is_empty() {
            self.0.push_back((name, line));
        }
        item
    }

    fn front(&self) -> Option<&T> {
        self.0.front().and_then(|(_, line)| line.front())
    }

    fn pop_where(&mut self, fits: &impl Fn(&T) -> bool) -> Option<T> {
        let mut lines = self.0.iter_mut().enumerate();
        let (at, item) = lines.find_map(|(at, (_, line))| Some((at, line.pop_where(fits)?)))?;
        let line = self.0.remove(at);
        self.0.extend(line.filter(|(_, line)| !line.is_empty()));
        Some(item)
    }

    fn remove(&mut self, fits: &impl Fn(&T) -> bool) -> Option<T> {
        let mut lines = self.0.iter_mut().enumerate();
        let (at, item) = lines.find_map(|(at, (_, line))| Some((at, line.remove(fits)?)))?;
        if self.0[at].1.is_empty() {
            self.0.remove(at);
        }
        Some(item)
    }

    fn retain(&mut self, fits: &impl Fn(&T) -> bool) {
        self.0.retain_mut(|(_, line)| {
            line.retain(fits);
            !line.is_empty()
        });
    }

    fn len(&self) -> usize {
        self.0.iter().map(|(_, line)| line.len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self {
            interactive: Class::default(),
            batch: Class::default(),
            passed_over: 0,
        }
    }
}

impl<T> Default for Class<T> {
    fn default() -> Self {
        Self {
            returned: VecDeque::new(),
            origins: Turns::default(),
        }
    }
}

impl<T> FairQueue<T> {
    /// Queues a request behind its client's other requests.
    pub(crate) fn push(&mut self, priority: Priority, client: &str, item: T) {
        let mut parts = client.splitn(3, '/').chain(std::iter::repeat(""));
        let mut line = || parts.next().unwrap_or_default();
        let origins = &mut self.class_mut(priority).origins;
        let requests = origins.of(line()).of(line());
        requests.of(line()).push_back(item);
    }

    /// Queues a preempted request, before all others of its class.
    pub(crate) fn put_back(&mut self, priority: Priority, item: T) {
        self.class_mut(priority).returned.push_front(item);
    }

    /// The request whose turn it is, and its class.
    pub(crate) fn next(&self) -> Option<(Priority, &T)> {
        let priority = self.turn();
        self.class(priority).front().map(|item| (priority, item))
    }

    /// Takes the request that [`Self::next`] shows; its client goes to the end of the queue.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let priority = self.turn();
        let batch_waits = !self.batch.is_empty();
        let item = self.class_mut(priority).pop()?;
        self.passed_over = match priority {
            Priority::Interactive if batch_waits => self.passed_over + 1,
            _ => 0,
        };
        Some(item)
    }

    /// Takes the first request that fits among the clients' first requests, in their turn; interactive ones first.
    pub(crate) fn pop_where(&mut self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let found = self.interactive.pop_where(&fits);
        found.or_else(|| self.batch.pop_where(&fits))
    }

    /// Removes the first request that fits.
    pub(crate) fn remove(&mut self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let found = self.interactive.remove(&fits);
        found.or_else(|| self.batch.remove(&fits))
    }

    /// Removes all requests that do not fit.
    pub(crate) fn retain(&mut self, fits: impl Fn(&T) -> bool) {
        self.interactive.retain(&fits);
        self.batch.retain(&fits);
    }

    /// How many requests are taken before the first one that fits, if no requests are added or removed. (The few turns
    /// of batch jobs among interactive ones are ignored.)
    pub(crate) fn n_before(&self, fits: impl Fn(&T) -> bool) -> Option<usize> {
        let of_batch = || Some(self.interactive.len() + self.batch.n_before(&fits)?);
        self.interactive.n_before(&fits).or_else(of_batch)
    }

    /// Whether an interactive request waits.
    pub(crate) fn has_interactive(&self) -> bool {
        !self.interactive.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.interactive.is_empty() && self.batch.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.interactive.len() + self.batch.len()
    }

    /// The class whose turn it is.
    fn turn(&self) -> Priority {
        let batch_turn = self.passed_over >= TURNS_BEFORE_BATCH && !self.batch.is_empty();
        if self.interactive.is_empty() || batch_turn {
            Priority::Batch
        } else {
            Priority::Interactive
        }
    }

    fn class(&self, priority: Priority) -> &Class<T> {
        match priority {
            Priority::Interactive => &self.interactive,
            Priority::Batch => &self.batch,
        }
    }

    fn class_mut(&mut self, priority: Priority) -> &mut Class<T> {
        match priority {
            Priority::Interactive => &mut self.interactive,
            Priority::Batch => &mut self.batch,
        }
    }
}

impl<T> Class<T> {
    fn front(&self) -> Option<&T> {
        self.returned.front().or_else(|| self.origins.front())
    }

    fn pop(&mut self) -> Option<T> {
        self.returned.pop_front().or_else(|| self.origins.pop())
    }

    fn pop_where(&mut self, fits: impl Fn(&T) -> bool) -> Option<T> {
        self.origins.pop_where(&fits)
    }

    fn remove(&mut self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let returned = Line::remove(&mut self.returned, &fits);
        returned.or_else(|| self.origins.remove(&fits))
    }

    fn retain(&mut self, fits: impl Fn(&T) -> bool) {
        Line::retain(&mut self.returned, &fits);
        self.origins.retain(&fits);
    }

    fn n_before(&self, fits: &impl Fn(&T) -> bool) -> Option<usize> {
        let of_origins = || Some(self.returned.len() + self.origins.n_before(fits)?);
        Line::n_before(&self.returned, fits).or_else(of_origins)
    }

    fn is_empty(&self) -> bool {
        self.returned.is_empty() && self.origins.is_empty()
    }

    fn len(&self) -> usize {
        self.returned.len() + self.origins.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut FairQueue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn a_place_is_the_number_of_those_who_go_before() {
        let mut queue = FairQueue::default();
        let clients = [
            "a/x/1", "a/x/1", "a/x/2", "b/y/3", "b/z/4", "c/w/5", "a/v/6", "a/x/1",
        ];
        for (item, client) in clients.into_iter().enumerate() {
            queue.push(Priority::Interactive, client, item);
        }
        queue.push(Priority::Batch, "a/x/9", 8);
        queue.put_back(Priority::Interactive, 9);
        assert_eq!(queue.n_before(|_| false), None);
        let n_items = queue.len();
        let places: Vec<_> = (0..n_items)
            .map(|item| queue.n_before(|&known| known == item).unwrap())
            .collect();
        let order: Vec<usize> = std::iter::from_fn(|| queue.pop()).collect();
        for (item, place) in places.into_iter().enumerate() {
            assert_eq!(order[place], item, "{order:?}");
        }
    }

    #[test]
    fn a_second_client_waits_for_one_turn_not_for_a_hundred() {
        let mut queue = FairQueue::default();
        for item in 0..100 {
            queue.push(Priority::Interactive, "greedy", item);
        }
        queue.push(Priority::Interactive, "modest", 1000);
        let order = drain(&mut queue);
        assert_eq!(order[..3], [0, 1000, 1]);
        assert_eq!(order.len(), 101);
    }

    #[test]
    fn names_of_one_origin_share_its_turns() {
        let mut queue = FairQueue::default();
        for item in 0..100 {
            let made_up = format!("greedy/{}", item % 50);
            queue.push(Priority::Interactive, &made_up, item);
        }
        for (client, item) in [("modest/a", 1000), ("modest/a", 1001), ("modest/b", 1002)] {
            queue.push(Priority::Interactive, client, item);
        }
        let order = drain(&mut queue);
        assert_eq!(order[..7], [0, 1000, 1, 1002, 2, 1001, 3]);
        assert_eq!(order.len(), 103);
    }

    #[test]
    fn requests_of_one_client_share_its_turns() {
        let mut queue = FairQueue::default();
        for choice in 0..100 {
            queue.push(Priority::Interactive, "a/x/1", choice);
        }
        for request in 2..5 {
            queue.push(
                Priority::Interactive,
                &format!("a/x/{request}"),
                1000 + request,
            );
        }
        let order = drain(&mut queue);
        assert_eq!(order[..6], [0, 1002, 1003, 1004, 1, 2]);
        assert_eq!(order.len(), 103);
    }

    #[test]
    fn who_cannot_go_now_lets_others_pass_and_keeps_its_place() {
        let mut queue = FairQueue::default();
        for (client, item) in [("a/x", 1), ("a/x", 2), ("b/y", 10), ("b/y", 11)] {
            queue.push(Priority::Interactive, client, item);
        }
        assert_eq!(queue.pop_where(|&item| item >= 10), Some(10));
        assert_eq!(queue.pop_where(|_| true), Some(1));
        queue.retain(|&item| item != 2);
        assert_eq!(queue.pop_where(|&item| item < 10), None);
        assert_eq!(drain(&mut queue), [11]);
    }

    #[test]
    fn interactive_goes_first_but_batch_jobs_are_not_starved() {
        let mut queue = FairQueue::default();
        queue.push(Priority::Batch, "job", 1000);
        for item in 0..50 {
            queue.push(Priority::Interactive, "chat", item);
        }
        let order = drain(&mut queue);
        assert_eq!(order.iter().position(|&item| item == 1000), Some(19));
    }

    #[test]
    fn what_was_put_back_comes_before_the_others_of_its_class() {
        let mut queue = FairQueue::default();
        queue.push(Priority::Interactive, "a", 1);
        queue.push(Priority::Batch, "b", 2);
        queue.put_back(Priority::Batch, 3);
        assert_eq!(drain(&mut queue), [1, 3, 2]);
    }

    #[test]
    fn a_cancelled_request_leaves_and_the_order_stays() {
        let mut queue = FairQueue::default();
        for (client, item) in [("a", 1), ("b", 2), ("a", 3)] {
            queue.push(Priority::Interactive, client, item);
        }
        assert_eq!(queue.remove(|&item| item == 2), Some(2));
        assert_eq!(queue.remove(|&item| item == 2), None);
        assert_eq!((queue.len(), drain(&mut queue)), (2, vec![1, 3]));
        assert!(queue.is_empty());
    }
}
