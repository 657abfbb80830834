// The official npm client against a running daemon.
//
// DROVER_URL, DROVER_MODEL (a small chat model) and DROVER_GGUF (its file) come from the
// environment; DROVER_NODE_MODULES is the folder that has the client, if it is not above this one.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const modules = process.env.DROVER_NODE_MODULES
const { Ollama } = modules
  ? createRequire(join(modules, 'index.js'))('ollama')
  : await import('ollama')

const url = process.env.DROVER_URL.replace(/\/$/, '')
const model = process.env.DROVER_MODEL
const fullName = model.includes(':') ? model : `${model}:latest`
const client = new Ollama({ host: url })
const messages = [{ role: 'user', content: 'Name three colours.' }]
const fixed = { temperature: 0, seed: 1, num_predict: 12 }
const unknown = 'no-such-model'

const names = async () => (await client.list()).models.map((model) => model.name)

async function all(stream) {
  const parts = []
  for await (const part of stream) parts.push(part)
  return parts
}

function counted(answer) {
  for (const counter of ['total_duration', 'prompt_eval_count', 'eval_count', 'eval_duration'])
    assert.ok(answer[counter] > 0, `${counter} is ${answer[counter]}`)
}

function doneOnce(parts) {
  const done = parts.map((part) => part.done)
  assert.deepEqual(done, [...Array(parts.length - 1).fill(false), true])
}

async function notFound(promise) {
  await assert.rejects(promise, (error) => {
    assert.equal(error.status_code, 404, `${error}`)
    assert.match(error.message, /not found/)
    return true
  })
}

