#!/usr/bin/env python3
"""Models that have the shape of real ones, and random weights: Gemma 3 12B, gpt-oss 20B, Mistral 7B.

Each in the layout of Ollama's library (`ollama`) and of llama.cpp (`upstream`), at its real size or a small one of
the same kind.

    tests/bench/shapes.py STORE [small] [hollow]

makes a store with the three of them (26 GB), hollow ones without weights: files with holes, which take no room and
are enough for whatever reads headers only.
"""

import dataclasses
import hashlib
import json
import pathlib
import sys

import gguf
from gguf import BF16, F16, F32, MXFP4, Q4_K, Q6_K


@dataclasses.dataclass(frozen=True)
class Model:
    """A file in one layout: what its header says, and its tensors as (name, type, shape)."""

    pairs: list
    tensors: list
    n_layers: int
    # Tokens that stand for text.
    first_token: int
    end_token: int
    # How many of its experts a token uses, and how many there are.
    experts: tuple = (1, 1)
    template: str = "{{ .Prompt }}"

    def size(self, test=lambda name: True):
        return sum(gguf.n_bytes(kind, shape) for name, kind, shape in self.tensors if test(name))

    def text_bytes(self):
        """Bytes of weights without the encoder of images."""
        return self.size(lambda name: not name.startswith(("v.", "mm.")))

    def input_bytes(self):
        """Bytes of the table of the input's embeddings, which llama.cpp keeps in the system's memory."""
        return self.size(lambda name: name == "token_embd.weight")

    def bytes_per_token(self):
        """Bytes of weights that one token of one stream reads."""
        names = {name for name, *_ in self.tensors}
        experts = self.size(lambda name: "_exps." in name)
        unused = self.input_bytes() if "output.weight" in names else 0
        return self.text_bytes() - experts - unused + experts * self.experts[0] // self.experts[1]


def more_bits(index, n_layers):
    """Layers that Q4_K_M gives six bits in some of their matrices."""
    return index < n_layers // 8 or index >= 7 * n_layers // 8 or (index - n_layers // 8) % 3 == 2


