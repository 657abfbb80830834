"""Files and batch jobs with the official OpenAI client against a running daemon.

DROVER_URL and DROVER_MODEL come from the environment.
"""

import hashlib
import io
import json
import time

import openai

from checks import MODEL, URL, check, equal, main

CLIENT = openai.OpenAI(
    base_url=f"{URL}/v1", api_key="any", timeout=180, max_retries=0, _strict_response_validation=True
)


def fails(kind, function, *arguments, **keywords):
    try:
        result = function(*arguments, **keywords)
    except kind as error:
        assert error.body and {"message", "type", "param", "code"} <= set(error.body), error.body
        return error
    raise AssertionError(f"expected {kind.__name__}, got {result!r}")


@check
def files_come_and_go():
    content = b'{"a":1}\n' * 100_000
    file = CLIENT.files.create(
        file=("in.jsonl", content), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    equal((file.bytes, file.filename, file.purpose), (len(content), "in.jsonl", "batch"), "file")
    equal(file.expires_at, file.created_at + 3600, "expires_at")
    equal(CLIENT.files.retrieve(file.id), file, "retrieved")
    equal(CLIENT.files.content(file.id).read(), content, "content")
    other = CLIENT.files.create(file=io.BytesIO(b"x"), purpose="user_data")
    listed = [entry.id for entry in CLIENT.files.list(limit=1)]
    assert {file.id, other.id} <= set(listed), listed
    equal([entry.id for entry in CLIENT.files.list(purpose="batch")], [file.id], "purpose")
    for each in (file, other):
        assert CLIENT.files.delete(each.id).deleted
    error = fails(openai.NotFoundError, CLIENT.files.retrieve, file.id)
    equal((error.type, error.param, error.code), ("invalid_request_error", "id", None), "error")
    error = fails(openai.BadRequestError, CLIENT.files.create, file=b"x", purpose="nothing")
    equal(error.param, "purpose", "param")


@check
def a_file_in_parts():
    content = bytes(range(256)) * 4000
    upload = CLIENT.uploads.create(
        bytes=len(content), filename="a.bin", mime_type="application/octet-stream", purpose="user_data"
    )
    equal(upload.status, "pending", "status")
    half = len(content) // 2
    parts = [CLIENT.uploads.parts.create(upload.id, data=piece) for piece in (content[:half], content[half:])]
    equal({part.upload_id for part in parts}, {upload.id}, "upload_id")
    done = CLIENT.uploads.complete(
        upload.id, part_ids=[part.id for part in parts], md5=hashlib.md5(content).hexdigest()
    )
    equal((done.status, done.file.bytes), ("completed", len(content)), "done")
    equal(CLIENT.files.content(done.file.id).read(), content, "content")
    CLIENT.files.delete(done.file.id)
    given_up = CLIENT.uploads.create(bytes=1, filename="b", mime_type="text/plain", purpose="user_data")
    equal(CLIENT.uploads.cancel(given_up.id).status, "cancelled", "status")
    fails(openai.BadRequestError, CLIENT.uploads.complete, given_up.id, part_ids=["part_x"])
    fails(openai.NotFoundError, CLIENT.uploads.cancel, "upload_x")


@check
def chunks_of_a_large_file():
    content = b"0123456789" * 30_000
    done = CLIENT.uploads.upload_file_chunked(
        file=content,
        bytes=len(content),
        filename="c.txt",
        mime_type="text/plain",
        purpose="user_data",
        part_size=100_000,
    )
    equal(CLIENT.files.content(done.file.id).read(), content, "content")
    CLIENT.files.delete(done.file.id)


def line(name, content, **more):
    body = {"model": MODEL, "messages": [{"role": "user", "content": content}], "max_tokens": 8, **more}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


def handed_in(lines, endpoint="/v1/chat/completions", **keywords):
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    file = CLIENT.files.create(file=("in.jsonl", content), purpose="batch")
    return CLIENT.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", **keywords
    )


def ended(batch):
    deadline = time.monotonic() + 120
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        assert time.monotonic() < deadline, batch
        time.sleep(0.1)
        batch = CLIENT.batches.retrieve(batch.id)
    return batch


def results(file):
    text = CLIENT.files.content(file).text
    return {line["custom_id"]: line for line in map(json.loads, text.splitlines())}


@check
def a_batch_from_file_to_file():
    lines = [line("a", "Name a colour."), line("b", "Hello."), line("c", "x", temperature=9)]
    batch = handed_in(lines, metadata={"job": "one"})
    equal((batch.status, batch.metadata), ("validating", {"job": "one"}), "created")
    batch = ended(batch)
    equal(batch.status, "completed", "status")
    counts = batch.request_counts
    equal((counts.total, counts.completed, counts.failed), (3, 2, 1), "counts")
    assert batch.in_progress_at <= batch.finalizing_at <= batch.completed_at, batch
    assert batch.usage.total_tokens > 0, batch.usage
    good, bad = results(batch.output_file_id), results(batch.error_file_id)
    equal((sorted(good), sorted(bad)), (["a", "b"], ["c"]), "custom ids")
    for each in good.values():
        equal(each["response"]["status_code"], 200, "status_code")
        openai.types.chat.ChatCompletion.model_validate(each["response"]["body"])
    equal(bad["c"]["response"]["status_code"], 400, "status_code")
    equal(bad["c"]["response"]["body"]["error"]["param"], "temperature", "param")
    listed = CLIENT.batches.list(limit=1)
    equal(listed.data[0].id, batch.id, "newest first")
    error = fails(openai.ConflictError, CLIENT.batches.cancel, batch.id)
    equal(error.status_code, 409, "status")


@check
def a_batch_of_embeddings_and_one_of_completions():
    for endpoint, body in (
        ("/v1/completions", {"model": MODEL, "prompt": "Once", "max_tokens": 3}),
        ("/v1/embeddings", {"model": MODEL, "input": ["a", "b"]}),
    ):
        lines = [{"custom_id": "x", "method": "POST", "url": endpoint, "body": body}]
        batch = ended(handed_in(lines, endpoint))
        equal(batch.status, "completed", "status")


@check
def a_batch_with_faults():
    lines = [line("a", "x"), line("a", "x"), line("b", "x", stream=True), {"custom_id": "c"}]
    batch = ended(handed_in(lines))
    equal(batch.status, "failed", "status")
    faults = [(error.code, error.line) for error in batch.errors.data]
    expected = [("duplicate_custom_id", 2), ("streaming_unsupported", 3)]
    equal(faults[:2], expected, "faults")
    equal(batch.output_file_id, None, "output")
    error = fails(openai.NotFoundError, CLIENT.batches.retrieve, "batch_x")
    equal(error.type, "invalid_request_error", "type")
    error = fails(
        openai.BadRequestError,
        CLIENT.batches.create,
        input_file_id="x",
        endpoint="/v1/moderations",
        completion_window="24h",
    )
    equal((error.param, error.code), ("endpoint", "invalid_value"), "error")


@check
def a_batch_that_is_cancelled():
    batch = handed_in([line(f"{n}", "Tell a long story.", max_tokens=400, min_tokens=400) for n in range(50)])
    while batch.status == "validating":
        batch = CLIENT.batches.retrieve(batch.id)
    batch = CLIENT.batches.cancel(batch.id)
    assert batch.status in ("cancelling", "cancelled"), batch
    batch = ended(CLIENT.batches.cancel(batch.id))
    equal(batch.status, "cancelled", "status")
    names = set()
    for file in (batch.output_file_id, batch.error_file_id):
        if file:
            names |= set(results(file))
    equal(len(names), 50, "every line once")


if __name__ == "__main__":
    main()
