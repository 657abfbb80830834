//! Why a present graphics card cannot be used, and what helps.

use std::path::{Path, PathBuf};

/// NVIDIA's oldest driver for the version of CUDA that releases are built with (13, see `packaging/cuda-toolkit`).
const OLDEST_DRIVER: u32 = 580;

/// PCI vendors whose cards llama.cpp can use.
const NVIDIA: &str = "0x10de";
const AMD: &str = "0x1002";

/// What keeps a card from being used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    pub reason: String,
    pub fix: &'static str,
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} (try: {})", self.reason, self.fix)
    }
}

/// Looks for a card that llama.cpp did not find; `None` if there is no known card. `root` is the root of the file
/// system.
pub fn look(root: &Path) -> Option<Obstacle> {
    let cards = cards(root);
    let of = |vendor| cards.iter().find(|card| card.vendor == vendor);
    match (of(NVIDIA), of(AMD)) {
        (Some(card), _) => Some(nvidia(root, card)),
        (None, Some(_)) => Some(amd(root)),
        (None, None) => None,
    }
}

/// A display controller.
struct Card {
    vendor: String,
    /// The kernel's driver for it, if it has one.
    driver: Option<String>,
}

fn cards(root: &Path) -> Vec<Card> {
    let read = |path: PathBuf| fs_err::read_to_string(path).unwrap_or_default();
    let devices = fs_err::read_dir(root.join("sys/bus/pci/devices"));
    let devices = devices.into_iter().flatten().flatten();
    let cards = devices.filter_map(|device| {
        let path = device.path();
        let driver = fs_err::read_link(path.join("driver")).ok();
        let driver = driver.and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned()));
        read(path.join("class")).starts_with("0x03").then(|| Card {
            vendor: read(path.join("vendor")).trim().to_owned(),
            driver,
        })
    });
    cards.collect()
}

fn nvidia(root: &Path, card: &Card) -> Obstacle {
    let version = fs_err::read_to_string(root.join("proc/driver/nvidia/version"));
    let in_container = root.join("run/.containerenv").exists() || root.join(".dockerenv").exists();
    let nodes = ["nvidiactl", "nvidia0", "nvidia-uvm"].map(|name| root.join("dev").join(name));
    let missing = nodes.iter().find(|node| !node.exists());
    match card.driver.as_deref() {
        Some("nouveau") => {
            return told(
                "the NVIDIA card is driven by nouveau, which cannot compute",
                "apt install nvidia-driver && reboot",
            );
        }
        Some("vfio-pci") => {
            return told(
                "the NVIDIA card is reserved for virtual machines (vfio-pci)",
                "driverctl unset-override, or boot without that setting",
            );
        }
        _ => {}
    }
    let Ok(version) = version else {
        return told(
            "there is an NVIDIA card, and its driver is not loaded",
            "modprobe nvidia || apt install nvidia-driver",
        );
    };
    if let Some(node) = missing {
        let reason = format!(
            "the NVIDIA driver's device node {} is missing",
            node.display()
        );
        return if in_container {
            told(
                format!("{reason} in this container"),
                "docker run --gpus all, with NVIDIA's container toolkit on the host",
            )
        } else {
            told(
                reason,
                "nvidia-modprobe -u -c 0 && systemctl restart drover",
            )
        };
    }
    for node in &nodes {
        let opened = fs_err::OpenOptions::new().read(true).write(true).open(node);
        if let Err(error) = opened {
            return told(
                format!("the NVIDIA driver's device node cannot be opened: {error}"),
                "usermod -aG video,render drover && systemctl restart drover",
            );
        }
    }
    if let Some(major) = major_version(&version)
        && major < OLDEST_DRIVER
    {
        return told(
            format!(
                "the NVIDIA driver {major} is too old for CUDA 13, which needs {OLDEST_DRIVER}"
            ),
            "apt install nvidia-driver (a newer one) && reboot",
        );
    }
    told(
        "the NVIDIA driver is there, and drover cannot compute on the card: it was built without CUDA, or the driver was \
         updated and is not loaded anew",
        "nvidia-smi; ls /usr/lib/drover/libggml-cuda.so; reboot after an update of the driver",
    )
}

