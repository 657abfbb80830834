"""The official Anthropic client against a running daemon; every answer is validated strictly.

DROVER_URL and DROVER_MODEL (a small chat model) come from the environment. DROVER_SCRIPTED is a model that
says what is between `[[say ` and `]]`.
"""

import os
import time

import anthropic
from pydantic import BaseModel

from checks import MODEL, URL, check, equal, main

CLIENT = anthropic.Anthropic(
    base_url=URL, api_key="any", timeout=180, max_retries=0, _strict_response_validation=True
)
SCRIPTED = os.environ["DROVER_SCRIPTED"]
MESSAGES = [{"role": "user", "content": "Name three colours."}]
# The client no longer has the parameter itself.
GREEDY = {"extra_body": {"temperature": 0}}
FIXED = {"max_tokens": 5, **GREEDY}
WEATHER = {
    "name": "weather",
    "description": "What the sky does",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALL = '[[say I look.<tool_call>{"name": "weather", "arguments": {"city": "Ulm"}}</tool_call>]]'


def create(**keywords):
    return CLIENT.messages.create(**{"model": MODEL, "messages": MESSAGES, **FIXED, **keywords})


def scripted(text, **keywords):
    messages = [{"role": "user", "content": text}]
    return {"model": SCRIPTED, "messages": messages, "max_tokens": 1000, **keywords}


@check
def whole_and_streamed_agree():
    answer = create()
    equal((answer.type, answer.role, answer.model), ("message", "assistant", MODEL), "message")
    assert answer.id.startswith("msg_") and answer._request_id.startswith("req_"), answer
    equal(answer.stop_reason, "max_tokens", "stop_reason")
    equal(answer.usage.output_tokens, 5, "output_tokens")
    n_prompt = answer.usage.input_tokens + answer.usage.cache_read_input_tokens
    counted = CLIENT.messages.count_tokens(model=MODEL, messages=MESSAGES)
    equal(counted.input_tokens, n_prompt, "count_tokens")
    with CLIENT.messages.stream(model=MODEL, messages=MESSAGES, **FIXED) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    equal(text, answer.content[0].text, "text")
    equal(final.usage.input_tokens + final.usage.cache_read_input_tokens, n_prompt, "prompt")
    raw = create(stream=True)
    equal([event.type for event in raw][0], "message_start", "first event")


@check
def a_stop_sequence_is_reported():
    answer = CLIENT.messages.create(**scripted("[[say one ## two]]", stop_sequences=["##"]))
    equal((answer.stop_reason, answer.stop_sequence), ("stop_sequence", "##"), "stop")
    equal(answer.content[0].text.strip(), "one", "text")


@check
def tools_are_called_and_answered():
    request = scripted(CALL, tools=[WEATHER])
    with CLIENT.messages.stream(**request) as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_message()
    assert "input_json" in kinds, kinds
    equal([block.type for block in answer.content], ["text", "tool_use"], "blocks")
    call = answer.content[1]
    equal((call.name, call.input, answer.stop_reason), ("weather", {"city": "Ulm"}, "tool_use"), "call")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "It rains."}
    messages = [
        *request["messages"],
        {"role": "assistant", "content": answer.content},
        {"role": "user", "content": [result]},
    ]
    final = CLIENT.messages.create(**{**request, "messages": messages})
    equal(final.content[0].text, "It rains.", "answer")


@check
def the_tool_runner_ends():
    asked = []

    @anthropic.beta_tool
    def weather(city: str) -> str:
        """What the sky does."""
        asked.append(city)
        return "It rains."

    request = scripted(CALL)
    runner = CLIENT.beta.messages.tool_runner(tools=[weather], **request)
    equal(runner.until_done().content[0].text, "It rains.", "answer")
    equal(asked, ["Ulm"], "calls")


@check
def thinking_comes_in_blocks():
    request = scripted("[[say <think>Hm.</think>Four.]]", thinking={"type": "enabled", "budget_tokens": 1024})
    request["max_tokens"] = 2048
    with CLIENT.messages.stream(**request) as stream:
        kinds = {event.type for event in stream}
        answer = stream.get_final_message()
    assert {"thinking", "signature", "text"} <= kinds, kinds
    equal([block.type for block in answer.content], ["thinking", "text"], "blocks")
    assert answer.content[0].signature, answer
    again = CLIENT.messages.create(**request).content
    equal([block.to_dict() for block in again], [block.to_dict() for block in answer.content], "content")


@check
def structured_output_is_parsed():
    class Person(BaseModel):
        name: str
        age: int

    question = [{"role": "user", "content": "Bob is 42. Give his name and age."}]
    answer = CLIENT.messages.parse(
        model=MODEL, messages=question, max_tokens=100, output_format=Person, **GREEDY
    )
    assert isinstance(answer.parsed_output, Person), answer


@check
def models_are_listed():
    ids = [model.id for model in CLIENT.models.list()]
    assert any(id.split(":")[0] == MODEL.split(":")[0] for id in ids), ids
    equal(CLIENT.models.retrieve(MODEL).type, "model", "type")


@check
def batches_of_messages():
    batches = CLIENT.messages.batches
    question = {"model": MODEL, "messages": MESSAGES, "max_tokens": 5}
    wrong = {**question, "max_tokens": -1}
    batch = batches.create(
        requests=[
            {"custom_id": "good", "params": question},
            {"custom_id": "wrong", "params": wrong},
        ]
    )
    equal((batch.type, batch.processing_status), ("message_batch", "in_progress"), "batch")
    equal(batch.request_counts.processing, 2, "processing")
    while batch.processing_status != "ended":
        time.sleep(0.05)
        batch = batches.retrieve(batch.id)
    counts = batch.request_counts
    equal((counts.succeeded, counts.errored, counts.processing), (1, 1, 0), "counts")
    results = {entry.custom_id: entry.result for entry in batches.results(batch.id)}
    equal(results["good"].type, "succeeded", "good")
    equal(results["good"].message.usage.output_tokens, 5, "output_tokens")
    equal(results["wrong"].type, "errored", "wrong")
    equal(results["wrong"].error.error.type, "invalid_request_error", "error")
    assert batch.id in [entry.id for entry in batches.list(limit=1)]
    endless = {**question, "max_tokens": 1000}
    stopped = batches.create(requests=[{"custom_id": str(n), "params": endless} for n in range(50)])
    stopped = batches.cancel(stopped.id)
    assert stopped.processing_status in ("canceling", "ended"), stopped
    while stopped.processing_status != "ended":
        time.sleep(0.05)
        stopped = batches.retrieve(stopped.id)
    kinds = [entry.result.type for entry in batches.results(stopped.id)]
    equal(len(kinds), 50, "results")
    assert "canceled" in kinds, kinds
    for each in (batch, stopped):
        equal(batches.delete(each.id).type, "message_batch_deleted", "deleted")
    try:
        batches.retrieve(batch.id)
    except anthropic.NotFoundError:
        pass
    else:
        raise AssertionError("it is still there")


@check
def errors_have_their_classes():
    for kind, request in [
        (anthropic.NotFoundError, {"model": "no-such-model"}),
        (anthropic.BadRequestError, {"max_tokens": 0}),
    ]:
        for stream in (False, True):
            try:
                create(stream=stream, **request)
            except kind as error:
                equal(error.body["type"], "error", "body")
                assert error.request_id.startswith("req_"), error
            else:
                raise AssertionError(f"expected {kind}")


main()
