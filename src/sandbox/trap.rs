//! Handles a refused system call: reports it on standard error, and makes it fail with EPERM.
//!
//! The kernel sends SIGSYS in place of the call. No safe interface lets a handler set the call's result, so
//! this is one of the few places with `unsafe` code.
#![expect(
    unsafe_code,
    reason = "a signal handler that sets the result of a system call"
)]

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use super::calls;

/// How often calls were refused; the more there are, the fewer are reported.
static N_REFUSED: AtomicU32 = AtomicU32::new(0);

/// This many are reported one by one.
const TOLD: u32 = 16;

pub(super) fn install() -> io::Result<()> {
    // SAFETY: an all-zero `sigaction` is a valid one (no flags, an empty mask).
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = refused;
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    // SAFETY: the handler has the signature that SA_SIGINFO asks for, and `action` is initialized.
    let result = unsafe { libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Runs in the thread that made the call. It allocates nothing and takes no lock.
extern "C" fn refused(
    _signal: libc::c_int,
    _info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: with SA_SIGINFO the kernel passes the thread's context, which is ours alone until the return.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let number = number(context);
    set_result(context, -i64::from(libc::EPERM));
    let n = N_REFUSED.fetch_add(1, Ordering::Relaxed).saturating_add(1);
    if n > TOLD && !n.is_power_of_two() {
        return;
    }
    let mut line = [0; 96];
    let mut length = 0;
    for part in [
        "W the sandbox refused a system call: ",
        calls::name(number),
        "\n",
    ] {
        for &byte in part.as_bytes() {
            if let Some(place) = line.get_mut(length) {
                *place = byte;
                length += 1;
            }
        }
    }
    // SAFETY: the buffer is valid for `length` bytes; `write` may be called in a handler. What it sets in
    // `errno` is set again by the refused call's wrapper.
    unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), length) };
}

#[cfg(target_arch = "x86_64")]
const RAX: usize = libc::REG_RAX.cast_unsigned() as usize;

/// The number of the call: the kernel has put it back where the caller had it.
#[cfg(target_arch = "x86_64")]
fn number(context: &libc::ucontext_t) -> i64 {
    context.uc_mcontext.gregs[RAX]
}

#[cfg(target_arch = "x86_64")]
fn set_result(context: &mut libc::ucontext_t, result: i64) {
    context.uc_mcontext.gregs[RAX] = result;
}

#[cfg(target_arch = "aarch64")]
fn number(context: &libc::ucontext_t) -> i64 {
    context.uc_mcontext.regs[8].cast_signed()
}

#[cfg(target_arch = "aarch64")]
fn set_result(context: &mut libc::ucontext_t, result: i64) {
    context.uc_mcontext.regs[0] = result.cast_unsigned();
}
