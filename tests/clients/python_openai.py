"""The official OpenAI client against a running daemon.

DROVER_URL and DROVER_MODEL (a small chat model) come from the environment.
"""

import json
import urllib.parse
import urllib.request
from pathlib import Path

import openai

from checks import MODEL, URL, check, equal, main

CLIENT = openai.OpenAI(base_url=f"{URL}/v1", api_key="any", timeout=180, max_retries=0)
MESSAGES = [{"role": "user", "content": "Name three colours."}]
FIXED = {"temperature": 0, "seed": 1, "max_tokens": 12}
UNKNOWN = "no-such-model"


def chat(**keywords):
    return CLIENT.chat.completions.create(model=MODEL, **{"messages": MESSAGES, **FIXED, **keywords})


def fails(kind, function, *arguments, **keywords):
    try:
        result = function(*arguments, **keywords)
    except kind as error:
        assert error.body and {"message", "type", "param", "code"} <= set(error.body), error.body
        return error
    raise AssertionError(f"expected {kind.__name__}, got {result!r}")


def counted(usage):
    assert usage.prompt_tokens > 0 and usage.completion_tokens > 0, f"{usage}"
    equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens, "total_tokens")


@check
def every_parameter_is_documented():
    from openai.types import completion_create_params, decision_create_params, embedding_create_params
    from openai.types.chat import completion_create_params as chat_create_params

    page = (Path(__file__).parents[2] / "docs/openai.md").read_text()
    sections = dict(part.split("`\n", 1) for part in page.split("\n## `/v1/")[1:])
    for section, kind in [
        ("chat/completions", chat_create_params.CompletionCreateParamsBase),
        ("completions", completion_create_params.CompletionCreateParamsBase),
        ("embeddings", embedding_create_params.EmbeddingCreateParams),
        ("decisions", decision_create_params.DecisionCreateParams),
    ]:
        missing = [name for name in kind.__annotations__ if f"`{name}`" not in sections[section]]
        equal(missing, [], section)


@check
def models_are_listed():
    models = CLIENT.models.list().data
    ids = [model.id for model in models]
    assert any(id.split(":")[0] == MODEL.split(":")[0] for id in ids), f"{MODEL} is not in {ids}"
    for model in models:
        equal(model.object, "model", "object")
        assert model.created > 0 and model.owned_by, f"{model}"


@check
def a_model_is_retrieved():
    model = CLIENT.models.retrieve(MODEL)
    equal((model.id, model.object), (MODEL, "model"), "model")
    error = fails(openai.NotFoundError, CLIENT.models.retrieve, UNKNOWN)
    assert UNKNOWN in error.message, error.message


@check
def chat_whole():
    answer = chat()
    equal(answer.object, "chat.completion", "object")
    assert answer.id.startswith("chatcmpl-") and answer.created > 0, f"{answer}"
    equal(answer.model, MODEL, "model")
    equal(len(answer.choices), 1, "choices")
    choice = answer.choices[0]
    assert choice.message.content.strip(), "the answer is empty"
    equal((choice.index, choice.message.role), (0, "assistant"), "choice")
    assert choice.finish_reason in ("stop", "length"), choice.finish_reason
    counted(answer.usage)


@check
def chat_streamed_agrees_with_whole():
    # One request before, so that both find the same prefix in the cache.
    chat()
    whole = chat()
    chunks = list(chat(stream=True, stream_options={"include_usage": True}))
    equal(len({(chunk.id, chunk.created) for chunk in chunks}), 1, "number of ids")
    *pieces, last = chunks
    equal(last.choices, [], "choices of the last chunk")
    counted(last.usage)
    equal(last.usage.completion_tokens, whole.usage.completion_tokens, "completion_tokens")
    assert all(piece.usage is None for piece in pieces), "usage before the last chunk"
    choices = [piece.choices[0] for piece in pieces]
    equal([choice.delta.role for choice in choices if choice.delta.role], ["assistant"], "roles")
    reasons = [choice.finish_reason for choice in choices]
    equal(reasons, [None] * (len(reasons) - 1) + [whole.choices[0].finish_reason], "reasons")
    text = "".join(choice.delta.content or "" for choice in choices)
    equal(text, whole.choices[0].message.content, "streamed text")


@check
def usage_comes_only_when_asked_for():
    assert all(chunk.usage is None and chunk.choices for chunk in chat(stream=True)), "usage"


@check
def timings_are_beside_the_counters():
    answer = chat()
    timings = answer.model_extra["timings"]
    equal(timings["predicted_n"], answer.usage.completion_tokens, "predicted_n")
    equal(timings["prompt_n"] + timings["cache_n"], answer.usage.prompt_tokens, "prompt_n, cache_n")
    assert timings["predicted_ms"] > 0 and timings["predicted_per_second"] > 0, timings
    chunks = list(chat(stream=True, stream_options={"include_usage": True}))
    told = [chunk for chunk in chunks if (chunk.model_extra or {}).get("timings")]
    equal(told, chunks[-1:], "chunks with timings")


