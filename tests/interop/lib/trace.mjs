// For finding out what happened: with INTEROP_TRACE=<folder> every driver process writes its WebSocket frames there.
import { appendFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'

const folder = process.env.INTEROP_TRACE
if (folder && globalThis.WebSocket) {
  mkdirSync(folder, { recursive: true })
  const file = join(folder, `${process.pid}.txt`)
  let sockets = 0
  const Plain = globalThis.WebSocket
  globalThis.WebSocket = class extends Plain {
    #number = ++sockets
    constructor(...args) {
      super(...args)
      const note = (text) => this.#note(text)
      note(`new ${args[0]}`)
      this.addEventListener('open', () => note('open'))
      this.addEventListener('close', ({ code, reason }) => note(`closed ${code} ${reason}`))
      this.addEventListener('message', ({ data }) => note(`<- ${data}`))
    }
    send(data) {
      this.#note(`-> ${data}`)
      super.send(data)
    }
    #note(text) {
      appendFileSync(file, `${new Date().toISOString()} #${this.#number} ${text}\n`)
    }
  }
}
