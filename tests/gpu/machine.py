"""The program that is measured, and the device: where they are found, what memory is taken."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from common import rss_kib

HERE = pathlib.Path(__file__).parent
MIB = 1 << 20
# CUDA libraries that a tree for a machine with PyTorch leaves out.
CUDA_LIBRARIES = ("libcudart.so", "libcublas.so", "libcublasLt.so")


class Program:
    """drover's binary with what it needs to start."""

    def __init__(self, options, scratch):
        if options.tree:
            folder = unpacked(pathlib.Path(options.tree), scratch)
            found = [path for path in folder.glob("**/bin/drover") if path.is_file()]
            if not found:
                raise SystemExit(f"no bin/drover in {options.tree}")
            self.binary = found[0].absolute()
        else:
            binary = options.binary or shutil.which("drover") or "/usr/bin/drover"
            self.binary = pathlib.Path(binary).absolute()
        if not os.access(self.binary, os.X_OK):
            raise SystemExit(f"{self.binary} is not there or is no program: use --tree or --binary")
        self.libraries = self.binary.parent.parent / "lib/drover"
        self.environment = environment(options.device, self.libraries)
        # A warning that no daemon answers may follow.
        self.version = self.run("--version").splitlines()[0]
        self.settings = self.run("serve", "--help")

    def run(self, *words):
        done = subprocess.run([self.binary, *words], env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise SystemExit(f"{self.binary} {' '.join(words)}: {done.stderr or done.returncode}")
        return done.stdout

    def tool(self, name, given):
        """A program of llama.cpp's beside this build."""
        for path in (given, self.libraries / name, self.binary.parent / name, shutil.which(name)):
            if path and os.access(path, os.X_OK):
                return path
        return None


def unpacked(tree, scratch):
    if tree.is_dir():
        return tree
    folder = scratch / "tree"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    compressed = ["--zstd"] if tree.suffix == ".zst" else []
    if compressed and not shutil.which("zstd"):
        # Machines with PyTorch often have the module but not the program.
        with open(folder / "tar", "wb") as tar:
            try:
                import zstandard

                zstandard.ZstdDecompressor().copy_stream(open(tree, "rb"), tar)
            except ImportError:
                raise SystemExit(f"{tree} needs zstd, or a tree that is packed with xz") from None
        tree, compressed = folder / "tar", []
    subprocess.run(["tar", "-x", *compressed, "-f", tree, "-C", folder], check=True)
    return folder


def environment(device, libraries):
    """What the daemon needs of ours, and which devices it sees."""
    passed = ("CUDA_", "NVIDIA_", "GGML_", "VK_", "MESA_", "LD_LIBRARY_PATH", "XDG_", "OLLAMA_GPU_OVERHEAD")
    found = {name: value for name, value in os.environ.items() if name.startswith(passed)}
    if device == "cpu":
        return {**found, **NO_DEVICES}
    if device == "cuda" and (folders := cuda_folders(libraries)):
        paths = [found["LD_LIBRARY_PATH"]] if "LD_LIBRARY_PATH" in found else []
        found["LD_LIBRARY_PATH"] = ":".join([*folders, *paths])
    return found


# Hides every device from llama.cpp, whichever back ends it has.
NO_DEVICES = {"CUDA_VISIBLE_DEVICES": "-1", "GGML_VK_VISIBLE_DEVICES": "", "VK_DRIVER_FILES": "/dev/null", "VK_ICD_FILENAMES": "/dev/null"}


def cuda_folders(libraries):
    """Folders with the CUDA libraries that the tree does not bring along: those that PyTorch has, else the system's."""
    missing = [name for name in CUDA_LIBRARIES if not any(libraries.glob(name + ".*"))]
    if not missing or not (libraries / "libggml-cuda.so").exists():
        return []
    asked = "import site, sys; print('\\n'.join([*site.getsitepackages(), site.getusersitepackages(), *sys.path]))"
    pythons = {sys.executable, shutil.which("python3") or sys.executable}
    folders = []
    for python in sorted(pythons):
        text = subprocess.run([python, "-c", asked], capture_output=True, text=True).stdout
        folders += [pathlib.Path(line) / "nvidia" for line in text.splitlines() if line]
    # `nvidia/cu13/lib`, or in older versions `nvidia/cublas/lib` and similar folders.
    candidates = [path for folder in folders for path in folder.glob("*/lib")]
    candidates += pathlib.Path("/usr/local").glob("cuda*/lib64")
    wanted = needed_versions(libraries / "libggml-cuda.so")
    found = []
    for name in missing:
        file = wanted.get(name, name)
        has = [str(path) for path in candidates if any(path.glob(file + "*"))]
        found += has[:1]
    return list(dict.fromkeys(found))


def needed_versions(module):
    """The names with their versions that a library asks for: `libcublas.so` → `libcublas.so.13`."""
    data = module.read_bytes()
    return {name: found[0].decode() for name in CUDA_LIBRARIES if (found := re.findall(re.escape(name.encode()) + rb"\.\d+", data))}


class Meter:
    """What memory of the device is in use. A processor's is that of the runners alone."""

    def __init__(self, device):
        self.smi = shutil.which("nvidia-smi") if device == "cuda" else None
        self.id = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] or "0"

    def card(self):
        """Name, driver and MiB of the first card that is to be used, if it is NVIDIA's."""
        if not self.smi:
            return None
        fields = "name,driver_version,memory.total,memory.used"
        text = subprocess.run(
            [self.smi, f"--query-gpu={fields}", "--format=csv,noheader,nounits", f"--id={self.id}"],
            capture_output=True, text=True, timeout=30, check=True,
        ).stdout
        name, driver, total, used = (word.strip() for word in text.splitlines()[0].split(","))
        return {"name": name, "driver": driver, "total_mib": float(total), "used_mib": float(used)}

    def used_mib(self, server):
        if self.smi:
            return self.card()["used_mib"]
        found = 0
        for pid in server.runners():
            try:
                found += rss_kib(pid)
            except OSError:
                continue
        return found / 1024


def bandwidth(device, is_software, given):
    """Bytes per second that can be read from the device's memory; `given` in GB/s, if somebody knows better."""
    if given:
        return {"device": device, "read": given * 1e9, "copy": None, "data_sheet": None}
    # A device in software has the system's memory; of real devices only NVIDIA's can be queried.
    kind = "cpu" if device == "cpu" or is_software else "cuda"
    done = subprocess.run([sys.executable, HERE / "bandwidth.py", kind], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"not measured (--bandwidth gives it): {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def scratch_folder(path):
    """A folder for models and logs; without a path one that is removed at the end."""
    if path:
        path = pathlib.Path(path)
        path.mkdir(parents=True, exist_ok=True)
        return path.absolute(), None
    folder = tempfile.TemporaryDirectory(prefix="drover-gpu-")
    return pathlib.Path(folder.name), folder
