//! Predicts where a model would be loaded and which models would be unloaded, without doing it.

use super::State;
use super::entry::Entry;
use super::measure::MeasureKey;
use crate::config::KeepAlive;
use crate::device::Snapshot;
use crate::scheduler::ModelSpec;
use crate::scheduler::evict::{self, Candidate};
use crate::scheduler::fit::Choice;
use crate::scheduler::placement::{self, LoadPlan, Policy, Request};

/// The numbers of slots to consider.
const SLOTS: [u32; 5] = [1, 2, 4, 8, 16];

/// What would happen.
#[derive(Debug)]
pub(in crate::scheduler) struct Foreseen {
    pub(in crate::scheduler) plan: LoadPlan,
    pub(in crate::scheduler) evicted: Vec<String>,
    pub(in crate::scheduler) is_loaded: bool,
    pub(in crate::scheduler) choices: Vec<Choice>,
}

impl State {
    /// Plans a load in the present memory, dropping other models one by one as far as needed.
    pub(in crate::scheduler) fn foresee(
        &self,
        spec: &ModelSpec,
        policy: &Policy,
        snapshot: &Snapshot,
    ) -> Option<Foreseen> {
        let residents = self.entries.iter().filter(|entry| entry.is_resident());
        let (own, mut others): (Vec<&Entry>, Vec<&Entry>) =
            residents.partition(|entry| entry.serves(spec));
        let mut evicted = Vec::new();
        let plan = loop {
            let free = self.free_beside(snapshot, &others);
            let request = self.question(spec, policy, others.is_empty());
            if let Some(plan) = placement::plan(&request, &free) {
                break plan;
            }
            let candidates: Vec<Candidate> = others.iter().copied().map(candidate).collect();
            let victim = evict::choose(&candidates)?;
            let position = others.iter().position(|entry| entry.id == victim.entry)?;
            evicted.push(others.remove(position).spec.name.short());
        };
        let free = self.free_beside(snapshot, &[]);
        let choices = SLOTS.into_iter().filter_map(|n_slots| {
            let policy = Policy {
                num_parallel: n_slots,
                ..policy.clone()
            };
            let plan = placement::plan(&self.question(spec, &policy, true), &free)?;
            Some(Choice {
                n_slots,
                n_ctx_most: plan.n_ctx_most,
                is_whole: plan.n_gpu_layers < 0 && plan.n_cpu_moe == 0,
            })
        });
        Some(Foreseen {
            plan,
            evicted,
            is_loaded: !own.is_empty(),
            choices: choices.collect(),
        })
    }

    pub(super) fn question<'a>(
        &'a self,
        spec: &'a ModelSpec,
        policy: &'a Policy,
        must: bool,
    ) -> Request<'a> {
        Request {
            spec,
            policy,
            measurement: self.measurement(spec, policy),
            reserved_bytes: 0,
            must,
        }
    }

    /// The measurement that this needs.
    pub(in crate::scheduler) fn measure_key(
        spec: &ModelSpec,
        policy: &Policy,
        snapshot: &Snapshot,
    ) -> MeasureKey {
        let on_gpu = spec.options.num_gpu != 0 && !snapshot.gpus.is_empty();
        MeasureKey::new(spec, on_gpu, policy)
    }
}

pub(super) fn candidate(entry: &Entry) -> Candidate {
    Candidate {
        entry: entry.id,
        idle: entry.is_idle(),
        pinned: entry.keep_alive == KeepAlive::Forever,
        last_used: entry.last_used,
    }
}
