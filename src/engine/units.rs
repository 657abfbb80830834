//! Numbers as the protocol has them.

/// A count as the protocol has it; more than that does not fit into memory.
pub(super) fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
