"""Files and batch jobs with the official OpenAI client against a running daemon.

DROVER_URL and DROVER_MODEL come from the environment.
"""

import hashlib
import io

import openai

from checks import URL, check, equal, main

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


if __name__ == "__main__":
    main()
