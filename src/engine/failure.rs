//! How a request fails.

use crate::protocol::{Failure, FailureKind};

pub(super) fn failure(kind: FailureKind, message: &str) -> Failure {
    Failure {
        kind,
        message: message.to_owned(),
    }
}