def bytes_of_gpt2():
    """The characters that stand for bytes in GPT-2's vocabularies."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + index) for index in range(len(others))]


def of_sentences(n_vocab, n_more=0):
    """A vocabulary of the kind that Gemma and Mistral have; `n_more` tokens of it have no weights."""
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokens += [f"token{index}" for index in range(n_vocab - len(tokens))] + ["<image>"] * n_more
    kinds = [3, 3, 3, 2] + [6] * 256 + [1] * (n_vocab - 260) + [3] * n_more
    return [("tokenizer.ggml.model", "llama"), ("tokenizer.ggml.pre", "default"), ("tokenizer.ggml.tokens", tokens),
            ("tokenizer.ggml.scores", [-float(index) for index in range(n_vocab + n_more)]),
            ("tokenizer.ggml.token_type", kinds), ("tokenizer.ggml.bos_token_id", 2),
            ("tokenizer.ggml.eos_token_id", 1), ("tokenizer.ggml.unknown_token_id", 3)]


def gpt_oss(layers=24, n_vocab=201088, n_special=1089, n_merges=446189, width=2880, ff=2880, experts=32, heads=64, heads_kv=8):
    end = n_vocab - n_special
    tokens = bytes_of_gpt2()
    tokens += [f"token{index}" for index in range(end - len(tokens))]
    tokens += [f"<|special{index}|>" for index in range(n_special)]
    kinds = [1] * end + [3] * n_special
    keys = [("context_length", 131072), ("block_count", layers), ("embedding_length", width),
            ("feed_forward_length", ff), ("expert_count", experts), ("expert_used_count", 4),
            ("attention.head_count", heads), ("attention.head_count_kv", heads_kv), ("attention.key_length", 64),
            ("attention.value_length", 64), ("attention.layer_norm_rms_epsilon", 1e-5),
            ("attention.sliding_window", 128), ("rope.freq_base", 150000.0), ("rope.scaling.factor", 32.0),
            ("rope.scaling.original_context_length", 4096)]
    vocabulary = [("tokenizer.ggml.model", "gpt2"), ("tokenizer.ggml.tokens", tokens),
                  ("tokenizer.ggml.token_type", kinds),
                  ("tokenizer.ggml.merges", ["t o", "k e"] + [f"token{index} token" for index in range(n_merges - 2)]),
                  ("tokenizer.ggml.bos_token_id", end - 1), ("tokenizer.ggml.eos_token_id", end)]
    q, kv = heads * 64, heads_kv * 64

    def tensors(out, sinks, norm):
        yield "token_embd.weight", BF16, (width, n_vocab)
        for index in range(layers):
            name = f"blk.{index}."
            yield name + "attn_norm.weight", F32, (width,)
            for part, (rows, columns) in {"attn_q": (q, width), "attn_k": (kv, width), "attn_v": (kv, width),
                                          out: (width, q)}.items():
                yield name + part + ".weight", BF16, (columns, rows)
                yield name + part + ".bias", F32, (rows,)
            yield name + sinks, F32, (heads,)
            yield name + norm, F32, (width,)
            yield name + "ffn_gate_inp.weight", F32, (width, experts)
            yield name + "ffn_gate_inp.bias", F32, (experts,)
            for part, (rows, columns) in {"ffn_gate_exps": (ff, width), "ffn_up_exps": (ff, width),
                                          "ffn_down_exps": (width, ff)}.items():
                yield name + part + ".weight", MXFP4, (columns, rows, experts)
                yield name + part + ".bias", F32, (rows, experts)
        yield "output_norm.weight", F32, (width,)
        yield "output.weight", BF16, (width, n_vocab)

    ollama = [("general.architecture", "gptoss"), ("general.file_type", 4)]
    ollama += [(f"gptoss.{key}", value) for key, value in keys]
    ollama += vocabulary + [("tokenizer.ggml.pre", "default")]
    upstream = [("general.architecture", "gpt-oss"), ("general.file_type", 38)]
    upstream += [(f"gpt-oss.{key}", value) for key, value in keys]
    upstream += [("gpt-oss.expert_feed_forward_length", ff), ("gpt-oss.rope.scaling.type", "yarn")]
    upstream += vocabulary + [("tokenizer.ggml.pre", "gpt-4o")]
    common = {"n_layers": layers, "first_token": 256, "end_token": end - 1, "experts": (4, experts)}
    return {"ollama": Model(ollama, list(tensors("attn_out", "attn_sinks", "ffn_norm.weight")), **common),
            "upstream": Model(upstream, list(tensors("attn_output", "attn_sinks.weight", "post_attention_norm.weight")), **common)}


def gemma3(layers=48, n_vocab=262144, width=3840, ff=15360, heads=16, heads_kv=8, vision_layers=27, vision=1152,
           vision_ff=4304, vision_heads=16, image=896):
    keys = [("block_count", layers), ("context_length", 131072), ("embedding_length", width),
            ("feed_forward_length", ff), ("attention.head_count", heads), ("attention.head_count_kv", heads_kv),
            ("attention.key_length", 256), ("attention.value_length", 256), ("attention.sliding_window", 1024)]
    n_patches = (image // 14) ** 2
    sees = [("vision.block_count", vision_layers), ("vision.embedding_length", vision),
            ("vision.feed_forward_length", vision_ff), ("vision.image_size", image), ("vision.patch_size", 14),
            ("vision.attention.head_count", vision_heads), ("vision.attention.layer_norm_epsilon", 1e-6),
            ("mm.tokens_per_image", n_patches // 16)]
    q, kv = heads * 256, heads_kv * 256

    def text_tensors():
        yield "token_embd.weight", Q6_K, (width, n_vocab)
        for index in range(layers):
            name = f"blk.{index}."
            better = Q6_K if more_bits(index, layers) else Q4_K
            for norm in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
                yield name + norm + ".weight", F32, (width,)
            for norm in ("attn_q_norm", "attn_k_norm"):
                yield name + norm + ".weight", F32, (256,)
            yield name + "attn_q.weight", Q4_K, (width, q)
            yield name + "attn_k.weight", Q4_K, (width, kv)
            yield name + "attn_v.weight", better, (width, kv)
            yield name + "attn_output.weight", Q4_K, (q, width)
            yield name + "ffn_gate.weight", Q4_K, (width, ff)
            yield name + "ffn_up.weight", Q4_K, (width, ff)
            yield name + "ffn_down.weight", better, (ff, width)
        yield "output_norm.weight", F32, (width,)

    def tower():
        yield "v.patch_embedding.weight", F16, (14, 14, 3, vision)
        yield "v.patch_embedding.bias", F32, (vision,)
        yield "v.position_embedding.weight", F16, (vision, n_patches)
        for index in range(vision_layers):
            name = f"v.blk.{index}."
            for part, (columns, rows) in {"attn_q": (vision, vision), "attn_k": (vision, vision),
                                          "attn_v": (vision, vision), "attn_output": (vision, vision),
                                          "mlp.fc1": (vision, vision_ff), "mlp.fc2": (vision_ff, vision)}.items():
                yield name + part + ".weight", F16, (columns, rows)
                yield name + part + ".bias", F32, (rows,)
            for norm in ("layer_norm1", "layer_norm2"):
                yield name + norm + ".weight", F32, (vision,)
                yield name + norm + ".bias", F32, (vision,)
        yield "v.post_layernorm.weight", F32, (vision,)
        yield "v.post_layernorm.bias", F32, (vision,)
        yield "mm.mm_input_projection.weight", F16, (width, vision)
        yield "mm.mm_soft_emb_norm.weight", F32, (vision,)

    general = [("general.architecture", "gemma3"), ("general.file_type", 15)]
    ollama = general + [(f"gemma3.{key}", value) for key, value in keys + sees] + of_sentences(n_vocab, 1)
    upstream = general + [(f"gemma3.{key}", value) for key, value in keys]
    upstream += [("gemma3.attention.layer_norm_rms_epsilon", 1e-6), ("gemma3.rope.freq_base", 1e6),
                 ("gemma3.rope.freq_base_swa", 1e4), ("gemma3.rope.scaling.type", "linear"),
                 ("gemma3.rope.scaling.factor", 8.0)] + of_sentences(n_vocab)
    common = {"n_layers": layers, "first_token": 260, "end_token": n_vocab}
    return {"ollama": Model(ollama, sorted([*text_tensors(), *tower()]), **common),
            "upstream": Model(upstream, list(text_tensors()), **common)}


def mistral(layers=32, n_vocab=32768, width=4096, ff=14336, heads=32, heads_kv=8):
    keys = [("block_count", layers), ("context_length", 32768), ("embedding_length", width),
            ("feed_forward_length", ff), ("attention.head_count", heads), ("attention.head_count_kv", heads_kv),
            ("attention.layer_norm_rms_epsilon", 1e-5), ("rope.dimension_count", 128), ("rope.freq_base", 1e6),
            ("vocab_size", n_vocab)]
    q, kv = heads * 128, heads_kv * 128
    tensors = [("token_embd.weight", Q4_K, (width, n_vocab))]
    for index in range(layers):
        name = f"blk.{index}."
        better = Q6_K if more_bits(index, layers) else Q4_K
        tensors += [(name + "attn_norm.weight", F32, (width,)), (name + "attn_q.weight", Q4_K, (width, q)),
                    (name + "attn_k.weight", Q4_K, (width, kv)), (name + "attn_v.weight", better, (width, kv)),
                    (name + "attn_output.weight", Q4_K, (q, width)), (name + "ffn_norm.weight", F32, (width,)),
                    (name + "ffn_gate.weight", Q4_K, (width, ff)), (name + "ffn_up.weight", Q4_K, (width, ff)),
                    (name + "ffn_down.weight", better, (ff, width))]
    tensors += [("output_norm.weight", F32, (width,)), ("output.weight", Q6_K, (width, n_vocab))]
    pairs = [("general.architecture", "llama"), ("general.file_type", 15)]
    pairs += [(f"llama.{key}", value) for key, value in keys] + of_sentences(n_vocab)
    model = Model(pairs, tensors, n_layers=layers, first_token=260, end_token=n_vocab)
    return {"ollama": model, "upstream": model}


MAKERS = {"gemma3": gemma3, "gpt-oss": gpt_oss, "mistral": mistral}
SMALL = {
    "gemma3": {"layers": 6, "n_vocab": 8192, "width": 512, "ff": 1024, "heads": 4, "heads_kv": 2, "vision_layers": 2,
               "vision": 256, "vision_ff": 512, "vision_heads": 4, "image": 224},
    "gpt-oss": {"layers": 4, "n_vocab": 8192, "n_special": 64, "n_merges": 2, "width": 512, "ff": 512, "experts": 8,
                "heads": 8, "heads_kv": 2},
    "mistral": {"layers": 4, "n_vocab": 4096, "width": 512, "ff": 1024, "heads": 4, "heads_kv": 2},
}


def add(store, name, model, hollow=False):
    """Writes a model into a store, file and manifest; returns the size of the file. Its digest is that of the
    header alone: nobody waits until gigabytes are hashed."""
    blobs = pathlib.Path(store) / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)

    def small(kind, data):
        digest = hashlib.sha256(data).hexdigest()
        (blobs / f"sha256-{digest}").write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    head = gguf.header(model.pairs, model.tensors)
    digest = gguf.name_of(head, hollow)
    blob = blobs / f"sha256-{digest}"
    gguf.write(blob, head, model.tensors, hollow)
    weights = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}", "size": blob.stat().st_size}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": small("application/vnd.docker.container.image.v1+json", b"{}"),
        "layers": [weights, small("application/vnd.ollama.image.template", model.template.encode())],
    }
    path = pathlib.Path(store) / "manifests/registry.ollama.ai/library" / name / "latest"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(manifest))
    return weights["size"]


if __name__ == "__main__":
    if len(sys.argv) < 2 or not {*sys.argv[2:]} <= {"small", "hollow"}:
        sys.exit(__doc__)
    for name, make in MAKERS.items():
        model = make(**(SMALL[name] if "small" in sys.argv else {}))["ollama"]
        print(f"{name}: {add(sys.argv[1], name, model, 'hollow' in sys.argv) / 1e9:.2f} GB", flush=True)
