// The Responses API with openai-node, unchanged.
//
// DROVER_URL, DROVER_MODEL (a small chat model), DROVER_CALLER (the same with a template for tools) and
// DROVER_SCRIPTED (a model that says `[[say TEXT]]`) come from the environment; DROVER_NODE_MODULES is
// the folder that has the packages, if it is not above this one.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const modules = process.env.DROVER_NODE_MODULES
const load = createRequire(modules ? join(modules, 'index.js') : import.meta.url)
const { OpenAI } = load('openai')
const { zodTextFormat } = load('openai/helpers/zod')
const { z } = load('zod')

const url = process.env.DROVER_URL.replace(/\/$/, '')
const model = process.env.DROVER_MODEL
const scripted = process.env.DROVER_SCRIPTED
const openai = new OpenAI({ baseURL: `${url}/v1/`, apiKey: 'any', maxRetries: 0 })
const fixed = { model, input: 'Name three colours.', temperature: 0, max_output_tokens: 12 }

// A whole answer, and a stream that adds up to the same.
await openai.responses.create(fixed)
const whole = await openai.responses.create(fixed)
assert.ok(whole.output_text.trim())
const stream = openai.responses.stream(fixed)
let text = ''
let number = 0
for await (const event of stream) {
  assert.equal(event.sequence_number, number++)
  if (event.type === 'response.output_text.delta') text += event.delta
}
assert.equal(text, whole.output_text)
assert.equal((await stream.finalResponse()).output_text, text)

// State.
const next = await openai.responses.create({ ...fixed, input: 'So?', previous_response_id: whole.id })
assert.equal(next.previous_response_id, whole.id)
assert.deepEqual((await openai.responses.retrieve(next.id)).output, next.output)
const items = []
for await (const item of openai.responses.inputItems.list(next.id)) items.push(item)
assert.equal(items[0].content[0].text, 'So?')
await openai.responses.delete(next.id)
await assert.rejects(openai.responses.retrieve(next.id), OpenAI.NotFoundError)
const conversation = await openai.conversations.create({ items: [{ role: 'user', content: 'Hi' }] })
await openai.responses.create({ ...fixed, conversation: conversation.id })
const said = []
for await (const item of openai.conversations.items.list(conversation.id, { order: 'asc', limit: 2 })) {
  said.push(item.role)
}
assert.deepEqual(said, ['user', 'user', 'assistant'])

// Structured answers.
const shape = z.object({ sky: z.enum(['clear', 'cloudy']), warm: z.boolean() })
const parsed = await openai.responses.parse({
  model,
  input: 'How is the weather?',
  temperature: 0,
  max_output_tokens: 128,
  text: { format: zodTextFormat(shape, 'weather') },
})
assert.ok(shape.safeParse(parsed.output_parsed).success)

// A call and its result.
const tools = [{ type: 'function', name: 'sky', strict: false, parameters: { type: 'object' } }]
const say = '[[say <tool_call>{"name": "sky", "arguments": {"city": "Rome"}}</tool_call>]]'
const called = await openai.responses.create({ model: scripted, input: say, tools })
const call = called.output.find((item) => item.type === 'function_call')
assert.deepEqual(JSON.parse(call.arguments), { city: 'Rome' })
const output = { type: 'function_call_output', call_id: call.call_id, output: '[[say blue]]' }
const answered = await openai.responses.create({
  model: scripted,
  input: [output],
  tools,
  previous_response_id: called.id,
})
assert.equal(answered.output_text, 'blue')

// In the background, with a stream that is resumed.
const background = { model: scripted, input: '[[slow 5]] [[repeat 30]]abc', background: true }
const begun = await openai.responses.create({ ...background, stream: true })
let id
for await (const event of begun) {
  id ??= event.response.id
  if (event.sequence_number === 5) break
}
const rest = await openai.responses.retrieve(id, { stream: true, starting_after: 5 })
let last
for await (const event of rest) {
  if (!last) assert.equal(event.sequence_number, 6)
  last = event
}
assert.equal(last.type, 'response.completed')
const running = await openai.responses.create({ ...background, input: '[[slow 50]] [[repeat 300]]abc' })
assert.equal((await openai.responses.cancel(running.id)).status, 'cancelled')

console.log('openai-node: all of the Responses API that was tried works')
