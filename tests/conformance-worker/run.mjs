// Runs the suite of event logs inside workerd; `cargo xtask conformance` builds and calls it.
import { get } from 'node:http'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Miniflare } from '../../worker/tools.mjs'

/** What a path answers: its status and its text. Each time on a connection of its own: one that is kept may be closed by
 *  the runtime in the moment in which it is used again. */
function answerOf(url) {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: false, timeout: TIMEOUT_MS }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part) => (text += part)).on('end', () => resolve({ status: response.statusCode, text }))
    })
    request.on('timeout', () => request.destroy(new Error('no answer'))).on('error', reject)
  })
}

/** A function that panics leaves its request without an answer. */
const TIMEOUT_MS = 60_000

const bundle = fileURLToPath(new URL('.wrangler/bundle', import.meta.url))
const { entry, options } = JSON.parse(readFileSync(join(bundle, 'miniflare.json'), 'utf8'))
const data = mkdtempSync(join(tmpdir(), 'livestore-conformance-'))
let said = ''
const miniflare = new Miniflare({
  cf: false,
  defaultPersistRoot: data,
  handleRuntimeStdio: (stdout, stderr) => [stdout, stderr].forEach((stream) => stream.on('data', (text) => (said += text))),
  workers: [
    {
      ...options,
      modulesRoot: bundle,
      modules: [
        { type: 'ESModule', path: join(bundle, entry) },
        ...readdirSync(bundle).filter((name) => name.endsWith('.wasm')).map((name) => ({ type: 'CompiledWasm', path: join(bundle, name) })),
      ],
    },
  ],
})

let failed = 0
try {
  const url = await miniflare.ready
  const names = JSON.parse((await answerOf(url)).text)
  for (const log of ['d1', 'object']) {
    for (const name of names) {
      said = ''
      const started = Date.now()
      const answer = await answerOf(new URL(`/${log}/${name}`, url)).then(
        ({ status, text }) => (status === 200 ? 'ok' : `${status} ${text}`),
        (error) => String(error),
      )
      console.log(`${log} ${name}: ${answer === 'ok' ? `ok, ${Date.now() - started} ms` : `FAILED: ${answer}\n${said}`}`)
      if (answer !== 'ok') failed += 1
    }
  }
} finally {
  await miniflare.dispose()
  rmSync(data, { recursive: true, force: true })
}
if (failed > 0) {
  console.error(`${failed} failed`)
  process.exit(1)
}
