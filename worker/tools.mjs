// The npm tools of this folder, for scripts elsewhere in the repository.
import { fileURLToPath } from 'node:url'

export { Miniflare } from 'miniflare'
export { unstable_readConfig as readConfig } from 'wrangler'
/** To be run with Node. */
export const wrangler = fileURLToPath(new URL('node_modules/wrangler/bin/wrangler.js', import.meta.url))
export { WebSocket } from 'ws'
