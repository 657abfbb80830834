"""A daemon of its own for a measurement: its folder, its port, its end. Standard library only."""

import http.client
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`drover serve` over a folder of its own, or over a store; use it in a `with` statement."""

    def __init__(self, binary, settings=None, store=None):
        self.binary, self.settings, self.store = binary, settings or {}, store
        self.port = free_port()

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.environment = {
            "HOME": self.folder.name,
            "PATH": os.environ["PATH"],
            "OLLAMA_HOST": f"127.0.0.1:{self.port}",
            "OLLAMA_KEEP_ALIVE": "-1",
            **({"OLLAMA_MODELS": str(self.store)} if self.store else {}),
            **self.settings,
        }
        self.log_file = pathlib.Path(self.folder.name) / "log"
        with open(self.log_file, "wb") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve"], env=self.environment, stdout=log, stderr=log
            )
        try:
            while not self._answers():
                if self.process.poll() is not None:
                    raise SystemExit(f"the daemon did not start:\n{self.log()[-2000:]}")
                time.sleep(0.05)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()

    def _answers(self):
        try:
            return self.get("/api/version") is not None
        except OSError:
            return False

    def log(self, start=0):
        """The log from this byte on."""
        return self.log_file.read_bytes()[start:].decode(errors="replace")

    def command(self, *words):
        """Runs a command of drover's against this server; returns what it prints."""
        done = subprocess.run(
            [self.binary, *words], env=self.environment, capture_output=True, text=True, timeout=120
        )
        if done.returncode:
            raise RuntimeError(f"drover {' '.join(words)}: {done.stderr.strip()[-300:]}")
        return done.stdout

    def connect(self, timeout=120):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def get(self, path):
        connection = self.connect()
        connection.request("GET", path)
        answer = connection.getresponse().read()
        connection.close()
        return answer

    def post(self, path, body, timeout=120):
        connection = self.connect(timeout)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {text[:200]}")
        return json.loads(text)

    def loaded(self):
        """What `/api/ps` lists, by name without the tag."""
        entries = json.loads(self.get("/api/ps"))["models"]
        return {entry["name"].removesuffix(":latest"): entry for entry in entries}

    def unload(self, model):
        """Ends the model's runner, and with it all that it has in its cache."""
        self.post("/api/generate", {"model": model, "keep_alive": 0, "stream": False})
        while model in (loaded := self.loaded()) or len(self.runners()) > len(loaded):
            time.sleep(0.02)

    def runner(self):
        """The process id of the runner."""
        return next(iter(self.runners()), None)

    def runners(self):
        """The process ids of all runners; the daemon has other children, too."""
        return [pid for pid in children(self.process.pid) if role(pid) == "runner"]


class Daemon(Server):
    """A server with one model out of a GGUF file."""

    def __init__(self, binary, gguf, n_parallel=8, n_threads=1, settings=None):
        own = {"OLLAMA_NUM_PARALLEL": str(n_parallel)}
        # Only for a setting that differs from the default.
        for name in ("DROVER_SPECULATIVE", "DROVER_SPILL_DISK", "DROVER_SPILL_MEMORY", "OLLAMA_KV_CACHE_TYPE"):
            if name in os.environ:
                own[name] = os.environ[name]
        super().__init__(binary, {**(settings or {}), **own})
        self.gguf = pathlib.Path(gguf)
        # With one thread, no thread has to wait for another one on a busy machine.
        self.n_threads = n_threads
        self.model = self.gguf.stem

    def __enter__(self):
        super().__enter__()
        modelfile = pathlib.Path(self.folder.name) / "Modelfile"
        modelfile.write_text(f"FROM {self.gguf.absolute()}\nPARAMETER num_thread {self.n_threads}\n")
        try:
            self.command("create", self.model, "-f", str(modelfile))
        except BaseException:
            self.__exit__()
            raise
        return self

    def unload(self, model=None):
        super().unload(model or self.model)


def children(pid):
    files = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
    found = []
    for file in files:
        try:
            found += map(int, file.read_text().split())
        except OSError:
            # The thread has ended meanwhile.
            continue
    return found


def role(pid):
    """The first argument of a process; nothing once it has ended."""
    try:
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return words[1].decode() if len(words) > 1 else ""


def rss_kib(pid, field="VmRSS"):
    """Resident memory of a process in KiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return 0


def percentile(values, share):
    """By nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]
