//! Requests that wait for a slot: priority classes, and clients in turn within a class.
//!
//! *Promises:* a client's own requests keep their order; a client with a hundred requests does
//! not push another back by more than one turn; batch jobs get every twentieth turn however busy
//! the interactive class is.

use std::collections::VecDeque;

use crate::protocol::Priority;

/// Interactive turns in a row while a batch job waits.
const TURNS_BEFORE_BATCH: u32 = 19;

/// A queue with two classes.
#[derive(Debug)]
pub(super) struct Admission<T> {
    interactive: Class<T>,
    batch: Class<T>,
    /// Interactive turns since the last batch turn that a batch job waited through.
    passed_over: u32,
}

#[derive(Debug)]
struct Class<T> {
    /// Those that ran already and were put back: before all others.
    returned: VecDeque<T>,
    /// The client whose turn it is comes first; none is empty.
    clients: VecDeque<(String, VecDeque<T>)>,
}

impl<T> Default for Admission<T> {
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
            clients: VecDeque::new(),
        }
    }
}

impl<T> Admission<T> {
    /// Queues a request behind its client's others.
    pub(super) fn push(&mut self, priority: Priority, client: &str, item: T) {
        let class = self.class_mut(priority);
        match class.clients.iter_mut().find(|(name, _)| name == client) {
            Some((_, queue)) => queue.push_back(item),
            None => class
                .clients
                .push_back((client.to_owned(), VecDeque::from([item]))),
        }
    }

    /// Queues a request that has run already, before all others of its class.
    pub(super) fn put_back(&mut self, priority: Priority, item: T) {
        self.class_mut(priority).returned.push_front(item);
    }

    /// The request whose turn it is, and its class.
    pub(super) fn next(&self) -> Option<(Priority, &T)> {
        let priority = self.turn();
        self.class(priority).front().map(|item| (priority, item))
    }

    /// Takes the request that [`Self::next`] shows; its client goes to the end of the line.
    pub(super) fn pop(&mut self) -> Option<T> {
        let priority = self.turn();
        let batch_waits = !self.batch.is_empty();
        let item = self.class_mut(priority).pop()?;
        self.passed_over = match priority {
            Priority::Interactive if batch_waits => self.passed_over + 1,
            _ => 0,
        };
        Some(item)
    }

    /// Takes out the first request that fits.
    pub(super) fn remove(&mut self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let found = self.interactive.remove(&fits);
        found.or_else(|| self.batch.remove(&fits))
    }

    /// Whether an interactive request waits.
    pub(super) fn has_interactive(&self) -> bool {
        !self.interactive.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.interactive.is_empty() && self.batch.is_empty()
    }

    pub(super) fn len(&self) -> usize {
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
        let first = self.clients.front().and_then(|(_, queue)| queue.front());
        self.returned.front().or(first)
    }

    fn pop(&mut self) -> Option<T> {
        if let Some(item) = self.returned.pop_front() {
            return Some(item);
        }
        let (name, mut queue) = self.clients.pop_front()?;
        let item = queue.pop_front();
        if !queue.is_empty() {
            self.clients.push_back((name, queue));
        }
        item
    }

    fn remove(&mut self, fits: impl Fn(&T) -> bool) -> Option<T> {
        if let Some(at) = self.returned.iter().position(&fits) {
            return self.returned.remove(at);
        }
        for index in 0..self.clients.len() {
            let queue = &mut self.clients[index].1;
            if let Some(at) = queue.iter().position(&fits) {
                let item = queue.remove(at);
                if queue.is_empty() {
                    self.clients.remove(index);
                }
                return item;
            }
        }
        None
    }

    fn is_empty(&self) -> bool {
        self.returned.is_empty() && self.clients.is_empty()
    }

    fn len(&self) -> usize {
        let waiting = self.clients.iter().map(|(_, queue)| queue.len());
        self.returned.len() + waiting.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut Admission<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn a_second_client_waits_for_one_turn_not_for_a_hundred() {
        let mut queue = Admission::default();
        for item in 0..100 {
            queue.push(Priority::Interactive, "greedy", item);
        }
        queue.push(Priority::Interactive, "modest", 1000);
        let order = drain(&mut queue);
        assert_eq!(order[..3], [0, 1000, 1]);
        assert_eq!(order.len(), 101);
    }

    #[test]
    fn interactive_goes_first_but_batch_jobs_are_not_starved() {
        let mut queue = Admission::default();
        queue.push(Priority::Batch, "job", 1000);
        for item in 0..50 {
            queue.push(Priority::Interactive, "chat", item);
        }
        let order = drain(&mut queue);
        assert_eq!(order.iter().position(|&item| item == 1000), Some(19));
    }

    #[test]
    fn what_was_put_back_comes_before_the_others_of_its_class() {
        let mut queue = Admission::default();
        queue.push(Priority::Interactive, "a", 1);
        queue.push(Priority::Batch, "b", 2);
        queue.put_back(Priority::Batch, 3);
        assert_eq!(drain(&mut queue), [1, 3, 2]);
    }

    #[test]
    fn a_cancelled_request_leaves_and_the_order_stays() {
        let mut queue = Admission::default();
        for (client, item) in [("a", 1), ("b", 2), ("a", 3)] {
            queue.push(Priority::Interactive, client, item);
        }
        assert_eq!(queue.remove(|&item| item == 2), Some(2));
        assert_eq!(queue.remove(|&item| item == 2), None);
        assert_eq!((queue.len(), drain(&mut queue)), (2, vec![1, 3]));
        assert!(queue.is_empty());
    }
}
