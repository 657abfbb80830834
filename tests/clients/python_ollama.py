"""The official Python client against a running daemon.

DROVER_URL, DROVER_MODEL (a small chat model) and DROVER_GGUF (its file) come from the environment.
"""

import asyncio
import datetime
import json

import ollama

from checks import GGUF, MODEL, URL, check, equal, main

CLIENT = ollama.Client(host=URL, timeout=180)
FULL_NAME = MODEL if ":" in MODEL else f"{MODEL}:latest"
MESSAGES = [{"role": "user", "content": "Name three colours."}]
FIXED = {"temperature": 0, "seed": 1, "num_predict": 12}
UNKNOWN = "no-such-model"


def names():
    return [model.model for model in CLIENT.list().models]


def fails(status, function, *arguments, **keywords):
    try:
        result = function(*arguments, **keywords)
        if keywords.get("stream"):
            result = list(result)
    except ollama.ResponseError as error:
        equal(error.status_code, status, f"status of {error.error!r}")
        return error.error
    raise AssertionError(f"expected an error with status {status}, got {result!r}")


def counted(answer):
    for counter in ("total_duration", "prompt_eval_count", "prompt_eval_duration",
                    "eval_count", "eval_duration"):
        assert (answer[counter] or 0) > 0, f"{counter} is {answer[counter]!r}"


def done_once(parts):
    equal([part.done for part in parts], [False] * (len(parts) - 1) + [True], "done")


@check
def list_names_the_model():
    model = next((model for model in CLIENT.list().models if model.model == FULL_NAME), None)
    assert model, f"{FULL_NAME} is not in {names()}"
    assert model.size > 1_000_000, f"size is {model.size}"
    equal(len(model.digest), 64, "length of the digest")
    equal(model.details.format, "gguf", "format")
    assert model.modified_at.tzinfo, "modified_at has no zone"


@check
def show_describes_the_model():
    shown = CLIENT.show(MODEL)
    assert "completion" in shown.capabilities, f"capabilities are {shown.capabilities}"
    family = shown.modelinfo["general.architecture"]
    assert shown.modelinfo[f"{family}.context_length"] > 0, "no context length"
    equal(shown.details.format, "gguf", "format")
    assert shown.details.parameter_size, "no parameter size"
    assert shown.modelfile.startswith("#") or "FROM " in shown.modelfile, shown.modelfile[:80]


@check
def chat_whole():
    answer = CLIENT.chat(MODEL, MESSAGES, options=FIXED)
    equal(answer.message.role, "assistant", "role")
    assert answer.message.content.strip(), "the answer is empty"
    equal(answer.done, True, "done")
    assert answer.done_reason in ("stop", "length"), answer.done_reason
    equal(answer.model, MODEL, "model")
    counted(answer)


@check
def chat_streamed_agrees_with_whole():
    # One request before, so that both find the same prefix in the cache.
    CLIENT.chat(MODEL, MESSAGES, options=FIXED)
    whole = CLIENT.chat(MODEL, MESSAGES, options=FIXED)
    parts = list(CLIENT.chat(MODEL, MESSAGES, options=FIXED, stream=True))
    done_once(parts)
    assert len(parts) > 2, f"only {len(parts)} parts"
    streamed = "".join(part.message.content or "" for part in parts)
    equal(streamed, whole.message.content, "streamed text")
    counted(parts[-1])
    equal(parts[-1].done_reason, whole.done_reason, "done_reason")


@check
def chat_remembers_the_history():
    history = [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "Say hello."},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Again."},
    ]
    longer = CLIENT.chat(MODEL, history, options=FIXED)
    shorter = CLIENT.chat(MODEL, history[-1:], options=FIXED)
    assert longer.prompt_eval_count > shorter.prompt_eval_count, (
        f"{longer.prompt_eval_count} tokens with the history, {shorter.prompt_eval_count} without"
    )


