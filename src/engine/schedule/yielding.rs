//! Batch jobs beside interactive requests: they run only as far as interactive requests are hardly delayed.
//!
//! While an interactive sequence runs, jobs' decode rows join a call only if that makes it hardly longer, by
//! measured times. Their prompts wait. A call for jobs alone is interrupted when an interactive request arrives
//! ([`Interrupt`](crate::engine::interrupt::Interrupt)), where the device can do that. One call in [`SHARE`]
//! has all pending rows of jobs, so that every job finishes; that is too rare to show in the 99th percentile of
//! the times between tokens.

use super::batch::Pending;
use super::step_times::StepTimes;
use crate::protocol::Priority;

/// The factor by which rows of jobs may make a call longer.
const MOST: f64 = 1.08;

/// One call in this many has everything that jobs have pending.
const SHARE: usize = 128;

/// The longest step of jobs alone while an interactive request is expected, in milliseconds: the request waits
/// for its end or, if the step can be interrupted, its work is lost.
pub(super) fn longest_step_ms(is_interruptible: bool) -> f64 {
    if is_interruptible { 1000.0 } else { 100.0 }
}

/// For how long after an interactive request the next one is expected.
pub(in crate::engine) const EXPECTED_BACK: std::time::Duration =
    std::time::Duration::from_secs(300);

/// Leaves out the jobs' work that must wait; nothing if the call `is_for_all`.
pub(in crate::engine) fn beside_people(
    mut pending: Vec<Pending>,
    times: &StepTimes,
    is_for_all: bool,
) -> Vec<Pending> {
    let is_person = |pending: &Pending| pending.priority == Priority::Interactive;
    let n_people = pending.iter().filter(|pending| is_person(pending)).count();
    if n_people == 0 || n_people == pending.len() || is_for_all {
        return pending;
    }
    let mut people = pending.iter().filter(|pending| is_person(pending));
    // A call with an interactive prompt is long enough.
    let n_rows = if people.all(|person| person.is_decoding) {
        let jobs = pending.iter().filter(|pending| !is_person(pending));
        free_rows(n_people, jobs.filter(|job| job.is_decoding).count(), times)
    } else {
        0
    };
    // Always the same jobs, the oldest, so that they finish.
    pending.sort_by_key(|pending| pending.order);
    let mut n_left = n_rows;
    pending.retain(|pending| {
        let runs = is_person(pending) || pending.is_decoding && n_left > 0;
        n_left -= usize::from(runs && !is_person(pending));
        runs
    });
    pending
}

/// Whether all pending work of jobs goes into this call.
pub(super) fn is_for_all(call: usize) -> bool {
    call.is_multiple_of(SHARE)
}

/// How many of `n_most` more rows make a call of `n` rows hardly longer.
fn free_rows(n: usize, n_most: usize, times: &StepTimes) -> usize {
    let Some(alone) = times.expected(n).filter(|_| times.known(n).is_some()) else {
        // It has to be measured first.
        return 0;
    };
    let is_free = |more: &usize| {
        let together = times.expected(n + more);
        together.is_some_and(|together| together <= alone * MOST)
    };
    (0..=n_most).rev().find(is_free).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(slot: usize, priority: Priority, is_decoding: bool) -> Pending {
        Pending {
            slot,
            n_tokens: if is_decoding { 1 } else { 50 },
            is_decoding,
            priority,
            order: 10 - slot as u64,
        }
    }

    fn slots(pending: Vec<Pending>, times: &StepTimes, call: usize) -> Vec<usize> {
        let mut slots: Vec<usize> = beside_people(pending, times, is_for_all(call))
            .iter()
            .map(|pending| pending.slot)
            .collect();
        slots.sort_unstable();
        slots
    }

    #[test]
    fn jobs_run_beside_people_as_far_as_that_is_free() {
        use Priority::{Batch, Interactive};
        let mixed = || {
            vec![
                pending(0, Interactive, true),
                pending(1, Batch, true),
                pending(2, Batch, true),
                pending(3, Batch, false),
            ]
        };
        let gpu = StepTimes::all(|_| 10.0);
        let cpu = StepTimes::all(|n_rows| 10.0 * f64::from(u32::try_from(n_rows).unwrap()));
        let between = StepTimes::all(|n_rows| if n_rows < 3 { 10.0 } else { 20.0 });
        assert_eq!(slots(mixed(), &gpu, 1), [0, 1, 2]);
        assert_eq!(slots(mixed(), &cpu, 1), [0]);
        // The oldest one.
        assert_eq!(slots(mixed(), &between, 1), [0, 2]);
        assert_eq!(slots(mixed(), &StepTimes::default(), 1), [0]);
        // Their share.
        assert_eq!(slots(mixed(), &cpu, SHARE), [0, 1, 2, 3]);
        // An interactive request waits for its first token.
        let mut asking = mixed();
        asking[0] = pending(0, Interactive, false);
        assert_eq!(slots(asking, &gpu, 1), [0]);
        let jobs = mixed().split_off(1);
        assert_eq!(slots(jobs, &cpu, 1), [1, 2, 3]);
    }
}
