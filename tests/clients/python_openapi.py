"""Real answers of a running daemon against its own description, `/openapi.json`.

DROVER_URL and DROVER_MODEL (a small chat model) come from the environment. DROVER_SCRIPTED is a model that
says what is between `[[say ` and `]]`. An answer must have every field that the description requires, and no
field that it does not know; so must the requests that are sent here. Every operation is called once at least.
"""

import hashlib
import http.client
import json
import os
import re
import urllib.parse

from jsonschema import Draft202012Validator

from checks import MODEL, URL, check, equal, main

SCRIPTED = os.environ["DROVER_SCRIPTED"]
HOST = URL.removeprefix("http://")
MESSAGES = [{"role": "user", "content": "Name three colours."}]
GREEDY = {"temperature": 0, "seed": 1, "num_predict": 4}
CALL = '[[say I look.<tool_call>{"name": "weather", "arguments": {"city": "Ulm"}}</tool_call>]]'
CALLS = [{"role": "user", "content": CALL}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "weather", "description": "What the sky does", "parameters": PARAMETERS}
TOOLS = [{"type": "function", "function": FUNCTION}]
# The smallest PNG: one black pixel.
PIXEL = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")
JSON, LINES, EVENTS = "application/json", "application/x-ndjson", "text/event-stream"

# Operations that are answered with an error here: they need a network, audio, or a state that has passed.
ONLY_ERRORS = {
    "post_api_push", "post_api_pull", "post_v1_audio_transcriptions", "post_v1_responses_id_cancel",
    "delete_v1_messages_batches_id", "get_v1_messages_batches_id_results", "post_v1_messages_batches_id_cancel",
    "post_infill",
}

seen, succeeded = set(), set()


