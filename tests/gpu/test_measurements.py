"""What the scripts for cards conclude from what they see: `python3 -m unittest discover -s tests/gpu`."""

import json
import math
import pathlib
import statistics
import struct
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "bench")]
import clients
import gguf
import placement
import report
import shapes
import steps

MIB = 1 << 20
ENTRY = {"size": 900 * MIB, "size_vram": 890 * MIB}
# Lines of one load on a card, as in drover's log, without times.
LOAD = """\
 INFO drover::scheduler::actor: loading model=m:latest n_ctx_pool=4096 n_slots=16 system_bytes=100 gpu_bytes=200
 INFO load{model=m:latest}: drover::runner_client::start: runner started runner.pid=7 model=m:latest
DEBUG load{model=m:latest}:runner{model="m:latest" pid=7}: drover::runner_client::log: load_tensors: offloaded 33/33 layers to GPU
DEBUG load{model=m:latest}:runner{model="m:latest" pid=7}: drover::runner_client::log: load_tensors:   CPU_Mapped model buffer size =    10.00 MiB
DEBUG load{model=m:latest}:runner{model="m:latest" pid=7}: drover::runner_client::log: load_tensors:        CUDA0 model buffer size =   700.00 MiB
DEBUG load{model=m:latest}:runner{model="m:latest" pid=7}: drover::runner_client::log: llama_kv_cache:      CUDA0 KV buffer size =   128.00 MiB
DEBUG load{model=m:latest}:runner{model="m:latest" pid=7}: drover::runner_client::log: sched_reserve:      CUDA0 compute buffer size =    60.00 MiB
DEBUG load{model=m:latest}:runner{model="m:latest" pid=7}: drover::runner_client::log: sched_reserve:  CUDA_Host compute buffer size =    12.00 MiB
DEBUG load{model=m:latest}:runner{model="m:latest" pid=7}: drover::runner_client::log: sched_reserve: graph: nodes = 133, splits = 2, input objects = 4
DEBUG runner{model="m:latest" pid=8}: drover::runner_client::log: llama_kv_cache:        CPU KV buffer size =   999.00 MiB
"""


def wrong(log, entry=ENTRY):
    return "; ".join(placement.Load(log).on_the_cpu(10 * MIB, entry))


class Placement(unittest.TestCase):
    def test_a_whole_load(self):
        load = placement.Load(LOAD)
        self.assertEqual(load.on_the_cpu(10 * MIB, ENTRY), [])
        self.assertEqual((load.offloaded, load.n_splits, load.mib(False), load.mib(True)), ((33, 33), 2, 888, 22))
        self.assertEqual(load.plan, {"n_ctx_pool": 4096, "n_slots": 16, "system_bytes": 100, "gpu_bytes": 200})

    def test_what_is_left_to_the_processor(self):
        for before, after, words in [
            ("offloaded 33/33", "offloaded 32/33", "32 of 33 layers"),
            ("offloaded 33/33 layers to GPU", "", "does not say"),
            ("CPU_Mapped model buffer size =    10.00", "CPU_Mapped model buffer size =    40.00", "40 MiB of weights"),
            ("CUDA0 KV", "CPU KV", "128 MiB of the KV cache"),
            ("CUDA0 compute buffer size =    60", "CPU compute buffer size =    70", "70 MiB of compute"),
            ("splits = 2", "splits = 60 (with bs=512), 3 (with bs=1)", "60 pieces"),
        ]:
            self.assertIn(before, LOAD)
            self.assertIn(words, wrong(LOAD.replace(before, after)))
        self.assertIn("/api/ps shows 600 MiB", wrong(LOAD, {"size": 900 * MIB, "size_vram": 300 * MIB}))

    def test_colours_do_not_hide_anything(self):
        coloured = LOAD.replace("load_tensors", "\x1b[2mload_tensors\x1b[0m")
        self.assertEqual(placement.Load(coloured).buffers, placement.Load(LOAD).buffers)

    def test_devices_with_blanks_in_their_names(self):
        log = ("inference compute name=CUDA0 description=NVIDIA GeForce RTX 4080 backend=CUDA total_bytes=17 free_bytes=1\n"
               'inference compute name=CPU description="AMD EPYC" backend=CPU total_bytes=18 free_bytes=2\n')
        expected = [("CUDA0", "NVIDIA GeForce RTX 4080", "CUDA", 17), ("CPU", "AMD EPYC", "CPU", 18)]
        self.assertEqual(placement.devices(log), expected)

    def test_plans(self):
        line = "memory of the loaded model model=m gpu_bytes={} planned_gpu_bytes={} system_bytes=5 planned_system_bytes=900000000\n"
        for taken, planned, is_far in [(5000, 5140, False), (5000, 5160, True), (5000, 4840, True), (100, 131, False), (100, 133, True)]:
            load = placement.Load(LOAD + " INFO x: " + line.format(taken * MIB, planned * MIB))
            far = placement.too_far(*placement.planned_and_taken(load, {}), is_card=True)
            self.assertEqual(bool(far), is_far, (taken, planned, far))
        self.assertEqual(placement.planned_and_taken(placement.Load(LOAD), {}), (None, None))
        entry = {"memory": [{"device": "CUDA0", "weights": 1, "kv": 2}], "planned": [{"device": "CUDA0", "weights": 1, "compute": 3}]}
        self.assertEqual(placement.planned_and_taken(load, entry), ({"CUDA0": 4}, {"CUDA0": 3}))


    def test_the_plan_of_fit(self):
        fit = {"devices": [{"name": "CUDA0", "size": 5}, {"name": "CUDA1", "size": 6}, {"name": "system", "size": 7}]}
        self.assertEqual(placement.fitted(fit, {"CUDA0", "CUDA1"}), {"devices": 11, "CPU": 7})
        self.assertIsNone(placement.fitted(None, set()))


