//! The context of every use case.

use std::sync::Arc;

use super::chat_format::ChatFormats;
use super::files::Files;
use crate::keys::Keys;
use crate::scheduler::SchedulerHandle;
use crate::store::Store;
use crate::workers::Workers;

/// The parts of the daemon that use cases need; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) store: Store,
    pub(super) scheduler: SchedulerHandle,
    pub(super) formats: Arc<ChatFormats>,
    pub(super) files: Arc<Files>,
    pub(super) workers: Workers,
    pub(super) keys: Keys,
}
