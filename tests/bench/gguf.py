"""Writes GGUF files with random weights at the speed of the disk. Standard library only.

A file's weights are a pattern of random blocks that repeats. Its scales are chosen, not random: weights have a
standard deviation of about 0.02 and a mean of about zero, as trained ones do, so that what a network of any depth
computes of them stays finite and different for every token. Patterns have a prime number of blocks, so that
the rows of a matrix differ.
"""

import array
import hashlib
import random
import re
import struct
import threading
import zlib

F32, F16, Q4_K, Q6_K, BF16, MXFP4 = 0, 1, 12, 14, 30, 39
# The number of values in a block, and its bytes.
BLOCK = {F32: (1, 4), F16: (1, 2), Q4_K: (256, 144), Q6_K: (256, 210), BF16: (1, 2), MXFP4: (32, 17)}
# Not a type of GGUF: the weights of norms, which are about 1.
NORM = -1
ALIGNMENT = 32
DEVIATION = 0.02


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key, value):
    """A key with its value, whose type follows from Python's."""
    head = text(key)
    if isinstance(value, bool):
        return head + struct.pack("<IB", 7, value)
    if isinstance(value, int):
        return head + struct.pack("<II", 4, value)
    if isinstance(value, float):
        return head + struct.pack("<If", 6, value)
    if isinstance(value, str):
        return head + struct.pack("<I", 8) + text(value)
    if value and isinstance(value[0], (str, bytes)):
        return head + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
    kind, letter = (6, "f") if value and isinstance(value[0], float) else (5, "i")
    return head + struct.pack("<IIQ", 9, kind, len(value)) + array.array(letter, value).tobytes()


def prime_below(number):
    while any(number % divisor == 0 for divisor in range(2, int(number**0.5) + 1)):
        number -= 1
    return number


def numbers(kind, source):
    """A pattern of single numbers."""
    count = prime_below(1 << 18)
    middle, deviation = (1.0, 0.05) if kind == NORM else (0.0, DEVIATION)
    values = [source.gauss(middle, deviation) for _ in range(count)]
    if kind == F16:
        return struct.pack(f"<{count}e", *values)
    data = array.array("f", values).tobytes()
    if kind != BF16:
        return data
    upper = bytearray(2 * count)
    upper[0::2], upper[1::2] = data[2::4], data[3::4]
    return bytes(upper)


def blocks(kind, source):
    """A pattern of quantized blocks: random bytes, and scales that fit."""
    size = BLOCK[kind][1]
    count = prime_below((1 << 26) // size)
    data = bytearray(source.randbytes(size * count))

    def put(at, value):
        for index, byte in enumerate(value):
            data[at + index :: size] = bytes([byte]) * count

    half = lambda value: struct.pack("<e", value)
    if kind == MXFP4:
        # Exponents of 119 to 121: 2^-9 to 2^-7, times up to 12.
        data[0::size] = data[0::size].translate(bytes(119 + byte % 3 for byte in range(256)))
    elif kind == Q4_K:
        # All scales and minima are 32 and a random part of 0 to 15; the minimum of a block is the middle of its range.
        scale = DEVIATION / (39.5 * 4.6)
        put(0, half(scale) + half(7.5 * scale))
        put(4, b"\xa0" * 8)
    elif kind == Q6_K:
        for at in range(192, 208):
            data[at::size] = data[at::size].translate(bytes(8 + byte % 16 for byte in range(256)))
        put(208, half(DEVIATION / (15.5 * 18.5)))
    return bytes(data)


PATTERNS, LOCK = {}, threading.Lock()


def pattern(kind):
    with LOCK:
        if kind not in PATTERNS:
            make = blocks if kind in (Q4_K, Q6_K, MXFP4) else numbers
            PATTERNS[kind] = make(kind, random.Random(f"weights {kind}"))
        return PATTERNS[kind]


def n_bytes(kind, shape):
    count = 1
    for side in shape:
        count *= side
    return count // BLOCK[kind][0] * BLOCK[kind][1]


def start(name, kind):
    """The block of the pattern that a tensor begins with: the same in all layouts, another one in each layer."""
    layer = re.match(r"blk\.(\d+)\.", name)
    block = 7919 * int(layer[1]) if layer else 0
    # Other layouts have other names for norms and sinks, and for this one.
    if kind != F32:
        block += zlib.crc32(name.replace("attn_output", "attn_out").encode())
    return block


def header(pairs, tensors):
    infos, offset = [], 0
    for name, kind, shape in tensors:
        infos.append(text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset))
        offset += -(-n_bytes(kind, shape) // ALIGNMENT) * ALIGNMENT
    pairs = [pair(key, value) for key, value in pairs]
    data = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs) + b"".join(infos)
    return data + bytes(-len(data) % ALIGNMENT)


def name_of(head, hollow=False):
    """A name for a file that is known by its header: its weights follow from it."""
    weights = b"no weights\n" if hollow else b"drover's random weights, 1\n"
    return hashlib.sha256(weights + head).hexdigest()


def write(path, head, tensors, hollow=False):
    """Writes a file; one that is there stays. A hollow one has zeros that take no room."""
    if path.exists():
        return
    part = path.with_suffix(".part")
    with open(part, "wb", buffering=0) as file:
        file.write(head)
        if hollow:
            sizes = (-(-n_bytes(kind, shape) // ALIGNMENT) * ALIGNMENT for _, kind, shape in tensors)
            file.truncate(len(head) + sum(sizes))
            tensors = []
        for name, kind, shape in tensors:
            is_norm = kind == F32 and "norm" in name and name.endswith(".weight")
            data = memoryview(pattern(NORM if is_norm else kind))
            left, size = n_bytes(kind, shape), BLOCK[kind][1]
            at = start(name, kind) * size % len(data)
            while left:
                written = file.write(data[at : at + left])
                left -= written
                at = (at + written) % len(data)
            file.write(bytes(-file.tell() % ALIGNMENT))
    part.rename(path)
