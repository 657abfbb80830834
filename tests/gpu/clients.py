"""Clients of a server that measure: prompts of exact lengths, many streams at once.

All streams of a measurement are read by one thread that notes when which bytes came; what they say is looked at
afterwards. So a client costs a few microseconds per token, and a fast card is not measured by a slow Python.
"""

import json
import pathlib
import random
import selectors
import socket
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "bench"))
from common import percentile

# A server that is silent for so long counts as lost.
SILENCE_S = 120


class Answer:
    """A streamed answer: when it was asked for, when its pieces came, what the server counted."""

    def __init__(self, asked, received, hung_up):
        self.asked, self.times, self.text, usage = asked, [], "", None
        for time_, event in events(received):
            if "error" in event:
                raise RuntimeError(f"the answer broke off: {event['error']}")
            if event["choices"] and (text := event["choices"][0].get("text")):
                self.times.append(time_)
                self.text += text
            usage = event.get("usage") or usage
        if hung_up:
            return
        if not usage or not self.times:
            raise RuntimeError(f"an answer of {len(self.times)} pieces without an end")
        self.n_prompt, self.n_output = usage["prompt_tokens"], usage["completion_tokens"]
        self.n_cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0

    def first(self):
        """Seconds to the first piece."""
        return self.times[0] - self.asked

    def rate_between(self, start, end):
        """Tokens per second in this span; a piece may have several tokens, and some have no text."""
        count = sum(start < time_ <= end for time_ in self.times)
        return count * self.n_output / len(self.times) / (end - start)


def events(received):
    """The events of a stream, with the time when their last byte came; a failure is raised."""
    head, lines, rest = None, [], b""
    for time_, data in received:
        rest += data
        if head is None and b"\r\n\r\n" in rest:
            head, rest = rest.split(b"\r\n\r\n", 1)
        if head is not None:
            *whole, rest = rest.split(b"\n")
            lines += [(time_, line) for line in whole]
    status = head.split(b" ", 2)[1] if head else b"no answer"
    if status != b"200":
        raise RuntimeError(f"{status.decode()} {rest[:300].decode(errors='replace')}")
    for time_, line in lines:
        if line.startswith(b"data: {"):
            yield time_, json.loads(line[6:])


class Streams:
    """Requests for continuations of lists of tokens, sent at once and read as they come."""

    def __init__(self, server, model, prompts, n_output, temperature=0.8):
        self.selector, self.connections = selectors.DefaultSelector(), []
        self.is_enough = threading.Event()
        for prompt in prompts:
            body = {"model": model, "prompt": prompt, "max_tokens": n_output, "stream": True, "ignore_eos": True, "seed": 1,
                    "temperature": temperature, "stream_options": {"include_usage": True}}
            data = json.dumps(body).encode()
            # HTTP 1.0, since its bodies come without marks between their pieces.
            head = f"POST /v1/completions HTTP/1.0\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
            connection = socket.create_connection(("127.0.0.1", server.port))
            received = []
            self.connections.append((time.monotonic(), received))
            connection.sendall(head.encode() + data)
            self.selector.register(connection, selectors.EVENT_READ, received)

    def read(self):
        """Reads until all have ended or are enough."""
        heard = time.monotonic()
        while self.selector.get_map() and not self.is_enough.is_set():
            ready = self.selector.select(0.2)
            now = time.monotonic()
            if not ready and now - heard > SILENCE_S:
                break
            for key, _ in ready:
                heard = now
                try:
                    data = key.fileobj.recv(1 << 16)
                except OSError:
                    data = b""
                if data:
                    key.data.append((now, data))
                else:
                    self.selector.unregister(key.fileobj)
                    key.fileobj.close()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()

    def answers(self):
        return [Answer(asked, received, self.is_enough.is_set()) for asked, received in self.connections]

    def in_background(self):
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        return self


class Prompts:
    """Random tokens of a model's vocabulary, never the same twice."""

    def __init__(self, shape, seed=1):
        self.shape, self.random = shape, random.Random(seed)

    def next(self, n_tokens):
        return [self.random.randrange(self.shape.first_token, self.shape.end_token) for _ in range(n_tokens)]


def ask_all(server, model, prompts, n_output, temperature=0.8):
    streams_ = Streams(server, model, prompts, n_output, temperature)
    streams_.read()
    return streams_.answers()


def ask(server, model, prompt, n_output):
    return ask_all(server, model, [prompt], n_output)[0]


def streams(server, model, prompts, n_streams, n_prompt, n_output):
    """Tokens per second of all streams together while all of them run."""
    answers = ask_all(server, model, [prompts.next(n_prompt) for _ in range(n_streams)], n_output)
    start, end = max(answer.times[0] for answer in answers), min(answer.times[-1] for answer in answers)
    if end <= start:
        raise RuntimeError(f"{n_streams} streams did not run at the same time: are there as many slots?")
    return sum(answer.rate_between(start, end) for answer in answers)


def prompt_rate(server, model, prompts, n_prompt):
    """Tokens per second of a fresh prompt, until its first token arrives."""
    answer = ask(server, model, prompts.next(n_prompt), 1)
    if answer.n_cached or answer.n_prompt < n_prompt:
        raise RuntimeError(f"of {n_prompt} tokens {answer.n_prompt} were taken and {answer.n_cached} in the cache")
    return answer.n_prompt / answer.first()


def shared_head(server, model, prompts, n_requests, n_shared, n_own, n_output):
    """Requests at once whose prompts begin alike: times to the first token, and what was computed."""
    head = prompts.next(n_shared)
    answers = ask_all(server, model, [head + prompts.next(n_own) for _ in range(n_requests)], n_output)
    firsts = [answer.first() for answer in answers]
    computed = sum(answer.n_prompt - answer.n_cached for answer in answers)
    return {"first_token_s": {"median": statistics.median(firsts), "longest": max(firsts)},
            "prompt_tokens": sum(answer.n_prompt for answer in answers), "computed_tokens": computed}


def gaps_beside_a_prompt(server, model, prompts, n_streams, n_prompt, alone_s):
    """Milliseconds between tokens of running streams, alone and while a long prompt is computed."""
    running = Streams(server, model, [prompts.next(32) for _ in range(n_streams)], 4096).in_background()
    try:
        ask(server, model, prompts.next(32), 8)
        started = time.monotonic()
        time.sleep(alone_s)
        came = time.monotonic()
        newcomer = ask(server, model, prompts.next(n_prompt), 1)
        end = newcomer.times[0]
    finally:
        running.is_enough.set()
    running.thread.join()
    answers = running.answers()
    if not all(answer.times for answer in answers):
        raise RuntimeError(f"of {n_streams} streams some said nothing")

    def between(start, end):
        pairs = (pair for answer in answers for pair in zip(answer.times, answer.times[1:]))
        gaps = [(after - before) * 1000 for before, after in pairs if before < end and after > start]
        if len(gaps) < n_streams:
            raise RuntimeError("the streams ended before the prompt was computed: they are too short for it")
        return {"p50": percentile(gaps, 50), "p99": percentile(gaps, 99), "longest": max(gaps)}

    return {"gap_ms": {"alone": between(started, came), "beside": between(came, end)}, "prompt_s": newcomer.first()}
