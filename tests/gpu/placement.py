"""What a load says of itself: which buffers llama.cpp allocated where, and what drover had planned."""

import json
import re

MIB = 1 << 20
# drover's name for the system's memory.
HOST = "CPU"
BUFFER = re.compile(r"(\S+?):\s+(\S+)\s+(\S+) buffer size =\s+([\d.]+) MiB")
OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers to GPU")
SPLITS = re.compile(r"\bsplits = ([^,\n]*)")
# Pieces of a graph that devices compute in turn: input, card, output. Each operation that the card does not support
# adds two more in every layer.
MOST_SPLITS = 8
PLAN = re.compile(r" loading (model=\S+ n_ctx_pool=.*)")
MEMORY = re.compile(r" memory of the loaded model (.*)")
STARTED = re.compile(r"load\{[^}]*\}: \S+ runner started runner\.pid=(\d+)")
NUMBER = re.compile(r"(\w+)=(\d+)")
DEVICE = re.compile(r"inference compute name=(.*?) description=(.*?) backend=(\S+) total_bytes=(\d+)")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def is_host(device):
    """Whether buffers of this kind lie in the system's memory: `CPU`, `CPU_Mapped`, `CUDA_Host`."""
    return device.startswith("CPU") or device.endswith("_Host")


def devices(log):
    """What the daemon found to compute on: (name, description, back end, bytes)."""
    found = DEVICE.findall(COLOUR.sub("", log))
    return [(name.strip('"'), text.strip('"'), backend, int(size)) for name, text, backend, size in found]


def numbers(line, log):
    """The fields of the last line of this kind that are numbers."""
    found = line.findall(log)
    return {name: int(value) for name, value in NUMBER.findall(found[-1])} if found else None


def of_one_runner(log):
    """The daemon's lines and those of the runner that was loaded last: others only measure."""
    log = COLOUR.sub("", log)
    if started := STARTED.findall(log):
        mine = f" pid={started[-1]}}}"
        log = "\n".join(line for line in log.splitlines() if "runner{" not in line or mine in line)
    return log


class Load:
    """One load of one model, out of the log."""

    def __init__(self, log):
        log = of_one_runner(log)
        self.buffers = [
            {"device": device, "kind": kind, "mib": float(mib)} for _, device, kind, mib in BUFFER.findall(log)
        ]
        # A draft model comes after its model.
        self.offloads = [tuple(map(int, counts)) for counts in OFFLOADED.findall(log)]
        self.offloaded = self.offloads[0] if self.offloads else None
        # Of the graphs of a prompt and of one token: how many pieces are computed by different devices.
        counts = [int(number) for text in SPLITS.findall(log) for number in re.findall(r"^\d+|(?<= )\d+(?= \()", text)]
        self.n_splits = max(counts, default=None)
        self.plan = numbers(PLAN, log)
        self.memory = numbers(MEMORY, log)

    def mib(self, host, kind=None):
        buffers = (each for each in self.buffers if is_host(each["device"]) == host)
        return sum(each["mib"] for each in buffers if kind in (None, each["kind"]))

    def on_the_cpu(self, input_bytes, entry):
        """What should be on the card and is not, as texts. The table of the input's embeddings is looked up by the
        processor in every llama.cpp; outputs come to pinned memory. `entry` is the model's in `/api/ps`."""
        wrong = []
        if not self.offloads:
            wrong.append("llama.cpp does not say that it put layers on a card")
        wrong += [f"{there} of {all_} layers are on the card" for there, all_ in self.offloads if there < all_]
        weights, most = self.mib(True, "model"), input_bytes / MIB * 1.01 + 16
        if weights > most:
            wrong.append(f"{weights:.0f} MiB of weights are in the system's memory, {most:.0f} would be the input's")
        if cache := self.mib(True, "KV"):
            wrong.append(f"{cache:.0f} MiB of the KV cache are in the system's memory")
        unpinned = [each for each in self.buffers if each["device"] == "CPU" and each["kind"] == "compute"]
        if sum(each["mib"] for each in unpinned) > 64:
            wrong.append(f"{sum(each['mib'] for each in unpinned):.0f} MiB of compute buffers are the processor's")
        if (self.n_splits or 0) > MOST_SPLITS:
            wrong.append(f"the graph has {self.n_splits} pieces: the processor computes some of the operations")
        left = (entry["size"] - entry["size_vram"]) / MIB
        if left > most + self.mib(True):
            wrong.append(f"/api/ps shows {left:.0f} MiB beside the card")
        return wrong


def memory_of(value):
    """The entries of a `memory` list of drover's as bytes by device."""
    if not isinstance(value, list):
        return None
    parts = ("weights", "kv", "compute", "projector")
    return {each["device"]: sum(each.get(part) or 0 for part in parts) for each in value if "device" in each}


def planned_and_taken(load, entry):
    """Bytes by device: from a model's entry in `/api/ps` or, in two sums, from the log; `None` where neither says."""
    if taken := memory_of(entry.get("memory")):
        return memory_of(entry.get("planned")), taken
    if not (memory := load.memory):
        return None, None
    names = {"devices": "gpu_bytes", HOST: "system_bytes"}
    sums = [{name: memory.get(prefix + field, 0) for name, field in names.items()} for prefix in ("planned_", "")]
    return tuple(sums)


def too_far(planned, taken, is_card):
    """Memories whose plan is more than 3 % and 32 MiB from what was taken, as texts: those of cards, if there is one."""
    wrong = []
    for name in sorted({*(planned or {}), *(taken or {})}) if planned and taken else ():
        plan, real = planned.get(name, 0), taken.get(name, 0)
        if (name != HOST) == is_card and abs(plan - real) > max(0.03 * real, 32 * MIB):
            wrong.append(f"{name}: {plan // MIB} MiB planned, {real // MIB} MiB taken")
    return wrong


def fit(server, model):
    """What `drover fit` says, if this drover has the command."""
    try:
        return json.loads(server.command("fit", model, "--json"))
    except (RuntimeError, ValueError):
        return None


def fitted(fit_, devices_):
    """The plan of `drover fit` in two sums; `devices_` are the names of cards."""
    if not fit_ or "devices" not in fit_:
        return None
    sums = {"devices": 0, HOST: 0}
    for each in fit_["devices"]:
        sums["devices" if each["name"] in devices_ else HOST] += each["size"]
    return sums
