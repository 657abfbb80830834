//! Instruction sets: those that llama.cpp uses, and those that only the CPU has.

/// The checked sets: llama.cpp's name and the kernel's. A build without one of these is slower.
const SETS: &[(&str, &str)] = &[
    ("AVX", "avx"),
    ("F16C", "f16c"),
    ("FMA", "fma"),
    ("BMI2", "bmi2"),
    ("AVX2", "avx2"),
    ("AVX_VNNI", "avx_vnni"),
    ("AVX512", "avx512f"),
    ("AVX512_VBMI", "avx512vbmi"),
    ("AVX512_VNNI", "avx512_vnni"),
    ("AVX512_BF16", "avx512_bf16"),
    ("AMX_INT8", "amx_int8"),
    ("NEON", "asimd"),
    ("FP16_VA", "asimdhp"),
    ("DOTPROD", "asimddp"),
    ("MATMUL_INT8", "i8mm"),
    ("SVE", "sve"),
    ("SME", "sme"),
];

/// The first set replaces the second.
const BETTER: (&str, &str) = ("AVX512_VNNI", "AVX_VNNI");

/// Instruction sets by llama.cpp's names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstructionSets {
    /// The sets that this build of llama.cpp uses on this machine.
    pub used: Vec<String>,
    /// Further sets that the CPU has.
    pub unused: Vec<String>,
}

impl InstructionSets {
    /// Compares what llama.cpp uses with what the kernel reports about this machine's CPU.
    pub fn of_this_machine(used: Vec<String>) -> Self {
        let known = fs_err::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self::of(used, &known)
    }

    fn of(used: Vec<String>, cpuinfo: &str) -> Self {
        let flags = cpuinfo.lines().find_map(|line| {
            let (name, flags) = line.split_once(':')?;
            ["flags", "Features"]
                .contains(&name.trim())
                .then_some(flags)
        });
        let flags: Vec<&str> = flags.unwrap_or_default().split_whitespace().collect();
        let is_used = |name: &str| used.iter().any(|used| used == name);
        let is_unused = |name: &str, flag: &str| {
            flags.contains(&flag) && !is_used(name) && !(name == BETTER.1 && is_used(BETTER.0))
        };
        let unused = SETS.iter().filter(|(name, flag)| is_unused(name, flag));
        let unused = unused.map(|(name, _)| (*name).to_owned()).collect();
        Self { used, unused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unused(used: &str, flags: &str) -> String {
        let used = used.split_whitespace().map(str::to_owned).collect();
        let cpuinfo = format!("processor\t: 0\n{flags}\n\nprocessor\t: 1\nflags\t\t: sve\n");
        InstructionSets::of(used, &cpuinfo).unused.join(" ")
    }

    #[test]
    fn what_only_the_cpu_has_is_unused() {
        let zen = "flags\t\t: fpu sse3 avx f16c fma bmi2 avx2 avx512f avx512vbmi avx512_vnni";
        assert_eq!(
            unused("SSE3 AVX AVX2 F16C FMA BMI2", zen),
            "AVX512 AVX512_VBMI AVX512_VNNI"
        );
        let all = "AVX AVX2 F16C FMA BMI2 AVX512 AVX512_VBMI AVX512_VNNI";
        assert_eq!(unused(all, zen), "");
        assert_eq!(unused("", "flags\t\t: fpu sse3"), "");
        assert_eq!(unused("NEON", "Features\t: fp asimd asimddp"), "DOTPROD");
        assert_eq!(
            unused("NEON", "no such line"),
            "SVE",
            "the next processor's"
        );
    }

    #[test]
    fn the_narrower_of_two_is_not_missed() {
        let both = "flags\t\t: avx_vnni avx512_vnni";
        assert_eq!(unused("AVX512_VNNI", both), "");
        assert_eq!(unused("AVX2", both), "AVX_VNNI AVX512_VNNI");
    }
}
