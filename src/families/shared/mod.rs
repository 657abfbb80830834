//! What several families use.

pub(super) mod call;
pub(super) mod prompt;
pub(super) mod python;
pub(super) mod tagged;
pub(super) mod xml;
