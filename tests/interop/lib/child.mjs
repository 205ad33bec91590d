// The child side of a driver process: answers calls that arrive over Node's IPC channel.
// (IPC and not stdout: the LiveStore packages log to stdout.) Imports no npm package, so every generation can share it.

/** `methods` maps a name to an async function; each gets its arguments and may call `notify(topic, value)`. */
export function serve(methods) {
  process.on('message', async ({ id, method, args }) => {
    try {
      const fn = methods[method]
      if (!fn) throw new Error(`driver has no method ${method}`)
      reply({ id, value: await fn(...args) })
    } catch (error) {
      reply({ id, error: error?.stack ?? String(error) })
    }
  })
  // The parent went away: nobody would ever close the clients of this process.
  process.on('disconnect', () => process.exit(0))
  process.send({ ready: true })
}

export const notify = (topic, value) => reply({ topic, value })

function reply(message) {
  if (process.connected) process.send(message)
}

/** Open clients and stores of this process, by number. */
export class Handles {
  #next = 1
  #items = new Map()
  add(item) {
    this.#items.set(this.#next, item)
    return this.#next++
  }
  get(handle) {
    const item = this.#items.get(handle)
    if (!item) throw new Error(`no open handle ${handle}`)
    return item
  }
  remove(handle) {
    const item = this.get(handle)
    this.#items.delete(handle)
    return item
  }
}
