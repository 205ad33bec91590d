// Waiting for conditions with a deadline. Tests never sleep to synchronise: they name what they wait for.
import { randomUUID } from 'node:crypto'

/**
 * How long a client may take until it is back. Before each attempt 0.4.0 waits twice as long as before, up to 36 s, and that never
 * starts anew (`retryTransientErrors` of sync-cf's ws-rpc-client.ts). Where its ping times out on the way, it needs two of them: one
 * to connect, and one after the server has told it to pull, for which the server needs 22 s. A loaded machine adds to that.
 */
export const BACK = 180_000

/** Polls `check` until it returns something truthy. Fails with `what` and the last value seen. */
export async function until(what, check, deadlineMs = 15_000) {
  const end = Date.now() + deadlineMs
  for (;;) {
    const value = await check()
    if (value) return value
    if (Date.now() > end) throw new Error(`not within ${deadlineMs} ms: ${typeof what === 'function' ? await what() : what}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

/** Rejects when `promise` takes longer than `ms`; a hanging server must fail the test, not the runner. */
export async function within(what, promise, ms) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** LiveStore allows letters, digits, `_` and `-` in a store id. */
export const freshStoreId = (prefix = 'it') => `${prefix}-${randomUUID()}`