def raw(method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(HOST, timeout=180)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, (answer.getheader("content-type") or "").split(";")[0], answer.read()


DOCUMENT = json.loads(raw("GET", "/openapi.json")[2])


def strict(schema, is_whole=True):
    """The schema without room for fields that it does not name. Parts of `allOf` see only their own fields:
    the whole says what is left over."""
    if not isinstance(schema, dict):
        return schema
    result = {}
    for key, value in schema.items():
        if key in ("properties", "patternProperties"):
            result[key] = {name: strict(part) for name, part in value.items()}
        elif key in ("items", "additionalProperties"):
            result[key] = strict(value)
        elif key in ("allOf", "oneOf", "anyOf"):
            result[key] = [strict(part, False) for part in value]
        else:
            result[key] = value
    if is_whole and schema.keys() & {"$ref", "properties", "allOf", "oneOf", "anyOf"}:
        result["unevaluatedProperties"] = False
    return result


SCHEMAS = {name: strict(schema, False) for name, schema in DOCUMENT["components"]["schemas"].items()}


def validate(value, schema, what):
    whole = {**strict(schema), "components": {"schemas": SCHEMAS}}
    errors = [f"{error.json_path}: {error.message}" for error in Draft202012Validator(whole).iter_errors(value)]
    assert not errors, f"{what}: {errors[:5]}\n{json.dumps(value)[:2000]}"


def pieces(kind, answer):
    """The values in an answer."""
    text = answer.decode()
    if kind == JSON:
        return [json.loads(text)]
    if kind == LINES:
        return [json.loads(line) for line in text.splitlines()]
    data = re.findall(r"^data: ?(.*)$", text, re.MULTILINE)
    return [json.loads(line) for line in data if line != "[DONE]"]


def call(name, body=None, /, *, expect=None, query="", headers=None, form=None, **parts):
    """Sends one request to the operation `METHOD /path` and checks request and answer."""
    method, template = name.split(" ")
    operation = DOCUMENT["paths"][template][method.lower()]
    path = template
    for part, value in parts.items():
        path = path.replace("{%s}" % part, urllib.parse.quote(value))
    assert "{" not in path, path
    headers = dict(headers or {})
    if form:
        headers["content-type"] = "multipart/form-data; boundary=x"
        fields = form.items()
        lines = [f'--x\r\ncontent-disposition: form-data; name="{key}"{more}\r\n\r\n{value}\r\n'
                 for key, (more, value) in fields]
        body = "".join(lines) + "--x--\r\n"
        validate({key: value for key, (_, value) in form.items()},
                 operation["requestBody"]["content"]["multipart/form-data"]["schema"], f"form of {name}")
    elif isinstance(body, (dict, list)):
        validate(body, operation["requestBody"]["content"][JSON]["schema"], f"body of {name}")
        body = json.dumps(body)
        headers["content-type"] = JSON
    status, kind, answer = raw(method, path + query, body, headers)
    responses = operation["responses"]
    response = responses.get(str(status), responses["default"])
    seen.add(operation["operationId"])
    if str(status) in responses:
        succeeded.add(operation["operationId"])
    if expect is not None:
        assert status == expect, f"{name}: {status} {answer[:500]}"
    if method == "HEAD" or "content" not in response:
        equal(answer, b"", f"body of {name}")
        return None
    content = response["content"]
    assert kind in content or "*/*" in content, f"{name} answered {kind}: {answer[:300]}"
    schema = content.get(kind, content.get("*/*"))["schema"]
    if kind not in (JSON, LINES, EVENTS):
        return answer
    values = pieces(kind, answer)
    assert values, f"{name}: no value in {answer!r}"
    for value in values:
        validate(value, schema, f"answer of {name}")
    return values[0] if kind == JSON else values


@check
def the_check_itself_finds_faults():
    schema = {"$ref": "#/components/schemas/VersionResponse"}
    validate({"version": "1"}, schema, "a version")
    for bad in ({}, {"version": 1}, {"version": "1", "more": 1}):
        try:
            validate(bad, schema, "a version")
        except AssertionError:
            continue
        raise AssertionError(f"{bad} passed")


@check
def ollama_inference():
    for stream in (True, False):
        chat = {"model": MODEL, "messages": MESSAGES, "options": GREEDY, "stream": stream}
        call("POST /api/chat", chat, expect=200)
        call("POST /api/chat", {**chat, "logprobs": True, "top_logprobs": 2}, expect=200)
        call("POST /api/chat", {**chat, "model": SCRIPTED, "messages": CALLS, "tools": TOOLS, "options": {}}, expect=200)
        prompt = {"model": MODEL, "prompt": "Hello", "options": GREEDY, "stream": stream}
        call("POST /api/generate", prompt, expect=200)
        call("POST /api/generate", {**prompt, "logprobs": True}, expect=200)
        call("POST /api/generate", {**prompt, "format": "json"}, expect=200)
    call("POST /api/chat", {"model": MODEL, "messages": MESSAGES, "_debug_render_only": True}, expect=200)
    call("POST /api/generate", {"model": MODEL, "prompt": "Hi", "_debug_render_only": True}, expect=200)
    call("POST /api/generate", {"model": MODEL}, expect=200)
    call("POST /api/chat", {"model": MODEL, "messages": [{"role": "user", "content": "x", "images": [PIXEL]}]}, expect=400)
    call("POST /api/chat", {"model": "no-such-model", "messages": MESSAGES}, expect=404)
    call("POST /api/embed", {"model": MODEL, "input": ["a", "b"]}, expect=200)
    call("POST /api/embeddings", {"model": MODEL, "prompt": "a"}, expect=200)


@check
def ollama_management():
    call("GET /api/tags", expect=200)
    call("GET /api/ps", expect=200)
    call("POST /api/show", {"model": MODEL}, expect=200)
    call("POST /api/show", {"model": MODEL, "verbose": True, "fit": True}, expect=200)
    call("POST /api/fit", {"model": MODEL, "num_ctx": 512}, expect=200)
    call("POST /api/fit", {"model": "no-such-model"}, expect=404)
    made = {"model": "made", "from": MODEL, "system": "Be brief.", "license": ["a", "b"], "messages": MESSAGES}
    call("POST /api/create", made, expect=200)
    call("POST /api/create", {**made, "stream": False}, expect=200)
    call("POST /api/show", {"model": "made"}, expect=200)
    call("POST /api/copy", {"source": "made", "destination": "copied"}, expect=200)
    for name in ("made", "copied"):
        call("DELETE /api/delete", {"model": name}, expect=200)
    call("DELETE /api/delete", {"model": "made"}, expect=404)
    digest = "sha256:" + hashlib.sha256(b"x").hexdigest()
    call("POST /api/blobs/{digest}", b"x", digest=digest, expect=201)
    call("HEAD /api/blobs/{digest}", digest=digest, expect=200)
    wish = {"model": "127.0.0.1:1/a/b", "insecure": True}
    for name in ("POST /api/pull", "POST /api/push"):
        call(name, {**wish, "stream": False})
    call("GET /api/version", expect=200)
    call("GET /", expect=200)


@check
def ollama_cloud():
    call("GET /api/status", expect=200)
    call("GET /api/experimental/model-recommendations", expect=200)
    call("POST /api/me", expect=401)
    call("POST /api/signout", expect=401)
    call("DELETE /api/user/keys/{key}", key="k", expect=401)
    for name in ("web_search", "web_fetch"):
        call(f"POST /api/experimental/{name}", "{}", headers={"content-type": JSON}, expect=403)


@check
def openai_inference():
    for stream in (True, False):
        chat = {"model": MODEL, "messages": MESSAGES, "max_tokens": 4, "temperature": 0, "stream": stream}
        call("POST /v1/chat/completions", chat, expect=200)
        more = {"logprobs": True, "top_logprobs": 2, "n": 2, "seed": 1, "service_tier": "flex", "stop": ["z"]}
        call("POST /v1/chat/completions", {**chat, **more}, expect=200)
        if stream:
            call("POST /v1/chat/completions", {**chat, "stream_options": {"include_usage": True}}, expect=200)
        called = {"model": SCRIPTED, "messages": CALLS, "stream": stream}
        call("POST /v1/chat/completions", {**called, "tools": TOOLS}, expect=200)
        call("POST /v1/chat/completions", {**called, "functions": [FUNCTION]}, expect=200)
        prompt = {"model": MODEL, "prompt": "Hello", "max_tokens": 4, "temperature": 0, "stream": stream}
        call("POST /v1/completions", {**prompt, "logprobs": 2}, expect=200)
    parts = [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}]
    call("POST /v1/chat/completions", {"model": MODEL, "messages": [{"role": "user", "content": parts}]}, expect=400)
    turns = [*MESSAGES, {"role": "assistant", "content": None, "tool_calls": [
        {"id": "c", "function": {"name": "weather", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "rain"}]
    turns[1].pop("content")
    call("POST /v1/chat/completions", {"model": MODEL, "messages": turns, "max_tokens": 2}, expect=200)
    call("POST /v1/chat/completions", {"model": "no-such-model", "messages": MESSAGES}, expect=404)
    kept = {"model": MODEL, "messages": turns, "max_tokens": 2, "store": True, "metadata": {"a": "b"}}
    made = call("POST /v1/chat/completions", kept, expect=200)["id"]
    call("GET /v1/chat/completions", query="?limit=1&metadata[a]=b", expect=200)
    call("GET /v1/chat/completions/{id}", id=made, expect=200)
    call("POST /v1/chat/completions/{id}", {"metadata": {}}, id=made, expect=200)
    call("GET /v1/chat/completions/{id}/messages", id=made, expect=200)
    call("DELETE /v1/chat/completions/{id}", id=made, expect=200)
    for encoding in ("float", "base64"):
        call("POST /v1/embeddings", {"model": MODEL, "input": ["a"], "encoding_format": encoding}, expect=200)
    call("POST /v1/audio/transcriptions", form={"model": ("", MODEL), "file": ('; filename="a.wav"', "RIFF")})
    anthropic = {"anthropic-version": "2023-06-01"}
    for headers in ({}, anthropic):
        call("GET /v1/models", headers=headers, expect=200)
        call("GET /v1/models/{model}", model=MODEL, headers=headers, expect=200)


def upload(text, purpose="batch"):
    form = {"purpose": ("", purpose), "file": ('; filename="a.jsonl"', text)}
    return call("POST /v1/files", form=form, expect=200)["id"]


@check
def openai_decisions():
    asks = [{"type": "predicate", "instructions": "It is so."},
            {"type": "choice", "name": "c", "instructions": [{"type": "input_text", "text": "Which?"}],
             "choices": [{"value": True}, {"value": "no", "description": "not so"}]},
            {"type": "score", "instructions": "How much?", "levels": [{"label": "little"}, {"label": "much"}]}]
    call("POST /v1/decisions", {"model": MODEL, "input": "Hi", "questions": asks}, expect=200)
    call("POST /v1/decisions", {"model": MODEL, "input": [{"role": "user", "content": "Hi"}], "questions": asks}, expect=200)
    call("POST /v1/decisions", {"model": MODEL, "input": "Hi", "questions": []}, expect=400)


@check
def openai_files_and_batches():
    file = upload("abc", "user_data")
    call("GET /v1/files", query="?limit=1", expect=200)
    call("GET /v1/files/{id}", id=file, expect=200)
    equal(call("GET /v1/files/{id}/content", id=file, expect=200), b"abc", "content")
    call("DELETE /v1/files/{id}", id=file, expect=200)
    call("GET /v1/files/{id}", id=file, expect=404)
    begin = {"bytes": 3, "filename": "a.txt", "mime_type": "text/plain", "purpose": "user_data"}
    parts = []
    for name in ("complete", "cancel"):
        made = call("POST /v1/uploads", begin, expect=200)["id"]
        part = call("POST /v1/uploads/{id}/parts", id=made, form={"data": ('; filename="p"', "abc")}, expect=200)
        parts = [part["id"]]
        body = {"part_ids": parts} if name == "complete" else None
        call(f"POST /v1/uploads/{{id}}/{name}", body, id=made, expect=200)
    body = {"model": MODEL, "messages": MESSAGES, "max_tokens": 2}
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}
    request = {"input_file_id": upload(json.dumps(line)), "endpoint": line["url"], "completion_window": "24h",
               "metadata": {"a": "b"}}
    batch = call("POST /v1/batches", request, expect=200)["id"]
    call("GET /v1/batches", query="?limit=1", expect=200)
    call("GET /v1/batches/{id}", id=batch, expect=200)
    call("POST /v1/batches/{id}/cancel", id=batch)
    broken = {**request, "input_file_id": upload("no json")}
    call("GET /v1/batches/{id}", id=call("POST /v1/batches", broken, expect=200)["id"], expect=200)


@check
def openai_responses():
    asked = {"model": MODEL, "input": "Hi", "max_output_tokens": 16, "temperature": 0}
    call("POST /v1/responses", {**asked, "stream": True, "top_logprobs": 2,
                                "include": ["message.output_text.logprobs"]}, expect=200)
    tool = {"type": "function", **FUNCTION}
    for stream in (True, False):
        called = {"model": SCRIPTED, "input": CALLS, "tools": [tool], "stream": stream}
        call("POST /v1/responses", called, expect=200)
    made = call("POST /v1/responses", asked, expect=200)["id"]
    call("GET /v1/responses", expect=404)
    call("GET /v1/responses/{id}", id=made, expect=200)
    call("GET /v1/responses/{id}/input_items", id=made, query="?limit=1", expect=200)
    call("POST /v1/responses/{id}/cancel", id=made, expect=400)
    call("POST /v1/responses/input_tokens", asked, expect=200)
    call("POST /v1/responses/compact", {"model": MODEL, "previous_response_id": made}, expect=200)
    later = call("POST /v1/responses", {**asked, "background": True}, expect=200)["id"]
    call("GET /v1/responses/{id}", id=later, query="?stream=true", expect=200)
    call("DELETE /v1/responses/{id}", id=made, expect=200)
    item = {"type": "message", "role": "user", "content": "Hi"}
    talk = call("POST /v1/conversations", {"items": [item], "metadata": {"a": "b"}}, expect=200)["id"]
    call("GET /v1/conversations/{id}", id=talk, expect=200)
    call("POST /v1/conversations/{id}", {"metadata": {}}, id=talk, expect=200)
    added = call("POST /v1/conversations/{id}/items", {"items": [item]}, id=talk, expect=200)
    one = {"id": talk, "item": added["data"][0]["id"]}
    call("GET /v1/conversations/{id}/items", id=talk, expect=200)
    call("GET /v1/conversations/{id}/items/{item}", **one, expect=200)
    call("DELETE /v1/conversations/{id}/items/{item}", **one, expect=200)
    call("DELETE /v1/conversations/{id}", id=talk, expect=200)


@check
def anthropic():
    tool = {"name": "weather", "description": "The sky", "input_schema": PARAMETERS}
    for stream in (True, False):
        asked = {"model": MODEL, "messages": MESSAGES, "max_tokens": 4, "stream": stream}
        call("POST /v1/messages", asked, expect=200)
        called = {"model": SCRIPTED, "messages": CALLS, "tools": [tool], "max_tokens": 500, "stream": stream}
        call("POST /v1/messages", called, expect=200)
    blocks = [{"type": "text", "text": "x"},
              {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}]
    call("POST /v1/messages", {**asked, "messages": [{"role": "user", "content": blocks}]}, expect=400)
    result = [{"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "rain"}]}]}]
    call("POST /v1/messages/count_tokens", {"model": MODEL, "messages": result, "system": [{"text": "s"}]}, expect=200)
    request = {"custom_id": "1", "params": {"model": MODEL, "messages": MESSAGES, "max_tokens": 2}}
    batch = call("POST /v1/messages/batches", {"requests": [request]}, expect=200)["id"]
    call("GET /v1/messages/batches", query="?limit=1", expect=200)
    call("GET /v1/messages/batches/{id}", id=batch, expect=200)
    call("GET /v1/messages/batches/{id}/results", id="msgbatch_none", expect=404)
    call("POST /v1/messages/batches/{id}/cancel", id=batch)
    call("DELETE /v1/messages/batches/{id}", id="msgbatch_none", expect=404)


@check
def other_servers():
    for path in ("/v1/rerank", "/v1/reranking", "/v2/rerank", "/rerank", "/reranking"):
        documents = {"model": MODEL, "query": "fruit", "documents": ["apple", {"text": "car"}]}
        call(f"POST {path}", {**documents, "return_documents": True}, expect=200)
        texts = {"model": MODEL, "query": "fruit", "texts": ["apple", "car"], "return_text": True}
        call(f"POST {path}", texts, expect=200)
    pick = {"type": "choice", "instructions": "Which?", "criteria": {"a": "fruit", "b": None}}
    rate = {"type": "score", "instructions": "How much?", "criteria": ["little", "much"]}
    ask = {"type": "noul", "instructions": "Is it so?"}
    questions = {"pick": pick, "rate": rate, "ask": ask}
    call("POST /v1/systemone", {"model": MODEL, "state": {"a": 1}, "questions": questions}, expect=200)
    call("POST /v1/systemone", {"model": MODEL, "state": "s", "questions": {}}, expect=400)
    for path in ("/v1/score", "/score"):
        call(f"POST {path}", {"model": MODEL, "text_1": "a", "text_2": ["a", "b"]}, expect=200)
    tokens = call("POST /tokenize", {"model": MODEL, "content": "Hello"}, expect=200)["tokens"]
    call("POST /detokenize", {"model": MODEL, "tokens": tokens}, expect=200)
    call("POST /apply-template", {"model": MODEL, "messages": MESSAGES}, expect=200)
    call("POST /infill", {"model": MODEL, "input_prefix": "a", "input_suffix": "b"})
    query = "?model=" + urllib.parse.quote(MODEL)
    call("GET /props", query=query, expect=200)
    call("GET /slots", query=query, expect=200)


@check
def operation():
    for path in ("/health", "/ready", "/metrics", "/ui", "/openapi.json"):
        call(f"GET {path}", expect=200)
    call("GET /ui/{file}", file="style.css", expect=200)
    watched()
    call("GET /api/keys", expect=200)
    key = {"name": "openapi", "scopes": ["admin"], "models": ["a*"], "limits": {"requests": 1}}
    made = call("POST /api/keys", key, expect=201)
    call("DELETE /api/keys/{name}", name="openapi", query="?last=true",
         headers={"authorization": f"Bearer {made['key']}"}, expect=200)


def watched():
    """One event of the stream that never ends."""
    connection = http.client.HTTPConnection(HOST, timeout=60)
    connection.request("GET", "/api/drover/events")
    answer = connection.getresponse()
    text = b""
    while b"\n\n" not in text:
        text += answer.read1()
    connection.close()
    schema = DOCUMENT["paths"]["/api/drover/events"]["get"]["responses"]["200"]["content"][EVENTS]["schema"]
    validate(pieces(EVENTS, text.split(b"\n\n")[0] + b"\n")[0], schema, "an event")
    seen.add("get_api_drover_events")
    succeeded.add("get_api_drover_events")


@check
def every_operation_was_called():
    operations = {operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()}
    equal(sorted(operations - seen), [], "operations that were not called")
    assert ONLY_ERRORS <= operations, ONLY_ERRORS - operations
    failed = operations - succeeded - ONLY_ERRORS
    equal(sorted(failed), [], "operations without success")


if __name__ == "__main__":
    main()
