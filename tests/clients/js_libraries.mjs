// openai-node and zod, unchanged, over Ollama's and OpenAI's protocol.
//
// DROVER_URL, DROVER_MODEL (a small chat model), DROVER_CALLER (the same with a template for tools) and
// DROVER_SCRIPTED (a model that says `[[say TEXT]]`) come from the environment; DROVER_NODE_MODULES is
// the folder that has the packages, if it is not above this one.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const modules = process.env.DROVER_NODE_MODULES
const load = createRequire(modules ? join(modules, 'index.js') : import.meta.url)
const { Ollama } = load('ollama')
const { OpenAI } = load('openai')
const { zodFunction, zodResponseFormat } = load('openai/helpers/zod')
const { z } = load('zod')
const old = load('zod/v3').z
const { zodToJsonSchema } = load('zod-to-json-schema')

const url = process.env.DROVER_URL.replace(/\/$/, '')
const model = process.env.DROVER_MODEL
const caller = process.env.DROVER_CALLER
const scripted = process.env.DROVER_SCRIPTED
const openai = new OpenAI({ baseURL: `${url}/v1/`, apiKey: 'any', maxRetries: 0 })
const ollama = new Ollama({ host: url })
const messages = [{ role: 'user', content: 'Name three colours.' }]
const fixed = { model, messages, temperature: 0, seed: 1, max_tokens: 12 }

const word = z.string().max(12)
const small = z.number().min(0).max(99)
const count = z.int().min(0).max(99)

// What zod offers for structured answers; strings are short, because a small model rambles.
const shapes = {
  object: z.object({ name: word, age: count }),
  nested: z.object({ owner: z.object({ name: word, pets: z.array(z.object({ name: word })).max(2) }) }),
  enum: z.object({ colour: z.enum(['red', 'green', 'blue']) }),
  literal: z.object({ kind: z.literal('cat'), legs: z.literal(4) }),
  union: z.object({ id: z.union([count, z.boolean()]) }),
  'discriminated union': z.object({
    shape: z.discriminatedUnion('kind', [
      z.object({ kind: z.literal('circle'), radius: small }),
      z.object({ kind: z.literal('square'), side: small }),
    ]),
  }),
  array: z.object({ primes: z.array(count).min(2).max(3) }),
  nullable: z.object({ title: word.nullable(), done: z.boolean() }),
  strict: z.strictObject({ name: word }),
}
// Formats that openai-node refuses to send.
const more = {
  ...shapes,
  optional: z.object({ name: word, nick: word.optional() }),
  tuple: z.object({ point: z.tuple([count, count]) }),
  'record of names': z.object({ counts: z.record(z.enum(['one', 'two']), count) }),
  default: z.object({ name: word, size: count.default(1) }),
  date: z.object({ day: z.iso.date() }),
  regex: z.object({ code: z.string().regex(/^[A-Z]{2}[0-9]{3}$/) }),
  list: z.array(z.object({ name: word })).min(1).max(2),
}

const rained = []
function rain({ city, days }) {
  rained.push([city, days])
  return `${days} days of rain in ${city}`
}
const rainTool = {
  type: 'function',
  function: {
    name: 'rain',
    function: rain,
    parse: JSON.parse,
    description: 'How much it rains',
    parameters: { type: 'object', properties: { city: { type: 'string' }, days: { type: 'integer' } } },
  },
}
const call = '[[say <tool_call>{"name": "rain", "arguments": {"city": "Ulm", "days": 2}}</tool_call>]]'

async function structured(name, format, check) {
  const request = { model, format, options: { temperature: 0, num_predict: 400 } }
  const answer = await ollama.chat({ ...request, messages: [{ role: 'user', content: 'Who is Bob? Give an example.' }] })
  assert.equal(answer.done_reason, 'stop', `${name}: ${answer.message.content}`)
  const value = JSON.parse(answer.message.content)
  check(value)
}

// All at once; the server queues them if it has no free slot.
const each = (shapes, ask) => Promise.all(Object.entries(shapes).map(([name, shape]) => ask(name, shape)))

