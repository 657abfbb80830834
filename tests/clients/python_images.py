"""Pictures from the official Python clients (ollama, openai).

DROVER_URL and DROVER_MODEL (a model that sees) come from the environment. The model may have random
weights: what it says about a picture does not matter, that it was shown one does.
"""

import base64
import struct
import tempfile
import zlib
from pathlib import Path

import ollama
import openai

from checks import MODEL, URL, check, equal, main

OLLAMA = ollama.Client(host=URL, timeout=180)
OPENAI = openai.OpenAI(base_url=f"{URL}/v1", api_key="unused", timeout=180, max_retries=0)
OPTIONS = {"temperature": 0, "num_predict": 4}


def png(color):
    """A picture of 56 by 56 pixels of one colour."""
    line = b"\0" + bytes(color) * 56
    chunk = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    header = struct.pack(">IIBBBBB", 56, 56, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(line * 56))
        + chunk(b"IEND", b"")
    )


PICTURE = png((200, 30, 30))


def without():
    message = {"role": "user", "content": "a"}
    return OLLAMA.chat(model=MODEL, messages=[message], options=OPTIONS).prompt_eval_count


@check
def ollama_takes_bytes_a_path_and_base64():
    counts = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        path.write_bytes(PICTURE)
        for image in (PICTURE, str(path), path, base64.b64encode(PICTURE).decode()):
            message = {"role": "user", "content": "a", "images": [image]}
            answer = OLLAMA.chat(model=MODEL, messages=[message], options=OPTIONS)
            assert answer.done, answer
            counts.append(answer.prompt_eval_count)
    equal(len(set(counts)), 1, f"the same picture every time: {counts}")
    assert counts[0] > without() + 10, "the picture is part of the prompt"


@check
def ollama_streams_about_a_picture():
    pieces = list(OLLAMA.generate(model=MODEL, prompt="a", images=[PICTURE], options=OPTIONS, stream=True))
    assert pieces[-1].done, pieces
    plain = OLLAMA.generate(model=MODEL, prompt="a", options=OPTIONS).prompt_eval_count
    assert pieces[-1].prompt_eval_count > plain + 10, pieces[-1]


@check
def ollama_names_what_a_model_can():
    assert "vision" in OLLAMA.show(MODEL).capabilities


@check
def openai_takes_data_uris():
    url = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
    content = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": url}}]
    answer = OPENAI.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": content}], max_tokens=4, temperature=0
    )
    assert answer.usage.prompt_tokens > without() + 10, answer.usage


@check
def openai_hears_why_an_address_is_refused():
    content = [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/picture.png"}}]
    try:
        OPENAI.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}])
    except openai.BadRequestError as error:
        assert "not currently supported" in str(error), error
    else:
        raise AssertionError("an address was taken")


if __name__ == "__main__":
    main()
