//! What the sandbox of runners and renderers can do here, and whether running ones are in it.

use procfs::process::Process;

use super::finding::{Finding, Level};
use crate::sandbox::{self, Support};

const CHECK: &str = "sandbox";

/// Checks the kernel and the processes; `is_off` = the service's settings switch the sandbox off.
pub(super) fn finding(is_off: bool) -> Finding {
    if is_off {
        let text = "DROVER_SANDBOX=off: runners can do all that their user can";
        return Finding::bad(CHECK, Level::Warning, text, "systemctl edit drover");
    }
    of(sandbox::support(), &children())
}

/// For each child process of a daemon that this user may inspect: whether it is in the sandbox.
fn children() -> Vec<bool> {
    let Ok(processes) = procfs::process::all_processes() else {
        return Vec::new();
    };
    let confined = |process: Process| {
        let command = process.cmdline().ok()?;
        let role = command.get(1).filter(|_| command.len() == 2)?;
        let is_ours = command.first()?.rsplit('/').next()?.starts_with("drover");
        if !is_ours || !matches!(role.as_str(), "runner" | "renderer") {
            return None;
        }
        // 2 = with a seccomp filter.
        Some(process.status().ok()?.seccomp == Some(2))
    };
    processes.flatten().filter_map(confined).collect()
}

fn of(support: Support, children: &[bool]) -> Finding {
    let files = match support.landlock {
        0 => "no Landlock: runners can open all files of their user",
        1..=3 => "Landlock for files",
        4..=5 => "Landlock for files and TCP",
        _ => "Landlock for files, TCP and signals",
    };
    let calls = if support.seccomp {
        "seccomp against sockets, programs and mounts"
    } else {
        "no seccomp: runners can make all system calls"
    };
    let n_confined = children.iter().filter(|is_confined| **is_confined).count();
    let n = children.len();
    let running = match n {
        0 => String::new(),
        _ => format!("; {n_confined} of {n} child processes are in the sandbox"),
    };
    let text = format!("the kernel has {files}, {calls}{running}");
    if support.landlock == 0 || !support.seccomp {
        let fix = "a kernel of 5.13 or later, with landlock among the modules of lsm=";
        return Finding::bad(CHECK, Level::Warning, text, fix);
    }
    if n_confined < n {
        // A runner that is still loading enters it later.
        let fix = "journalctl -u drover | grep sandbox";
        return Finding::bad(CHECK, Level::Warning, text, fix);
    }
    Finding::ok(CHECK, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_a_warning() {
        let all = Support {
            landlock: 6,
            seccomp: true,
        };
        let fine = of(all, &[true, true]);
        assert_eq!(fine.level, Level::Ok);
        assert!(
            fine.text
                .ends_with("2 of 2 child processes are in the sandbox")
        );
        assert_eq!(of(all, &[]).level, Level::Ok);
        assert_eq!(of(all, &[true, false]).level, Level::Warning);
        let old = Support {
            landlock: 0,
            seccomp: true,
        };
        let found = of(old, &[true]);
        assert_eq!(found.level, Level::Warning);
        assert!(found.text.contains("no Landlock"), "{found:?}");
        assert_eq!(finding(true).level, Level::Warning);
    }
}
