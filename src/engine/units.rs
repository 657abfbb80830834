//! Numbers as the protocol represents them.

/// A count as the protocol represents it; larger counts would not fit into memory.
pub(super) fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
