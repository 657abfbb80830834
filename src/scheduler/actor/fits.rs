//! Measures how much memory models would take: for a load, or for a fit question.

use tokio::sync::oneshot;

use super::Actor;
use crate::device::Snapshot;
use crate::protocol::MeasureParams;
use crate::scheduler::event::Message;
use crate::scheduler::fit::{Fit, FitQuestion};
use crate::scheduler::load;
use crate::scheduler::state::{Foreseen, MeasureKey, State};

impl Actor {
    /// Measures a model, or takes the answer from the remembered ones.
    pub(super) fn measure(&self, key: Box<MeasureKey>, params: MeasureParams) {
        let (exe, tasks) = (self.exe.clone(), self.tasks.clone());
        let (memory, messages) = (self.measured.clone(), self.messages.clone());
        let devices = self.gpus.clone().unwrap_or_default();
        self.tasks.spawn(async move {
            let measured = memory.measure(exe, params, devices, &tasks).await;
            let _ = messages.send(Message::Measured { key, measured }).await;
        });
    }

    /// Measures a model as for a load and says where it would go.
    pub(super) fn fit(&self, question: FitQuestion, reply: oneshot::Sender<Fit>) {
        let policy = question.policy(&self.policy);
        let gpus = self.gpus.clone().unwrap_or_default();
        let snapshot = Snapshot::take(&gpus);
        let key = State::measure_key(&question.spec, &policy, &snapshot);
        let Some(params) = key.params(&question.spec, &policy, &snapshot) else {
            return;
        };
        let (exe, tasks) = (self.exe.clone(), self.tasks.clone());
        let (files, messages) = (self.fits.clone(), self.messages.clone());
        self.tasks.spawn(async move {
            let measure = |params| files.measure(exe.clone(), params, gpus.clone(), &tasks);
            let measured = measure(params).await;
            let key = Box::new(key);
            let _ = messages.send(Message::Measured { key, measured }).await;
            let (sender, receiver) = oneshot::channel();
            let ask = Message::Foresee {
                question: Box::new(question.clone()),
                reply: sender,
            };
            let _ = messages.send(ask).await;
            let Ok((foreseen, snapshot)) = receiver.await else {
                return;
            };
            let exact = MeasureParams::new(
                &load::params(&question.spec, &foreseen.plan, &policy),
                vec![foreseen.plan.shape],
            );
            let exact = measure(exact)
                .await
                .and_then(|measured| measured.0.into_iter().next()?);
            let fit = load::fit(&question.spec, &policy, (foreseen, snapshot), exact);
            let _ = reply.send(fit);
        });
    }

    pub(super) fn foresee(
        &self,
        question: &FitQuestion,
        reply: oneshot::Sender<(Foreseen, Snapshot)>,
    ) {
        let policy = question.policy(&self.policy);
        let snapshot = Snapshot::take(self.gpus.as_deref().unwrap_or_default());
        if let Some(foreseen) = self.state.foresee(&question.spec, &policy, &snapshot) {
            let _ = reply.send((foreseen, snapshot));
        }
    }
}