class Clients(unittest.TestCase):
    def stream(self, *events, status=200):
        head = f"HTTP/1.0 {status} OK\r\ncontent-type: text/event-stream\r\n\r\n"
        return (head + "".join(f"data: {json.dumps(event)}\n\n" for event in events)).encode()

    def test_events_come_when_their_last_byte_does(self):
        data = self.stream({"choices": [{"text": "a"}]}, {"choices": [{"text": "b"}]})
        received = [(index, data[index : index + 1]) for index in range(len(data))]
        times = [time_ for time_, _ in clients.events(received)]
        self.assertEqual(times, [data.index(b"}\n") + 1 if index == 0 else len(data) - 2 for index in range(2)])

    def test_tokens_without_text_count(self):
        usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 8}}
        pieces = [(time_, {"choices": [{"text": "x"}]}) for time_ in (1, 2, 3, 4)]
        received = [(0, self.stream())] + [(time_, f"data: {json.dumps(event)}\n".encode()) for time_, event in [*pieces, (5, usage)]]
        answer = clients.Answer(0.5, received, False)
        self.assertEqual((answer.first(), answer.n_output, answer.text), (0.5, 8, "xxxx"))
        self.assertEqual(answer.rate_between(1, 4), 2.0)

    def test_failures_are_raised(self):
        for data, words in [
            (self.stream({"error": "out of memory"}), "out of memory"),
            (self.stream({"choices": [{"text": "a"}]}), "without an end"),
            (b"HTTP/1.0 503 x\r\n\r\n{\"error\": \"busy\"}", "503.*busy"),
            (b"", "no answer"),
        ]:
            with self.assertRaisesRegex(RuntimeError, words):
                clients.Answer(0, [(1, data)] if data else [], False)


class Logits(unittest.TestCase):
    def answer(self, *values):
        tops = [None] + [{"a": value, "b": -2.0} for value in values]
        return [{"token_logprobs": [None, *values], "top_logprobs": tops}]

    def test_distances(self):
        found = steps.compare(self.answer(-0.5, -1.0), self.answer(-0.6, -1.2))
        self.assertAlmostEqual(found["mean"], 0.15)
        self.assertEqual((found["other_best"], found["clear"]), (0, 2))

    def test_another_best_token(self):
        self.assertEqual(steps.compare(self.answer(-0.5), self.answer(-2.5))["other_best"], 1)
        # If the two best tokens are nearly equal, either may be the best.
        self.assertEqual(steps.compare(self.answer(-1.9), self.answer(-2.1))["other_best"], 0)

    def test_what_is_no_number(self):
        with self.assertRaises(RuntimeError):
            steps.compare(self.answer(-0.5), self.answer(math.nan))


