//! Landlock: which files a thread can open.

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, NetPort, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};

use super::Files;

/// The newest version whose rights we know to be safe to restrict; older kernels enforce a part of them.
const KNOWN: ABI = ABI::V6;

pub(super) fn limit(files: &Files) -> Result<(), String> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    // The process never starts programs and never makes devices.
    let write = AccessFs::from_all(KNOWN)
        & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeSock);
    let ports = files.connect.iter();
    let connect =
        ports.map(|&port| Ok::<_, RulesetError>(NetPort::new(port, AccessNet::ConnectTcp)));
    let limited = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(KNOWN)))
        .and_then(|rules| rules.scope(Scope::from_all(KNOWN)))
        .and_then(|rules| rules.create())
        .and_then(|rules| rules.add_rules(path_beneath_rules(&files.read, read)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(&files.write, write)))
        .and_then(|rules| rules.add_rules(connect))
        .and_then(|rules| rules.restrict_self());
    match limited {
        Ok(status) if status.ruleset == RulesetStatus::NotEnforced => {
            Err("the kernel has no Landlock".to_owned())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// The Landlock version that the kernel supports, at most the one that we use; 0 = none.
pub(super) fn version() -> i32 {
    let files = |version: ABI| {
        let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let rules = rules.handle_access(AccessFs::from_all(version));
        rules.and_then(|rules| rules.create()).is_ok()
    };
    let ports = || {
        let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let rules = rules.handle_access(AccessNet::from_all(ABI::V4));
        rules.and_then(|rules| rules.create()).is_ok()
    };
    let scopes = || {
        let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let rules = rules.scope(Scope::from_all(ABI::V6));
        rules.and_then(|rules| rules.create()).is_ok()
    };
    let known = [
        files(ABI::V1),
        files(ABI::V2),
        files(ABI::V3),
        ports(),
        files(ABI::V5),
        scopes(),
    ];
    let n = known.iter().take_while(|is_known| **is_known).count();
    i32::try_from(n).unwrap_or_default()
}
