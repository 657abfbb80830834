//! How the C library keeps the daemon's memory.

/// Arenas of the allocator. It makes up to eight for each core else, and each keeps what the largest
/// bodies took that were read in it: 160 MiB after some thousands of requests, 56 with two. The daemon
/// allocates little for each token, so that threads seldom wait for one another here.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: i32 = 2;

/// Limits what a long day leaves behind; to be called before there are threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the allocator's settings have no safe way")]
pub(super) fn limit_arenas() {
    // SAFETY: it changes a setting under the allocator's own lock. Where it fails, nothing changes.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn limit_arenas() {}
