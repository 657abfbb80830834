//! seccomp: which system calls are refused.
//!
//! A list of refused calls, not of allowed ones: GPU drivers need many calls, and different ones with every
//! version. Refused are calls that reach out of the process: to the network, to programs, to other processes,
//! to the machine.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// The bit in a call number that selects the same call in the x32 ABI.
const X32: i64 = 0x4000_0000;

macro_rules! calls {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name))),*] };
}

/// Calls that are refused and reported ([`super::trap`]).
pub(super) const REFUSED: &[(i64, &str)] = calls! {
    // The network. The channel to the daemon is an existing socket.
    SYS_socket SYS_socketpair SYS_connect SYS_bind SYS_listen SYS_accept SYS_accept4
    // Programs and processes.
    SYS_execve SYS_execveat SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev
    SYS_kill SYS_pidfd_open SYS_pidfd_getfd SYS_pidfd_send_signal SYS_process_madvise
    // Namespaces and mounts.
    SYS_unshare SYS_setns SYS_chroot SYS_pivot_root SYS_mount SYS_umount2 SYS_move_mount
    SYS_open_tree SYS_fsopen SYS_fsconfig SYS_fsmount SYS_fspick SYS_mount_setattr
    SYS_name_to_handle_at SYS_open_by_handle_at
    // Other users.
    SYS_setuid SYS_setgid SYS_setreuid SYS_setregid SYS_setresuid SYS_setresgid SYS_setgroups
    SYS_setfsuid SYS_setfsgid SYS_capset
    // Wide parts of the kernel that computing does not need.
    SYS_bpf SYS_perf_event_open SYS_userfaultfd SYS_io_uring_setup SYS_io_uring_enter
    SYS_io_uring_register SYS_keyctl SYS_add_key SYS_request_key SYS_personality
    SYS_fanotify_init SYS_lookup_dcookie
    // The machine.
    SYS_reboot SYS_swapon SYS_swapoff SYS_kexec_load SYS_init_module SYS_finit_module
    SYS_delete_module SYS_acct SYS_quotactl SYS_syslog SYS_sethostname SYS_setdomainname
    SYS_settimeofday SYS_clock_settime SYS_clock_adjtime SYS_adjtimex SYS_vhangup
};

/// Calls that newer architectures do not have.
#[cfg(target_arch = "x86_64")]
pub(super) const REFUSED_HERE: &[(i64, &str)] = calls! {
    SYS_iopl SYS_ioperm SYS_modify_ldt SYS_kexec_file_load SYS_uselib
};
#[cfg(not(target_arch = "x86_64"))]
pub(super) const REFUSED_HERE: &[(i64, &str)] = &[];

/// New processes are refused without a report: the C library blocks all signals around these calls, and a
/// blocked signal would end the process.
#[cfg(target_arch = "x86_64")]
const PROCESSES: &[i64] = &[libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const PROCESSES: &[i64] = &[];

/// `clone` makes threads; without this flag it makes a process.
const CLONE_THREAD: u64 = libc::CLONE_THREAD.cast_unsigned() as u64;

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;

pub(super) fn limit() -> Result<(), String> {
    for program in programs().map_err(|error| error.to_string())? {
        let applied = seccompiler::apply_filter_all_threads(&program);
        applied.map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn programs() -> Result<[BpfProgram; 3], seccompiler::BackendError> {
    let mut refused = BTreeMap::new();
    for &(number, _) in REFUSED.iter().chain(REFUSED_HERE) {
        refused.insert(number, Vec::new());
        refused.insert(number | X32, Vec::new());
    }
    let mut processes = BTreeMap::new();
    for &number in PROCESSES {
        processes.insert(number, Vec::new());
        processes.insert(number | X32, Vec::new());
    }
    for number in [libc::SYS_clone, libc::SYS_clone | X32] {
        let is_process = SeccompCondition::new(
            0,
            SeccompCmpArgLen::Qword,
            SeccompCmpOp::MaskedEq(CLONE_THREAD),
            0,
        )?;
        processes.insert(number, vec![SeccompRule::new(vec![is_process])?]);
    }
    // The flags of `clone3` are in memory, which a filter cannot read. The C library then uses `clone`.
    let unknown = [libc::SYS_clone3, libc::SYS_clone3 | X32];
    let unknown = unknown.map(|number| (number, Vec::new())).into();
    let program = |rules, action| -> Result<BpfProgram, _> {
        SeccompFilter::new(rules, SeccompAction::Allow, action, ARCH)?.try_into()
    };
    Ok([
        program(refused, SeccompAction::Trap)?,
        program(processes, SeccompAction::Errno(libc::EPERM.cast_unsigned()))?,
        program(unknown, SeccompAction::Errno(libc::ENOSYS.cast_unsigned()))?,
    ])
}

/// The name of a refused call.
pub(super) fn name(number: i64) -> &'static str {
    let mut known = REFUSED.iter().chain(REFUSED_HERE);
    let found = known.find(|(known, _)| *known == number & !X32);
    match found {
        Some((_, name)) => name.strip_prefix("SYS_").unwrap_or(name),
        None => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_have_names_and_the_filters_fit() {
        assert_eq!(name(libc::SYS_execve), "execve");
        assert_eq!(name(libc::SYS_socket | X32), "socket");
        assert_eq!(name(libc::SYS_read), "unknown");
        // The kernel takes 4096 instructions.
        for program in programs().unwrap() {
            assert!((3..4096).contains(&program.len()), "{}", program.len());
        }
    }
}
