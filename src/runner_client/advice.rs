//! Advice for errors of GPU drivers, whose own messages seldom say what helps.

/// Parts of the CUDA runtime's messages (`cudaGetErrorString`), and what helps.
const KNOWN: [(&str, &str); 6] = [
    (
        "no kernel image is available",
        "this build has no code for this card: build it with `packaging/build-release --cuda-architectures` for it",
    ),
    (
        "driver version is insufficient",
        "the NVIDIA driver is older than this build needs: update it",
    ),
    (
        "busy or unavailable",
        "another program has the card for itself: `nvidia-smi` names it and the compute mode",
    ),
    (
        "no CUDA-capable device is detected",
        "the driver sees no card: `drover doctor` says why",
    ),
    (
        "unknown error",
        "after suspend the driver often has to be loaded again: `rmmod nvidia_uvm && modprobe nvidia_uvm`",
    ),
    (
        "uncorrectable ECC error",
        "the card's memory is damaged or was disturbed: `nvidia-smi -q -d ECC` says more, a restart may help",
    ),
];

/// Returns what helps against an error of a GPU driver; `None` if it is another error, or no advice is known.
pub(super) fn advice(error: &str) -> Option<&'static str> {
    let known = KNOWN.iter().find(|(part, _)| error.contains(part));
    known
        .filter(|_| is_of_driver(error))
        .map(|(_, advice)| *advice)
}

/// Whether llama.cpp reports an error of a GPU driver with this line.
pub(super) fn is_of_driver(line: &str) -> bool {
    ["CUDA error: ", "ROCm error: "]
        .iter()
        .any(|head| line.contains(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_drivers_have_advice() {
        let error = "CUDA error: no kernel image is available for execution on the device";
        assert!(advice(error).unwrap().contains("--cuda-architectures"));
        let error = "CUDA error: CUDA driver version is insufficient for CUDA runtime version";
        assert!(advice(error).unwrap().contains("update"));
        assert_eq!(advice("unknown error"), None);
        assert_eq!(advice("CUDA error: out of memory"), None);
    }
}
