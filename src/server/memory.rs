//! Settings of the C library's allocator.

/// The number of allocator arenas. By default there are up to eight for each core, and each keeps the memory of the
/// largest bodies that were read in it: 160 MiB after some thousands of requests; with two arenas, 56. The daemon
/// allocates little per token, so threads seldom wait for each other.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: i32 = 2;

/// Limits the memory that the allocator keeps. Call it before starting threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the allocator's settings have no safe way")]
pub(super) fn limit_arenas() {
    // SAFETY: it changes a setting under the allocator's own lock. If it fails, nothing changes.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn limit_arenas() {}
