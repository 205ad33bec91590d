// Makes what would be deployed, and says how large it is:
//   node worker/bundle.mjs FOLDER-OF-wrangler.toml
// The bundle is made in the folder's `.wrangler/bundle`, as `wrangler deploy` does (which builds the Worker first),
// and beside it what serve.mjs needs to run it: reading wrangler.toml takes wrangler a second, so it is done here, once.
// The last line is the size for programs: the gzipped bytes of all modules.

import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { gzipSync } from 'node:zlib'
import { unstable_getMiniflareWorkerOptions as optionsOf, unstable_readConfig as readConfig } from 'wrangler'
import { wrangler } from './tools.mjs'

const folder = resolve(process.argv[2])
const config = join(folder, 'wrangler.toml')
const bundle = join(folder, '.wrangler/bundle')

rmSync(bundle, { recursive: true, force: true })
const deploy = [wrangler, 'deploy', '--dry-run', '--config', config, '--outdir', bundle]
execFileSync(process.execPath, deploy, { cwd: folder, stdio: ['ignore', 'inherit', 'inherit'] })

const { name, main } = readConfig({ config })
const { workerOptions } = optionsOf(config)
// The entry's name decides the bundle's; the object's data is in a folder named after the Worker.
const entry = basename(main).replace(/\.[^.]+$/, '.js')
writeFileSync(join(bundle, 'miniflare.json'), JSON.stringify({ entry, options: { ...workerOptions, name } }, null, 2))

let total = 0
for (const file of readdirSync(bundle).filter((file) => /\.(js|wasm)$/.test(file))) {
  const bytes = readFileSync(join(bundle, file))
  const gzipped = gzipSync(bytes, { level: 9 }).length
  total += gzipped
  console.log(`${file}: ${bytes.length} bytes, ${gzipped} gzipped`)
}
console.log(total)
