#!/usr/bin/env python3
"""How fast can the memory be read? The limit of everything that reads all weights for every token.

    tests/gpu/bandwidth.py cuda|cpu

Prints JSON: bytes per second `read` and, for comparison, moved by a copy (`copy`: read and written). On a card this
needs nothing but the driver: the kernel is in PTX, which the driver itself compiles, and everything goes through
its library. It reads 1 GiB, far more than any cache holds, again and again. For a processor, every core searches
memory of its own for a byte that is not there. Best of all rounds.
"""

import ctypes
import json
import os
import sys
import threading
import time

# An idle card needs a while for its clocks to rise.
LONG_ENOUGH_S = 0.5
CARD_BYTES, CPU_BYTES = 1 << 30, 1 << 28
BLOCK, BLOCKS_PER_CORE, UNROLLED = 256, 8, 4

# Every thread reads four times 16 bytes, a grid apart, until the end, and adds up what it has read in a sum that is
# written only if it has one particular value.
PTX = b"""
.version 7.0
.target sm_60
.address_size 64
.visible .entry read_all(.param .u64 data, .param .u64 count, .param .u64 result)
{
    .reg .pred %p;
    .reg .b32 %r<24>;
    .reg .b64 %d<12>;
    ld.param.u64 %d0, [data];
    ld.param.u64 %d1, [count];
    ld.param.u64 %d2, [result];
    cvta.to.global.u64 %d0, %d0;
    cvta.to.global.u64 %d2, %d2;
    mov.u32 %r0, %ctaid.x;
    mov.u32 %r1, %ntid.x;
    mov.u32 %r2, %tid.x;
    mad.lo.u32 %r3, %r0, %r1, %r2;
    cvt.u64.u32 %d3, %r3;
    mov.u32 %r4, %nctaid.x;
    mul.lo.u32 %r5, %r4, %r1;
    cvt.u64.u32 %d4, %r5;
    shl.b64 %d5, %d4, 4;
    shl.b64 %d6, %d4, 2;
    mov.u32 %r6, 0;
again:
    shl.b64 %d7, %d3, 4;
    add.u64 %d7, %d0, %d7;
    add.u64 %d8, %d7, %d5;
    add.u64 %d9, %d8, %d5;
    add.u64 %d10, %d9, %d5;
    ld.global.v4.u32 {%r8, %r9, %r10, %r11}, [%d7];
    ld.global.v4.u32 {%r12, %r13, %r14, %r15}, [%d8];
    ld.global.v4.u32 {%r16, %r17, %r18, %r19}, [%d9];
    ld.global.v4.u32 {%r20, %r21, %r22, %r23}, [%d10];
    xor.b32 %r8, %r8, %r9;
    xor.b32 %r10, %r10, %r11;
    xor.b32 %r12, %r12, %r13;
    xor.b32 %r14, %r14, %r15;
    xor.b32 %r16, %r16, %r17;
    xor.b32 %r18, %r18, %r19;
    xor.b32 %r20, %r20, %r21;
    xor.b32 %r22, %r22, %r23;
    xor.b32 %r8, %r8, %r10;
    xor.b32 %r12, %r12, %r14;
    xor.b32 %r16, %r16, %r18;
    xor.b32 %r20, %r20, %r22;
    xor.b32 %r8, %r8, %r12;
    xor.b32 %r16, %r16, %r20;
    xor.b32 %r8, %r8, %r16;
    xor.b32 %r6, %r6, %r8;
    add.u64 %d3, %d3, %d6;
    setp.lt.u64 %p, %d3, %d1;
    @%p bra again;
    setp.eq.u32 %p, %r6, 0x9e3779b9;
    @%p st.global.u32 [%d2], %r6;
    ret;
}
"""


def quickest(measure):
    """The least that `measure` returns while it is repeated."""
    end, found = time.monotonic() + LONG_ENOUGH_S, []
    while time.monotonic() < end:
        found.append(measure())
    return min(found)