@check
def num_predict_is_the_limit():
    answer = CLIENT.chat(MODEL, MESSAGES, options={**FIXED, "num_predict": 3})
    equal((answer.done_reason, answer.eval_count), ("length", 3), "reason and count")


@check
def stop_ends_the_answer():
    whole = CLIENT.generate(MODEL, "Count: one, two, three,", raw=True, options=FIXED)
    text = whole.response
    stop = text[len(text) // 2 :][:3]
    assert stop, f"no text to stop at: {text!r}"
    cut = CLIENT.generate(
        MODEL, "Count: one, two, three,", raw=True, options={**FIXED, "stop": [stop]}
    )
    equal(cut.response, text[: text.index(stop)], f"text before {stop!r}")
    equal(cut.done_reason, "stop", "done_reason")


@check
def generate_streamed_agrees_with_whole():
    CLIENT.generate(MODEL, "Why is the sky blue?", options=FIXED)
    whole = CLIENT.generate(MODEL, "Why is the sky blue?", options=FIXED)
    assert whole.response.strip(), "the answer is empty"
    counted(whole)
    parts = list(CLIENT.generate(MODEL, "Why is the sky blue?", options=FIXED, stream=True))
    done_once(parts)
    equal("".join(part.response for part in parts), whole.response, "streamed text")
    counted(parts[-1])
    assert whole.context and all(isinstance(token, int) for token in whole.context), "no context"


@check
def generate_follows_a_context():
    first = CLIENT.generate(MODEL, "My name is Ada.", options=FIXED)
    second = CLIENT.generate(MODEL, "What is my name?", context=first.context, options=FIXED)
    assert len(second.context) > len(first.context), "the context did not grow"


@check
def a_seed_repeats_itself():
    options = {"temperature": 1.5, "seed": 7, "num_predict": 16}
    CLIENT.generate(MODEL, "Tell me a story.", options=options)
    texts = {CLIENT.generate(MODEL, "Tell me a story.", options=options).response for _ in range(3)}
    equal(len(texts), 1, f"different texts in {texts}")


@check
def format_is_obeyed():
    schema = {
        "type": "object",
        "properties": {"warm": {"type": "boolean"}},
        "required": ["warm"],
        "additionalProperties": False,
    }
    options = {**FIXED, "num_predict": 128}
    answer = CLIENT.chat(MODEL, MESSAGES, format=schema, options=options)
    parsed = json.loads(answer.message.content)
    equal(list(parsed), ["warm"], "keys")
    assert isinstance(parsed["warm"], bool), f"warm is {parsed['warm']!r}"


@check
def logprobs_are_given():
    options = {**FIXED, "num_predict": 4}
    answer = CLIENT.chat(MODEL, MESSAGES, options=options, logprobs=True, top_logprobs=2)
    equal(len(answer.logprobs), 4, "number of tokens")
    for token in answer.logprobs:
        assert token.logprob <= 0, f"logprob {token.logprob}"
        equal(len(token.top_logprobs), 2, "alternatives")


@check
def embed_gives_vectors():
    one = CLIENT.embed(MODEL, "hello")
    two = CLIENT.embed(MODEL, ["hello", "world"])
    equal((len(one.embeddings), len(two.embeddings)), (1, 2), "number of vectors")
    length = sum(value * value for value in one.embeddings[0])
    assert abs(length - 1) < 1e-3, f"squared length is {length}"
    assert two.prompt_eval_count > one.prompt_eval_count > 0, "tokens are not counted"


@check
def embed_of_nothing_only_loads():
    equal(list(CLIENT.embed(MODEL, []).embeddings), [], "vectors")


@check
def ps_tells_what_is_loaded():
    # The same weights may be loaded under another name.
    CLIENT.generate(MODEL, keep_alive=0)
    CLIENT.generate(MODEL, keep_alive="10m")
    loaded = next((model for model in CLIENT.ps().models if model.model == FULL_NAME), None)
    assert loaded, f"{FULL_NAME} is not in {CLIENT.ps().models}"
    assert loaded.size > 0 and loaded.context_length > 0, f"{loaded}"
    left = loaded.expires_at - datetime.datetime.now(datetime.timezone.utc)
    assert 500 < left.total_seconds() < 700, f"expires in {left}"


@check
def load_and_unload_have_their_reasons():
    loaded = CLIENT.chat(MODEL, [])
    equal((loaded.done, loaded.done_reason), (True, "load"), "load")
    unloaded = CLIENT.generate(MODEL, keep_alive=0)
    equal((unloaded.done, unloaded.done_reason), (True, "unload"), "unload")


@check
def copy_and_delete():
    CLIENT.copy(MODEL, "clients/copied:v1")
    assert "clients/copied:v1" in names(), f"the copy is not in {names()}"
    equal(CLIENT.delete("clients/copied:v1").status, "success", "status")
    assert "clients/copied:v1" not in names(), "the copy is still there"
    assert FULL_NAME in names(), "the original is gone"


@check
def create_from_a_model():
    answer = CLIENT.create(
        "clients-derived", from_=MODEL, system="You are a parrot.", parameters={"num_predict": 2}
    )
    equal(answer.status, "success", "status")
    shown = CLIENT.show("clients-derived")
    assert "You are a parrot." in shown.modelfile, shown.modelfile
    answer = CLIENT.chat("clients-derived", MESSAGES)
    equal((answer.done_reason, answer.eval_count), ("length", 2), "the model's own limit")
    CLIENT.delete("clients-derived")


@check
def create_from_a_file():
    assert GGUF, "DROVER_GGUF is not set"
    digest = CLIENT.create_blob(GGUF)
    progress = list(CLIENT.create("clients-created", files={"model.gguf": digest}, stream=True))
    equal(progress[-1].status, "success", "last status")
    equal([part.status for part in progress].count("success"), 1, "number of successes")
    answer = CLIENT.chat("clients-created", MESSAGES, options=FIXED)
    assert answer.message.content.strip(), "the answer is empty"
    CLIENT.delete("clients-created")
    assert "clients-created:latest" not in names(), "the model is still there"


@check
def unknown_models_are_not_found():
    for function, arguments, keywords in (
        (CLIENT.chat, (UNKNOWN, MESSAGES), {}),
        (CLIENT.chat, (UNKNOWN, MESSAGES), {"stream": True}),
        (CLIENT.generate, (UNKNOWN, "x"), {}),
        (CLIENT.generate, (UNKNOWN, "x"), {"stream": True}),
        (CLIENT.embed, (UNKNOWN, "x"), {}),
        (CLIENT.show, (UNKNOWN,), {}),
        (CLIENT.delete, (UNKNOWN,), {}),
        (CLIENT.copy, (UNKNOWN, "y"), {}),
    ):
        message = fails(404, function, *arguments, **keywords)
        assert "not found" in message, message


@check
def mistakes_are_refused():
    message = fails(400, CLIENT.chat, MODEL, MESSAGES, think=True)
    assert "does not support thinking" in message, message


@check
def several_at_once():
    async def ask(client, number):
        prompt = [{"role": "user", "content": f"Say the number {number}."}]
        parts = await client.chat(MODEL, prompt, options=FIXED, stream=True)
        return [part async for part in parts]

    async def ask_all():
        client = ollama.AsyncClient(host=URL, timeout=180)
        return await asyncio.gather(*(ask(client, number) for number in range(3)))

    for parts in asyncio.run(ask_all()):
        done_once(parts)
        counted(parts[-1])


@check
def a_reader_that_leaves_does_no_harm():
    for part in CLIENT.chat(MODEL, MESSAGES, options={"num_predict": 400}, stream=True):
        if part.message.content:
            break
    answer = CLIENT.chat(MODEL, MESSAGES, options=FIXED)
    equal(answer.done, True, "done")


if __name__ == "__main__":
    main()