fn amd(root: &Path) -> Obstacle {
    if !root.join("dev/kfd").exists() && !root.join("dev/dri").exists() {
        return told(
            "there is an AMD card, and its driver (amdgpu) is not loaded",
            "modprobe amdgpu || apt install firmware-amd-graphics",
        );
    }
    told(
        "there is an AMD card, and this build has no back end that can use it, or no permission",
        "a build with --features vulkan; usermod -aG video,render drover",
    )
}

fn told(reason: impl Into<String>, fix: &'static str) -> Obstacle {
    Obstacle {
        reason: reason.into(),
        fix,
    }
}

/// Reads the number before the first dot: `… Kernel Module  535.183.01  Sun May 12 …`.
fn major_version(text: &str) -> Option<u32> {
    let words = text.lines().next()?.split_whitespace();
    let mut versions = words.filter_map(|word| word.split_once('.'));
    versions.find_map(|(major, _)| major.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with a card of this vendor, whose driver has this name.
    fn machine(vendor: &str, driver: Option<&str>) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("sys/bus/pci/devices/0000:01:00.0");
        fs_err::create_dir_all(&device).unwrap();
        fs_err::write(device.join("vendor"), format!("{vendor}\n")).unwrap();
        fs_err::write(device.join("class"), "0x030000\n").unwrap();
        if let Some(driver) = driver {
            std::os::unix::fs::symlink(format!("../../drivers/{driver}"), device.join("driver"))
                .unwrap();
        }
        fs_err::create_dir_all(root.path().join("dev")).unwrap();
        root
    }

    fn with_driver(version: &str) -> tempfile::TempDir {
        let root = machine(NVIDIA, Some("nvidia"));
        let folder = root.path().join("proc/driver/nvidia");
        fs_err::create_dir_all(&folder).unwrap();
        let text =
            format!("NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Sun May 12\n");
        fs_err::write(folder.join("version"), text).unwrap();
        root
    }

    fn make_nodes(root: &Path) {
        for name in ["nvidiactl", "nvidia0", "nvidia-uvm"] {
            fs_err::write(root.join("dev").join(name), "").unwrap();
        }
    }

    fn reason(root: &tempfile::TempDir) -> String {
        look(root.path()).unwrap().reason
    }

    #[test]
    fn a_machine_without_a_card_has_no_obstacle() {
        assert_eq!(look(tempfile::tempdir().unwrap().path()), None);
        let sound = machine(NVIDIA, None);
        let device = sound.path().join("sys/bus/pci/devices/0000:01:00.0");
        fs_err::write(device.join("class"), "0x040300\n").unwrap();
        assert_eq!(look(sound.path()), None, "that is the card's sound");
    }

    #[test]
    fn each_obstacle_is_named() {
        assert!(reason(&machine(NVIDIA, Some("nouveau"))).contains("nouveau"));
        assert!(reason(&machine(NVIDIA, Some("vfio-pci"))).contains("virtual machines"));
        assert!(reason(&machine(NVIDIA, None)).contains("not loaded"));
        assert!(reason(&machine(AMD, None)).contains("amdgpu"));

        let card = with_driver("580.65.06");
        assert!(
            reason(&card).contains("nvidiactl is missing"),
            "{}",
            reason(&card)
        );
        fs_err::write(card.path().join(".dockerenv"), "").unwrap();
        assert!(reason(&card).ends_with("in this container"));
        assert!(look(card.path()).unwrap().fix.contains("--gpus all"));
        make_nodes(card.path());
        assert!(reason(&card).contains("built without CUDA"));

        let old = with_driver("535.183.01");
        make_nodes(old.path());
        assert!(reason(&old).contains("535 is too old"), "{}", reason(&old));

        let closed = with_driver("590.44.01");
        make_nodes(closed.path());
        // Root may open every file, but no folder.
        fs_err::remove_file(closed.path().join("dev/nvidia0")).unwrap();
        fs_err::create_dir(closed.path().join("dev/nvidia0")).unwrap();
        assert!(
            reason(&closed).contains("cannot be opened"),
            "{}",
            reason(&closed)
        );
    }
}