@check
def a_prediction_is_counted():
    text = "one two three four five six seven eight"
    answer = chat(prediction={"type": "content", "content": text})
    details = answer.usage.completion_tokens_details
    assert details.accepted_prediction_tokens >= 0 and details.rejected_prediction_tokens >= 0, details
    equal(chat().usage.completion_tokens_details.accepted_prediction_tokens, None, "without one")
    error = fails(openai.BadRequestError, chat, prediction={"type": "other", "content": text})
    equal(error.param, "prediction.type", "param")


@check
def a_stream_ends_with_done():
    body = {"model": MODEL, "messages": MESSAGES, "stream": True, **FIXED}
    request = urllib.request.Request(
        f"{URL}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=180) as response:
        kind = response.headers["Content-Type"]
        events = response.read().decode().split("\n\n")
    equal(kind, "text/event-stream", "content type")
    equal(events[-2:], ["data: [DONE]", ""], "last event")
    equal(sum(event == "data: [DONE]" for event in events), 1, "number of [DONE]")
    for event in events[:-2]:
        json.loads(event.removeprefix("data: "))


@check
def both_limits_are_obeyed():
    for limit in ("max_tokens", "max_completion_tokens"):
        body = {"model": MODEL, "messages": MESSAGES, "temperature": 0, limit: 2}
        answer = CLIENT.chat.completions.create(**body)
        equal(answer.choices[0].finish_reason, "length", f"finish_reason with {limit}")
        equal(answer.usage.completion_tokens, 2, f"tokens with {limit}")


@check
def stop_ends_the_answer():
    text = chat().choices[0].message.content
    stop = text[len(text) // 2 :][:3]
    for form in (stop, [stop, "never said"]):
        choice = chat(stop=form).choices[0]
        equal(choice.message.content, text[: text.index(stop)], f"text before {stop!r}")
        equal(choice.finish_reason, "stop", "finish_reason")


@check
def parts_are_one_message():
    parts = [{"type": "text", "text": MESSAGES[0]["content"]}]
    split = chat(messages=[{"role": "user", "content": parts}])
    plain = chat()
    equal(split.choices[0].message.content, plain.choices[0].message.content, "text")
    equal(split.usage.prompt_tokens, plain.usage.prompt_tokens, "prompt_tokens")


@check
def developer_is_system():
    counts = []
    for role in ("system", "developer"):
        messages = [{"role": role, "content": "You are a pirate."}, *MESSAGES]
        counts.append(chat(messages=messages).usage.prompt_tokens)
    equal(counts[0], counts[1], "prompt tokens")


@check
def several_choices():
    answer = chat(n=2, temperature=1.5)
    equal([choice.index for choice in answer.choices], [0, 1], "indices")
    assert answer.choices[0].message.content != answer.choices[1].message.content, "same text"
    single = chat(temperature=1.5)
    equal(answer.usage.prompt_tokens, single.usage.prompt_tokens, "prompt_tokens")
    finished = [
        chunk.choices[0].index
        for chunk in chat(n=2, stream=True)
        if chunk.choices[0].finish_reason
    ]
    equal(sorted(finished), [0, 1], "finished choices")


@check
def logprobs_are_given():
    answer = chat(max_tokens=4, logprobs=True, top_logprobs=2)
    tokens = answer.choices[0].logprobs.content
    equal(len(tokens), 4, "number of tokens")
    for token in tokens:
        assert token.logprob <= 0 and len(token.top_logprobs) == 2, f"{token}"
    assert chat().choices[0].logprobs is None, "logprobs without being asked for"


@check
def a_schema_is_obeyed():
    schema = {
        "type": "object",
        "properties": {"warm": {"type": "boolean"}},
        "required": ["warm"],
        "additionalProperties": False,
    }
    format = {"type": "json_schema", "json_schema": {"name": "weather", "schema": schema, "strict": True}}
    answer = chat(response_format=format, max_tokens=128)
    parsed = json.loads(answer.choices[0].message.content)
    equal(list(parsed), ["warm"], "keys")
    assert isinstance(parsed["warm"], bool), f"{parsed}"


@check
def completions():
    fixed = {"model": MODEL, "prompt": "Once upon a time", **FIXED}
    CLIENT.completions.create(**fixed)
    whole = CLIENT.completions.create(**fixed)
    equal(whole.object, "text_completion", "object")
    assert whole.id.startswith("cmpl-") and whole.choices[0].text.strip(), f"{whole}"
    assert whole.choices[0].finish_reason in ("stop", "length"), f"{whole}"
    counted(whole.usage)
    chunks = list(
        CLIENT.completions.create(**fixed, stream=True, stream_options={"include_usage": True})
    )
    equal(chunks[-1].choices, [], "choices of the last chunk")
    counted(chunks[-1].usage)
    choices = [chunk.choices[0] for chunk in chunks[:-1]]
    equal("".join(choice.text for choice in choices), whole.choices[0].text, "streamed text")
    equal([bool(choice.finish_reason) for choice in choices].count(True), 1, "finish reasons")


@check
def completions_of_several_prompts():
    answer = CLIENT.completions.create(model=MODEL, prompt=["One", "Two"], **FIXED)
    equal([choice.index for choice in answer.choices], [0, 1], "indices")


@check
def embeddings():
    # The client asks for base64 and decodes it, unless told otherwise.
    coded = CLIENT.embeddings.create(model=MODEL, input=["hello", "world"])
    plain = CLIENT.embeddings.create(model=MODEL, input=["hello", "world"], encoding_format="float")
    equal([item.index for item in coded.data], [0, 1], "indices")
    for one, other in zip(coded.data, plain.data):
        difference = max(abs(a - b) for a, b in zip(one.embedding, other.embedding))
        assert difference < 1e-4, f"the two encodings differ by {difference}"
    assert coded.usage.prompt_tokens > 0, f"{coded.usage}"


@check
def mistakes_of_embeddings():
    error = fails(openai.BadRequestError, CLIENT.embeddings.create, model=MODEL, input=[])
    equal(error.body["message"], "invalid input", "message")
    body = {"model": MODEL, "input": "x", "encoding_format": "hex"}
    error = fails(openai.BadRequestError, CLIENT.post, "/embeddings", body=body, cast_to=object)
    assert "encoding_format" in error.body["message"], error.body


@check
def unknown_models_are_not_found():
    for function, keywords in (
        (CLIENT.chat.completions.create, {"messages": MESSAGES}),
        (CLIENT.chat.completions.create, {"messages": MESSAGES, "stream": True}),
        (CLIENT.completions.create, {"prompt": "x"}),
        (CLIENT.embeddings.create, {"input": "x"}),
    ):
        error = fails(openai.NotFoundError, function, model=UNKNOWN, **keywords)
        equal(error.body["type"], "not_found_error", "type")
        assert "not found" in error.body["message"], error.body


@check
def mistakes_are_refused():
    error = fails(openai.BadRequestError, chat, messages=[])
    equal(error.body["message"], "[] is too short - 'messages'", "message")
    equal(error.body["type"], "invalid_request_error", "type")
    error = fails(openai.BadRequestError, chat, reasoning_effort="high")
    assert "does not support thinking" in error.body["message"], error.body


def about(error, param, code):
    equal((error.body["param"], error.body["code"]), (param, code), "param and code")
    equal(error.body["type"], "invalid_request_error", "type")


@check
def mistakes_name_their_field():
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    for keywords, param, code in (
        ({"temperature": 3}, "temperature", "decimal_above_max_value"),
        ({"logit_bias": {"5": "much"}}, "logit_bias", "invalid_type"),
        ({"tool_choice": "auto"}, "tool_choice", "invalid_value"),
        ({"tools": [tool], "tool_choice": "any"}, "tool_choice", "invalid_value"),
        ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools[0].type", "invalid_value"),
        ({"modalities": ["text", "audio"]}, "modalities", "invalid_value"),
        ({"messages": [{"role": 5}]}, "messages[0].role", "invalid_type"),
        ({"stream": "yes"}, "stream", "invalid_type"),
    ):
        about(fails(openai.BadRequestError, chat, **keywords), param, code)


@check
def unknown_routes_are_told_as_json():
    error = fails(openai.NotFoundError, CLIENT.images.generate, prompt="x" * (4 << 20), model=MODEL)
    equal(error.body["code"], "unknown_url", "code")


@check
def tokens_are_prompts():
    fixed = {"model": MODEL, **FIXED}
    answer = CLIENT.completions.create(prompt=[[1, 500, 600], [1, 700]], **fixed)
    equal([choice.index for choice in answer.choices], [0, 1], "indices")
    equal(answer.usage.prompt_tokens, 5, "prompt tokens")
    vectors = CLIENT.embeddings.create(model=MODEL, input=[[500, 600], [700]]).data
    equal([item.index for item in vectors], [0, 1], "indices")


@check
def the_best_of_several_and_the_prompt():
    fixed = {"model": MODEL, "prompt": "Once upon a time", **FIXED}
    answer = CLIENT.completions.create(best_of=3, **{**fixed, "temperature": 1.2})
    equal(len(answer.choices), 1, "choices")
    equal(answer.usage.completion_tokens, 36, "tokens of all three")
    echoed = CLIENT.completions.create(echo=True, **fixed).choices[0].text
    assert echoed.startswith(fixed["prompt"]), echoed


@check
def answers_go_on_where_a_benchmark_wants_it():
    body = {"ignore_eos": True}
    answer = chat(max_tokens=80, extra_body=body)
    equal(answer.usage.completion_tokens, 80, "tokens")
    equal(answer.choices[0].finish_reason, "length", "reason")


@check
def strict_types_pass():
    strict = openai.OpenAI(
        base_url=f"{URL}/v1", api_key="any", max_retries=0, _strict_response_validation=True
    )
    answer = strict.chat.completions.create(model=MODEL, messages=MESSAGES, **FIXED)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    assert list(strict.chat.completions.create(model=MODEL, messages=MESSAGES, **FIXED, **options))
    assert strict.completions.create(model=MODEL, prompt="x", logprobs=2, **FIXED).choices
    assert strict.models.list().data
    equal(answer.usage.completion_tokens_details.reasoning_tokens, 0, "reasoning tokens")
    raw = CLIENT.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES, **FIXED)
    choice = raw.http_response.json()["choices"][0]
    assert choice["logprobs"] is None and choice["message"]["refusal"] is None, choice


@check
def decisions():
    strict = openai.OpenAI(
        base_url=f"{URL}/v1", api_key="any", max_retries=0, _strict_response_validation=True
    )
    choices = [{"value": "fruit"}, {"value": True, "description": "a vehicle"}]
    questions = [
        {"type": "predicate", "name": "ripe", "instructions": "The text names a fruit."},
        {"type": "choice", "instructions": "What is it?", "choices": choices},
        {"type": "score", "instructions": "How large is it?", "levels": [{"label": "small"}, {"label": "large"}]},
    ]
    answer = strict.decisions.create(model=MODEL, input="apple", questions=questions)
    ripe, kind, size = answer.answers
    equal((ripe.type, ripe.name, kind.name), ("predicate", "ripe", None), "names")
    assert 0 < ripe.probability < 1, ripe
    equal([one.value for one in kind.probabilities], ["fruit", True], "values")
    equal(kind.choice, max(kind.probabilities, key=lambda one: one.probability).value, "choice")
    equal([(one.value, one.label) for one in size.probabilities], [(0, "small"), (1, "large")], "levels")
    assert abs(size.score - size.probabilities[1].probability) < 1e-6, size
    equal(answer.usage.total_tokens, answer.usage.input_tokens, "tokens")
    error = fails(openai.BadRequestError, strict.decisions.create, model=MODEL, input="x", questions=[])
    equal(error.body["param"], "questions", "param")


@check
def chats_are_stored_and_found_again():
    strict = openai.OpenAI(
        base_url=f"{URL}/v1", api_key="any", max_retries=0, _strict_response_validation=True
    )
    chats = strict.chat.completions
    fixed = {"model": MODEL, "messages": MESSAGES, "store": True, **FIXED}
    answers = [chats.create(metadata={"run": "sdk", "n": str(n)}, **fixed) for n in range(3)]
    stream = chats.create(metadata={"run": "sdk", "n": "3"}, stream=True, **fixed)
    ids = [answer.id for answer in answers] + [list(stream)[-1].id]
    pages = chats.list(limit=2, metadata={"run": "sdk"}, model=MODEL)
    equal([chat.id for chat in pages], ids, "all pages")
    newest = chats.list(metadata={"run": "sdk"}, order="desc")
    equal([chat.id for chat in newest], ids[::-1], "newest first")
    found = chats.retrieve(ids[0])
    equal(found.choices, answers[0].choices, "choices")
    equal(found.usage, answers[0].usage, "usage")
    equal(found.metadata, {"run": "sdk", "n": "0"}, "metadata")
    streamed = chats.retrieve(ids[3]).choices[0].message.content
    equal(streamed, answers[0].choices[0].message.content, "streamed")
    changed = chats.update(ids[0], metadata={"run": "other"})
    equal(changed.metadata, {"run": "other"}, "metadata")
    equal(len(chats.list(metadata={"run": "sdk"}).data), 3, "chats")
    # The strict client's type only allows assistant messages.
    messages = CLIENT.chat.completions.messages.list(ids[0]).data
    equal([(m.role, m.content) for m in messages], [("user", "Name three colours.")], "messages")
    for chat in ids:
        gone = chats.delete(chat)
        equal((gone.id, gone.deleted), (chat, True), "deleted")
    fails(openai.NotFoundError, chats.retrieve, ids[0])
    fails(openai.NotFoundError, chats.messages.list, ids[0])


@check
def names_may_have_slashes():
    name = urllib.parse.quote("me/mine:v1", safe="")
    for path in ("/models/me/mine:v1", f"/models/{name}"):
        error = fails(openai.NotFoundError, CLIENT.get, path, cast_to=object)
        equal(error.body["message"], "model 'me/mine:v1' not found", "message")


if __name__ == "__main__":
    main()