class Models(unittest.TestCase):
    def test_they_have_the_published_sizes(self):
        made = {name: make()["ollama"] for name, make in shapes.MAKERS.items()}
        sizes = {name: round(model.size() / 1e9, 1) for name, model in made.items()}
        self.assertEqual(sizes, {"gemma3": 8.1, "gpt-oss": 13.8, "mistral": 4.4})
        read = {name: round(model.bytes_per_token() / 1e9, 1) for name, model in made.items()}
        self.assertEqual(read, {"gemma3": 7.3, "gpt-oss": 3.7, "mistral": 4.3})

    def test_rows_are_whole_blocks(self):
        for name, make in shapes.MAKERS.items():
            for model in [*make().values(), *make(**shapes.SMALL[name]).values()]:
                for tensor, kind, shape in model.tensors:
                    self.assertEqual(shape[0] % gguf.BLOCK[kind][0], 0, (name, tensor))

    def test_hollow_files_are_as_long(self):
        model = shapes.mistral(**shapes.SMALL["mistral"])["ollama"]
        with tempfile.TemporaryDirectory() as folder:
            sizes = {shapes.add(folder, str(hollow), model, hollow) for hollow in (False, True)}
        self.assertEqual(len(sizes), 1)

    def test_weights_are_like_trained_ones(self):
        for kind, numbers in [(gguf.Q4_K, q4_k), (gguf.Q6_K, q6_k), (gguf.MXFP4, mxfp4)]:
            data, size = gguf.pattern(kind), gguf.BLOCK[kind][1]
            values = [value for index in range(200) for value in numbers(data[index * size : (index + 1) * size])]
            self.assertEqual(len(values), 200 * gguf.BLOCK[kind][0])
            self.assertLess(abs(statistics.fmean(values)), 0.002, kind)
            self.assertTrue(0.015 < statistics.pstdev(values) < 0.035, (kind, statistics.pstdev(values)))


def q4_k(block):
    scale, minimum = struct.unpack("<ee", block[:4])
    packed = block[4:16]
    for index in range(8):
        if index < 4:
            factor, offset = packed[index] & 63, packed[index + 4] & 63
        else:
            factor = packed[index + 4] & 15 | packed[index - 4] >> 6 << 4
            offset = packed[index + 4] >> 4 | packed[index] >> 6 << 4
        for byte in block[16 + index // 2 * 32 :][:32]:
            yield scale * factor * (byte >> 4 if index % 2 else byte & 15) - minimum * offset


def q6_k(block):
    scale, = struct.unpack("<e", block[208:])
    for half in range(2):
        low, high = block[half * 64 :][:64], block[128 + half * 32 :][:32]
        for index in range(128):
            byte = low[index % 64]
            value = (byte >> 4 if index >= 64 else byte & 15) | (high[index % 32] >> index // 32 * 2 & 3) << 4
            yield scale * struct.unpack("b", block[192 + half * 8 + index // 16 :][:1])[0] * (value - 32)


def mxfp4(block):
    steps_ = (0, 1, 2, 3, 4, 6, 8, 12)
    for byte in block[1:]:
        for value in (byte & 15, byte >> 4):
            yield (-1 if value > 7 else 1) * steps_[value % 8] * 2.0 ** (block[0] - 128)


class Report(unittest.TestCase):
    FOUND = {"device": {"card": {"name": "NVIDIA GeForce RTX 4080"}, "llama_cpp": []}, "bandwidth": {"read": 700e9},
             "models": {"gemma3": {"bytes": 2**30, "bytes_per_token": 2**29, "limit_tokens_per_s": 100.0, "of_limit": 0.8,
                                   "streams": {"1": 80.0, "8": 281.0, "16": 449.0}}, "gpt-oss": {}, "mistral": {}}}

    def test_goals_of_the_card_they_were_made_for_and_of_others(self):
        self.assertEqual([each["met"] for each in report.goals(self.FOUND, "real")], [True, True, False])
        other = {**self.FOUND, "device": {"card": {"name": "NVIDIA H200"}}}
        self.assertEqual([round(each["reached"], 1) for each in report.goals(other, "real")], [0.8, 3.5, 5.6])
        self.assertEqual(report.goals(self.FOUND, "small"), [])

    def test_a_table_of_what_there_is(self):
        table = report.markdown(self.FOUND, "real")
        self.assertIn("| NVIDIA GeForce RTX 4080, 700 GB/s measured | Gemma 3 12B |", table)
        self.assertIn("| 16 streams, tokens/s (multiple of one) | 449 (5.6) | – | – |", table)
        self.assertNotIn("image", table)


if __name__ == "__main__":
    unittest.main()