const checks = {
  async 'openai whole and streamed'() {
    await openai.chat.completions.create(fixed)
    const whole = await openai.chat.completions.create(fixed)
    const text = whole.choices[0].message.content
    assert.ok(text.trim(), 'the answer is empty')
    const stream = openai.chat.completions.stream({ ...fixed, stream_options: { include_usage: true } })
    let streamed = ''
    stream.on('content', (piece) => (streamed += piece))
    const last = await stream.finalChatCompletion()
    assert.equal(streamed, text)
    assert.equal(last.choices[0].message.content, text)
    const { total_tokens } = await stream.totalUsage()
    assert.equal(total_tokens, whole.usage.total_tokens)
  },

  async 'openai with schemas of zod'() {
    await each(shapes, async (name, shape) => {
      const answer = await openai.chat.completions.parse({
        ...fixed,
        max_tokens: 400,
        messages: [{ role: 'user', content: 'Who is Bob? Give an example.' }],
        response_format: zodResponseFormat(shape, 'answer'),
      })
      assert.equal(answer.choices[0].finish_reason, 'stop', `${name}: ${answer.choices[0].message.content}`)
      shape.parse(answer.choices[0].message.parsed)
    })
  },

  async 'ollama with schemas of zod'() {
    await each(more, async (name, shape) => {
      await structured(name, z.toJSONSchema(shape), (value) => shape.parse(value))
    })
  },

  async 'ollama with schemas of zod-to-json-schema'() {
    const shape = old.object({
      name: old.string().max(12),
      friends: old.array(old.object({ name: old.string().max(12), age: old.number().int().min(0).max(99) })).max(2),
      mood: old.enum(['good', 'bad']).nullable(),
    })
    await structured('old', zodToJsonSchema(shape), (value) => shape.parse(value))
    const named = zodToJsonSchema(shape, 'Person')
    await structured('named', named, (value) => shape.parse(value))
  },

  async 'openai runTools'() {
    rained.length = 0
    const runner = openai.chat.completions.runTools({
      model: scripted,
      messages: [{ role: 'user', content: call }],
      tools: [rainTool],
    })
    assert.equal(await runner.finalContent(), '2 days of rain in Ulm')
    assert.deepEqual(rained, [['Ulm', 2]])
    const roles = runner.messages.map((message) => message.role)
    assert.deepEqual(roles, ['user', 'assistant', 'tool', 'assistant'])
  },

  async 'openai runTools streamed'() {
    rained.length = 0
    const runner = openai.chat.completions.runTools({
      model: scripted,
      messages: [{ role: 'user', content: call }],
      tools: [rainTool],
      stream: true,
    })
    let text = ''
    runner.on('content', (piece) => (text += piece))
    assert.equal(await runner.finalContent(), '2 days of rain in Ulm')
    assert.ok(text.endsWith('2 days of rain in Ulm'), text)
    assert.deepEqual(rained, [['Ulm', 2]])
  },

  async 'openai runTools with a call that is forced'() {
    rained.length = 0
    const parameters = z.object({ city: z.enum(['Ulm', 'Bonn']), days: z.int().min(1).max(9) })
    const tool = zodFunction({ name: 'rain', parameters, function: rain })
    const runner = openai.chat.completions.runTools({
      ...fixed,
      model: caller,
      max_tokens: 200,
      messages: [{ role: 'user', content: 'Will it rain in Ulm?' }],
      tools: [tool],
      tool_choice: { type: 'function', function: { name: 'rain' } },
    })
    await runner.done()
    assert.equal(rained.length, 1, `${rained}`)
    parameters.parse({ city: rained[0][0], days: rained[0][1] })
  },
}

let failed = 0
for (const [name, check] of Object.entries(checks)) {
  const begun = Date.now()
  try {
    await check()
    console.log(`ok   ${name} (${Date.now() - begun} ms)`)
  } catch (error) {
    failed += 1
    console.log(`FAIL ${name}\n${error.stack}`)
  }
}
const total = Object.keys(checks).length
console.log(`${total - failed} of ${total} checks passed`)
process.exit(failed ? 1 : 0)