const checks = {
  async 'list names the model'() {
    const { models } = await client.list()
    const found = models.find((model) => model.name === fullName)
    assert.ok(found, `${fullName} is not in ${JSON.stringify(models)}`)
    assert.ok(found.size > 1_000_000, `size is ${found.size}`)
    assert.equal(found.digest.length, 64)
    assert.equal(found.details.format, 'gguf')
  },

  async 'show describes the model'() {
    const shown = await client.show({ model })
    assert.ok(shown.capabilities.includes('completion'), `${shown.capabilities}`)
    assert.ok(shown.model_info['general.architecture'])
    assert.ok(shown.details.parameter_size)
  },

  async 'chat whole'() {
    const answer = await client.chat({ model, messages, options: fixed })
    assert.equal(answer.message.role, 'assistant')
    assert.ok(answer.message.content.trim(), 'the answer is empty')
    assert.equal(answer.done, true)
    counted(answer)
  },

  async 'chat streamed agrees with whole'() {
    // One request before, so that both find the same prefix in the cache.
    await client.chat({ model, messages, options: fixed })
    const whole = await client.chat({ model, messages, options: fixed })
    const parts = await all(await client.chat({ model, messages, options: fixed, stream: true }))
    doneOnce(parts)
    assert.equal(parts.map((part) => part.message.content).join(''), whole.message.content)
    assert.equal(parts.at(-1).done_reason, whole.done_reason)
    counted(parts.at(-1))
  },

  async 'generate streamed agrees with whole'() {
    const request = { model, prompt: 'Why is the sky blue?', options: fixed }
    await client.generate(request)
    const whole = await client.generate(request)
    counted(whole)
    assert.ok(whole.context.length > 0, 'no context')
    const parts = await all(await client.generate({ ...request, stream: true }))
    doneOnce(parts)
    assert.equal(parts.map((part) => part.response).join(''), whole.response)
    counted(parts.at(-1))
  },

  async 'num_predict is the limit'() {
    const answer = await client.chat({ model, messages, options: { ...fixed, num_predict: 3 } })
    assert.deepEqual([answer.done_reason, answer.eval_count], ['length', 3])
  },

  async 'format is obeyed'() {
    const format = {
      type: 'object',
      properties: { warm: { type: 'boolean' } },
      required: ['warm'],
      additionalProperties: false,
    }
    const options = { ...fixed, num_predict: 128 }
    const answer = await client.chat({ model, messages, format, options })
    const parsed = JSON.parse(answer.message.content)
    assert.deepEqual(Object.keys(parsed), ['warm'])
    assert.equal(typeof parsed.warm, 'boolean')
  },

  async 'embed gives vectors'() {
    const { embeddings } = await client.embed({ model, input: ['hello', 'world'] })
    assert.equal(embeddings.length, 2)
    const length = embeddings[0].reduce((sum, value) => sum + value * value, 0)
    assert.ok(Math.abs(length - 1) < 1e-3, `squared length is ${length}`)
  },

  async 'ps tells what is loaded'() {
    // The same weights may be loaded under another name.
    await client.generate({ model, prompt: '', keep_alive: 0 })
    await client.generate({ model, prompt: '', keep_alive: '10m' })
    const { models } = await client.ps()
    const loaded = models.find((model) => model.name === fullName)
    assert.ok(loaded, `${fullName} is not in ${JSON.stringify(models)}`)
    assert.ok(new Date(loaded.expires_at) > new Date(), `expires at ${loaded.expires_at}`)
    assert.ok(loaded.size > 0, `size is ${loaded.size}`)
  },

  async 'copy and delete'() {
    await client.copy({ source: model, destination: 'clients/js:v1' })
    assert.ok((await names()).includes('clients/js:v1'), 'the copy is not listed')
    const answer = await client.delete({ model: 'clients/js:v1' })
    assert.equal(answer.status, 'success')
    assert.ok(!(await names()).includes('clients/js:v1'), 'the copy is still there')
  },

  async 'create from a model'() {
    const request = { model: 'clients-js-derived', from: model, system: 'You are a parrot.' }
    const parts = await all(await client.create({ ...request, stream: true }))
    assert.equal(parts.at(-1).status, 'success')
    const shown = await client.show({ model: 'clients-js-derived' })
    assert.equal(shown.system, 'You are a parrot.')
    await client.delete({ model: 'clients-js-derived' })
  },

  async 'create from a file'() {
    const file = await readFile(process.env.DROVER_GGUF)
    const digest = `sha256:${createHash('sha256').update(file).digest('hex')}`
    // The npm client has no function for blobs.
    const upload = await fetch(`${url}/api/blobs/${digest}`, { method: 'POST', body: file })
    assert.ok([200, 201].includes(upload.status), `upload answered ${upload.status}`)
    const files = { 'model.gguf': digest }
    const created = await client.create({ model: 'clients-js-created', files })
    assert.equal(created.status, 'success')
    const answer = await client.chat({ model: 'clients-js-created', messages, options: fixed })
    assert.ok(answer.message.content.trim(), 'the answer is empty')
    await client.delete({ model: 'clients-js-created' })
  },

  async 'unknown models are not found'() {
    await notFound(client.chat({ model: unknown, messages }))
    await notFound(client.chat({ model: unknown, messages, stream: true }))
    await notFound(client.generate({ model: unknown, prompt: 'x' }))
    await notFound(client.embed({ model: unknown, input: 'x' }))
    await notFound(client.show({ model: unknown }))
    await notFound(client.delete({ model: unknown }))
    await notFound(client.copy({ source: unknown, destination: 'y' }))
  },

  async 'several at once'() {
    const ask = async (number) => {
      const messages = [{ role: 'user', content: `Say the number ${number}.` }]
      return all(await client.chat({ model, messages, options: fixed, stream: true }))
    }
    for (const parts of await Promise.all([0, 1, 2].map(ask))) {
      doneOnce(parts)
      counted(parts.at(-1))
    }
  },

  async 'an abort does no harm'() {
    const options = { num_predict: 400 }
    const stream = await client.chat({ model, messages, options, stream: true })
    await assert.rejects(
      (async () => {
        for await (const part of stream) if (part.message.content) stream.abort()
      })(),
      { name: 'AbortError' },
    )
    const answer = await client.chat({ model, messages, options: fixed })
    assert.equal(answer.done, true)
  },
}

let failed = 0
for (const [name, check] of Object.entries(checks)) {
  try {
    await check()
    console.log(`ok   ${name}`)
  } catch (error) {
    failed += 1
    console.log(`FAIL ${name}\n${error.stack}`)
  }
}
const total = Object.keys(checks).length
console.log(`${total - failed} of ${total} checks passed`)
process.exit(failed ? 1 : 0)
