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


class Daemon:
    """`drover serve` with one model out of a GGUF file; use it in a `with` statement."""

    def __init__(self, binary, gguf, n_parallel=8, n_threads=1, settings=None):
        self.binary, self.gguf, self.n_parallel = binary, pathlib.Path(gguf), n_parallel
        # One thread does not have to wait for another on a machine that does other things, too.
        self.n_threads = n_threads
        self.settings = settings or {}
        self.model = self.gguf.stem
        self.port = free_port()

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        environment = {
            "HOME": self.folder.name,
            "PATH": os.environ["PATH"],
            "OLLAMA_HOST": f"127.0.0.1:{self.port}",
            "OLLAMA_NUM_PARALLEL": str(self.n_parallel),
            "OLLAMA_KEEP_ALIVE": "-1",
            **self.settings,
        }
        # Only for another setting than the default one.
        for name in ("DROVER_SPECULATIVE", "DROVER_SPILL_DISK", "DROVER_SPILL_MEMORY", "OLLAMA_KV_CACHE_TYPE"):
            if name in os.environ:
                environment[name] = os.environ[name]
        self.log = open(pathlib.Path(self.folder.name) / "log", "wb")
        self.process = subprocess.Popen(
            [self.binary, "serve"], env=environment, stdout=self.log, stderr=self.log
        )
        while not self._answers():
            if self.process.poll() is not None:
                raise SystemExit("the daemon did not start")
            time.sleep(0.05)
        modelfile = pathlib.Path(self.folder.name) / "Modelfile"
        modelfile.write_text(f"FROM {self.gguf.absolute()}\nPARAMETER num_thread {self.n_threads}\n")
        subprocess.run(
            [self.binary, "create", self.model, "-f", str(modelfile)],
            env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        self.folder.cleanup()

    def _answers(self):
        try:
            return self.get("/api/version") is not None
        except OSError:
            return False

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def get(self, path):
        connection = self.connect()
        connection.request("GET", path)
        answer = connection.getresponse().read()
        connection.close()
        return answer

    def post(self, path, body):
        connection = self.connect()
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {text[:200]}")
        return json.loads(text)

    def unload(self):
        """Ends the runner, and with it all that it has in its cache."""
        self.post("/api/generate", {"model": self.model, "keep_alive": 0, "stream": False})
        while self.runner() is not None:
            time.sleep(0.05)

    def runner(self):
        """The process id of the runner."""
        return next(iter(self.runners()), None)

    def runners(self):
        """The process ids of all runners; the daemon has other children, too."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/children")
        pids = [int(pid) for file in children for pid in file.read_text().split()]
        return [pid for pid in pids if role(pid) == "runner"]


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