class Driver:
    """`libcuda.so.1`, whose calls fail with an exception."""

    def __init__(self):
        self.library = ctypes.CDLL("libcuda.so.1")

    def __getattr__(self, name):
        function = getattr(self.library, name)

        def call(*arguments):
            code = function(*arguments)
            if code:
                raise SystemExit(f"{name}: error {code} of the NVIDIA driver")

        return call


def of_card():
    driver, device, context = Driver(), ctypes.c_int(), ctypes.c_void_p()
    driver.cuInit(0)
    # The first device that CUDA_VISIBLE_DEVICES allows.
    driver.cuDeviceGet(ctypes.byref(device), 0)

    def attribute(number):
        value = ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(value), number, device)
        return value.value

    name = ctypes.create_string_buffer(128)
    driver.cuDeviceGetName(name, 128, device)
    driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
    driver.cuCtxSetCurrent(context)
    n_cores = attribute(16)
    # As many bytes as all threads read in whole rounds.
    n_blocks = n_cores * BLOCKS_PER_CORE
    round_bytes = n_blocks * BLOCK * UNROLLED * 16
    size = CARD_BYTES // round_bytes * round_bytes
    pointers = [ctypes.c_uint64() for _ in range(3)]
    for pointer, bytes_ in zip(pointers, (size, size, 256)):
        driver.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(bytes_))
    source, target, result = pointers
    driver.cuMemsetD32_v2(source, 0x3F800000, ctypes.c_size_t(size // 4))
    module, kernel, stream = ctypes.c_void_p(), ctypes.c_void_p(), None
    driver.cuModuleLoadData(ctypes.byref(module), PTX)
    driver.cuModuleGetFunction(ctypes.byref(kernel), module, b"read_all")
    events = [ctypes.c_void_p() for _ in range(2)]
    for event in events:
        driver.cuEventCreate(ctypes.byref(event), 0)
    count = ctypes.c_uint64(size // 16)
    arguments = (ctypes.c_void_p * 3)(*(ctypes.addressof(value) for value in (source, count, result)))

    def read():
        driver.cuLaunchKernel(kernel, n_blocks, 1, 1, BLOCK, 1, 1, 0, stream, arguments, None)

    def copy():
        driver.cuMemcpyDtoDAsync_v2(target, source, ctypes.c_size_t(size), stream)

    def seconds(work):
        took = ctypes.c_float()
        driver.cuEventRecord(events[0], stream)
        work()
        driver.cuEventRecord(events[1], stream)
        driver.cuEventSynchronize(events[1])
        driver.cuEventElapsedTime(ctypes.byref(took), *events)
        return took.value / 1000

    best = {work: quickest(lambda: seconds(work)) for work in (read, copy)}
    # Clock in kHz and width in bits, at two edges; newer drivers do not report them.
    by_data_sheet = 2 * attribute(36) * 1000 * attribute(37) // 8
    return {"device": name.value.decode(), "read": size / best[read], "copy": 2 * size / best[copy],
            "data_sheet": by_data_sheet or None}


def of_processor():
    libc = ctypes.CDLL(None)
    n_threads = len(os.sched_getaffinity(0))
    # A limit for all threads together, so that slow machines with many cores do not take too long.
    size = min(CPU_BYTES, (2 << 30) // n_threads)
    buffers = [ctypes.create_string_buffer(b"\1" * size, size) for _ in range(n_threads)]
    targets = [ctypes.create_string_buffer(size) for _ in range(n_threads)]

    def seconds(work):
        threads = [threading.Thread(target=work, args=(index,)) for index in range(n_threads)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - started

    def read(index):
        libc.memchr(buffers[index], 2, ctypes.c_size_t(size))

    def copy(index):
        libc.memcpy(targets[index], buffers[index], ctypes.c_size_t(size))

    best = {work: quickest(lambda: seconds(work)) for work in (read, copy)}
    total = size * n_threads
    return {"device": "CPU", "read": total / best[read], "copy": 2 * total / best[copy], "data_sheet": None}


if __name__ == "__main__":
    measures = {"cuda": of_card, "cpu": of_processor}
    if sys.argv[1:2] not in [[name] for name in measures]:
        sys.exit(__doc__)
    print(json.dumps(measures[sys.argv[1]]()))
