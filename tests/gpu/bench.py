"""What the steps share: the daemon they measure, the models, the numbers found so far; and how steps are run."""

import contextlib
import signal
import time

import placement
import shapes
from clients import Prompts
from common import Server


class NotAvailable(Exception):
    """A step cannot be done here, and nothing is wrong."""


class TimeUp(BaseException):
    """A step has used up its time."""


class Bench:
    def __init__(self, options, scratch, program, meter):
        self.options, self.scratch, self.program, self.meter = options, scratch, program, meter
        self.store = scratch / f"models-{options.shapes}"
        self.is_small = options.shapes == "small"
        self.is_card = options.device != "cpu"
        sizes = shapes.SMALL if self.is_small else {name: {} for name in shapes.MAKERS}
        self.shapes = {name: make(**sizes[name])["ollama"] for name, make in shapes.MAKERS.items()}
        self.prompts = {name: Prompts(shape) for name, shape in self.shapes.items()}
        self.server, self.settings = None, None
        self.devices = []
        # What goes into the report.
        self.found = {"models": {name: {} for name in self.shapes}}

    def number(self, real, small):
        return small if self.is_small else real

    def room(self):
        """Memory of the card that drover is to leave alone, so that it plans as for a smaller one."""
        card = self.meter.card()
        if not card or not self.options.room:
            return {}
        spare = card["total_mib"] - self.options.room * 1024
        return {"OLLAMA_GPU_OVERHEAD": str(int(spare) << 20)} if spare > 0 else {}

    def serve(self, **settings):
        """The daemon with these settings: the running one if it has them, else a new one."""
        if self.server and self.settings == settings and self.server.process.poll() is None:
            return self.server
        self.stop()
        base = {"OLLAMA_NUM_PARALLEL": "16", "OLLAMA_DEBUG": "1", "OLLAMA_NOPRUNE": "1", "DROVER_SPECULATIVE": "off"}
        if self.is_small:
            base["OLLAMA_CONTEXT_LENGTH"] = "8192"
        server = Server(self.program.binary, {**self.program.environment, **base, **self.room(), **settings}, self.store)
        server.__enter__()
        self.server, self.settings = server, settings
        self.devices = self.seen(server)
        if self.is_card and not any(backend.lower() == self.options.device for _, _, backend, _ in self.devices):
            names = ", ".join(name for name, *_ in self.devices) or "nothing"
            raise RuntimeError(f"drover finds no {self.options.device} device, but {names}")
        return server

    def seen(self, server):
        """The devices that the daemon logs; it looks for them while it serves already."""
        end = time.monotonic() + 20
        while not (found := placement.devices(server.log())) and time.monotonic() < end:
            time.sleep(0.05)
        # The CPU's line comes last, and all of these lines together.
        time.sleep(0.1)
        return placement.devices(server.log()) or found

    def stop(self):
        if self.server:
            with contextlib.suppress(Exception):
                self.keep_log()
            self.server.__exit__()
        self.server = None

    def keep_log(self):
        with open(self.options.out / "drover.log", "ab") as kept:
            kept.write(self.server.log_file.read_bytes())

    def load(self, name, **settings):
        """Loads a model; returns the server, the seconds and what the log says of it."""
        server = self.serve(**settings)
        start, began = server.log_file.stat().st_size, time.monotonic()
        server.post("/api/generate", {"model": name, "keep_alive": -1, "stream": False}, timeout=300)
        seconds = time.monotonic() - began
        # The runner's output arrives by another way than its answer.
        end = time.monotonic() + 2
        while "compute buffer size" not in server.log(start) and time.monotonic() < end:
            time.sleep(0.05)
        if self.is_card and not server.loaded()[name]["size_vram"]:
            raise RuntimeError(f"{name} is served by the processor")
        return server, seconds, placement.Load(server.log(start))

    def unload_all(self):
        server = self.serve()
        for name in server.loaded():
            server.unload(name)
        # Memory that the driver has not freed yet must not count as taken by others.
        end, last = time.monotonic() + 3, None
        while (used := self.meter.used_mib(server)) != last and time.monotonic() < end:
            last = used
            time.sleep(0.1)
        return server

    def until_free(self, server, base_mib, limit_s=15):
        """Seconds until the device has its memory back, up to 64 MiB."""
        began = time.monotonic()
        while (used := self.meter.used_mib(server)) > base_mib + 64:
            if time.monotonic() - began > limit_s:
                raise RuntimeError(f"{used - base_mib:.0f} MiB of the device are still in use after {limit_s} s")
            time.sleep(0.02)
        return time.monotonic() - began


class Steps:
    """Runs steps one after the other: each with its own limit, none stopping the others."""

    def __init__(self, bench, limit_s):
        self.bench, self.end = bench, time.monotonic() + limit_s
        self.done = []
        signal.signal(signal.SIGALRM, self._alarm)

    @staticmethod
    def _alarm(*_):
        raise TimeUp

    def run(self, name, limit_s, work):
        left = self.end - time.monotonic()
        began, outcome, reason = time.monotonic(), "ok", ""
        if left < 1:
            outcome, reason = "failed", "no time was left for it"
        else:
            signal.setitimer(signal.ITIMER_REAL, min(limit_s, left))
            try:
                reason = work() or ""
            except NotAvailable as why:
                outcome, reason = "skipped", str(why)
            except TimeUp:
                outcome, reason = "failed", f"not done after {time.monotonic() - began:.0f} s"
            except (Exception, SystemExit) as error:  # whatever it is, the other steps are worth it
                outcome, reason = "failed", f"{type(error).__name__}: {error}" if not isinstance(error, RuntimeError) else str(error)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        seconds = time.monotonic() - began
        self.done.append({"step": name, "outcome": outcome, "seconds": round(seconds, 2), "reason": reason})
        print(f"{seconds:6.1f} s  {outcome:7}  {name}{': ' + reason if reason else ''}", flush=True)
        if outcome == "failed":
            # What this step has left must not disturb the next one.
            self.bench.stop()

    def failed(self):
        return [step for step in self.done if step["outcome"] == "failed"]
