"""What `tests/rpc/run` checks, inside of the namespace of the daemon."""

import argparse
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

URL = "http://127.0.0.1:11434"
MODEL = "smollm2"


def call(path, body=None, timeout=120):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def until(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"FAILED: {what} does not happen")
        time.sleep(0.1)


def answers(host, port):
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def check(what, is_so, seen):
    print(f"{'ok    ' if is_so else 'FAILED'} {what}: {seen}", flush=True)
    if not is_so:
        sys.exit(1)


class Lender:
    """`drover rpc-server` on the other machine."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.start()

    def start(self):
        command = ["ip", "netns", "exec", self.options.there, self.options.binary, "rpc-server"]
        with open(self.folder / "lender.log", "ab") as log:
            self.process = subprocess.Popen([*command, "--listen", self.options.endpoint], stdout=log, stderr=log)
        host, port = self.options.endpoint.split(":")
        until("the other machine's server", lambda: answers(host, int(port)))

    def stop(self):
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def daemon(options, folder, **settings):
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "OLLAMA_MODELS": str(folder / "models")}
    environment |= {"OLLAMA_CONTEXT_LENGTH": "2048", "OLLAMA_NUM_PARALLEL": "2", **settings}
    with open(folder / "daemon.log", "ab") as log:
        process = subprocess.Popen([options.binary, "serve"], env=environment, stdout=log, stderr=log)
    try:
        until("the daemon", lambda: answers("127.0.0.1", 11434))
        yield process
    finally:
        process.terminate()
        process.wait()


def generate(n=24):
    body = {"model": MODEL, "prompt": "Why is the sky blue?", "stream": False}
    return call("/api/generate", body | {"options": {"temperature": 0, "num_predict": n}})


def main():
    parser = argparse.ArgumentParser()
    for name in ("--binary", "--there", "--endpoint", "--models"):
        parser.add_argument(name, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        try:
            run(options, folder)
        except BaseException:
            for log in folder.glob("*.log"):
                print(f"--- {log.name}\n{log.read_text()[-4000:]}", file=sys.stderr)
            raise
    print("all checks of devices of another machine passed")


def run(options, folder):
    modelfile = folder / "Modelfile"
    modelfile.write_text(f"FROM {pathlib.Path(options.models).resolve() / 'smollm2-135m.gguf'}\n")
    with daemon(options, folder):
        subprocess.run([options.binary, "create", MODEL, "-f", modelfile], check=True, capture_output=True)
        status, alone = generate()
        check("an answer of this machine alone", status == 200, repr(alone["response"]))
        loaded = call("/api/ps")[1]["models"][0]
        check("nothing of it is elsewhere", loaded["size_vram"] == 0, loaded["size_vram"])

    with daemon(options, folder, DROVER_RPC=options.endpoint):
        status, answer = generate()
        check("without the other machine it answers, too", status == 200, repr(answer["response"]))

    lender = Lender(options, folder)
    with daemon(options, folder, DROVER_RPC=options.endpoint) as process:
        status, answer = generate()
        check("an answer by the other machine", status == 200, answer.get("error") or repr(answer["response"]))
        check("it is the same", answer["response"] == alone["response"], repr(answer["response"]))
        loaded = call("/api/ps")[1]["models"][0]
        check("the model is there", loaded["size_vram"] > loaded["size"] // 2, loaded)
        several = [generate(8)[0] for _ in range(3)]
        check("it goes on answering", several == [200] * 3, several)
        log = (folder / "daemon.log").read_text()
        check("its sandbox is closed", "the sandbox is closed" in log, "the log says so")

        lender.stop()
        status, answer = generate()
        check("the request after the loss fails", status == 500 and "RPC" in answer["error"], (status, answer.get("error")))
        check("the daemon lives", process.poll() is None and call("/api/version")[0] == 200, call("/api/version")[1])
        status, answer = generate()
        is_same = status == 200 and answer["response"] == alone["response"]
        check("the next one is answered here", is_same, answer.get("error") or repr(answer["response"]))
        check("with nothing elsewhere", call("/api/ps")[1]["models"][0]["size_vram"] == 0, "all here")

        lender.start()
        # drover looks for it before a load, half a minute after it was missed.
        until("the use of the server that came back", is_elsewhere_after_a_load, seconds=90)
        status, answer = generate()
        is_same = status == 200 and answer["response"] == alone["response"]
        check("once it has come back, a load uses it again", is_same, answer.get("error") or repr(answer["response"]))
    lender.stop()


def is_elsewhere_after_a_load():
    """Loads the model anew; whether it is on the other machine then."""
    call("/api/generate", {"model": MODEL, "keep_alive": 0})
    until("the end of the model", lambda: not call("/api/ps")[1]["models"])
    status, answer = generate(1)
    return status == 200 and call("/api/ps")[1]["models"][0]["size_vram"] > 0


main()
