// The published packages' servers, and ours in their place. See deployment.mjs, which runs them.
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { wrangler } from '../../../worker/tools.mjs'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

/** What `cargo xtask worker` has bundled. */
export const OURS = here('../../../.wrangler/bundle')

/** What the packages' documentation asks for. */
export const COMPATIBILITY = { compatibility_date: '2025-05-08', compatibility_flags: ['nodejs_compat'] }

/** Bundles the server of a generation as `wrangler deploy` does. */
export async function bundle(generation) {
  const folder = await mkdtemp(join(tmpdir(), `livestore-${generation}-`))
  // A configuration of its own: the repository's is another Worker's.
  const config = join(folder, 'wrangler.json')
  await writeFile(config, JSON.stringify({ name: 'reference', main: here(`../${generation}/server.mjs`), ...COMPATIBILITY }))
  const env = { ...process.env, WRANGLER_SEND_METRICS: 'false' }
  await promisify(execFile)(process.execPath, [wrangler, 'deploy', '--dry-run', '--config', config, '--outdir', folder], { env })
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) }
}

const deployment = (...args) => ({ program: process.execPath, args: [here('deployment.mjs'), ...args], group: true })
const flags = ({ storage, kvClass }) => ['--storage', storage, ...(kvClass ? ['--kv-class'] : [])]

/** For `OwnServer`: the reference, as bundled. */
export const reference = ({ folder }, options) => deployment('--reference', folder, ...flags(options))

/** For `OwnServer`: ours on the same deployment. */
export const successor = (options) => deployment('--ours', ...flags(options))
