import { DurableObject } from "cloudflare:workers";

/** How long an acknowledgement may wait for others (ms). */
const HELD_MS = 20;
const ACK = '{"_tag":"Ack",';
/** Longer ones are none of a published client. */
const ACK_LENGTH_MAX = 100;

/**
 * A Durable Object class around one made with `make_durable_object!`, for the clients that are
 * Durable Objects themselves: workerd takes RPC calls only on classes that extend `DurableObject`,
 * which those that worker-build exports do not. It also takes acknowledgements of many clients
 * together, which saves a tenth of what it costs to publish to them.
 *
 *     import { durableObject } from "./durable-object.mjs";
 *     import * as worker from "./build/index.js";
 *
 *     export default worker.default;
 *     export const WebSocketServer = durableObject(worker.WebSocketServer);
 *
 * After a panic, `inner` (a proxy of worker-build's) makes itself anew.
 */
export const durableObject = (Inner) =>
  class extends DurableObject {
    #inner;
    /** Acknowledgements that wait: each text, and the numbers of the sockets that sent it. */
    #held = new Map();
    #timer;

    constructor(ctx, env) {
      super(ctx, env);
      this.#inner = new Inner(ctx, env);
    }

    fetch(request) {
      return this.#inner.fetch(request);
    }

    alarm(info) {
      return this.#inner.alarm(info);
    }

    // That something published has arrived need not be known at once, and where many listen, most
    // frames say just that. Of a backlog each is taken as it comes: more waits for it.
    webSocketMessage(socket, message) {
      if (socket.livestorePublished > 0 && isAck(message)) {
        socket.livestorePublished--;
        return this.#hold(socket.livestorePlace, message);
      }
      this.#release();
      return this.#inner.webSocketMessage(socket, message);
    }

    webSocketClose(socket, code, reason, wasClean) {
      this.#release();
      return this.#inner.webSocketClose(socket, code, reason, wasClean);
    }

    webSocketError(socket, error) {
      return this.#inner.webSocketError(socket, error);
    }

    #hold(place, message) {
      const places = this.#held.get(message);
      if (places) places.push(place);
      else this.#held.set(message, [place]);
      this.#timer ??= setTimeout(() => this.#release(), HELD_MS);
    }

    #release() {
      if (this.#timer === undefined) return;
      clearTimeout(this.#timer);
      this.#timer = undefined;
      const held = this.#held;
      this.#held = new Map();
      for (const [message, places] of held) this.#inner.webSocketAcks(places, message);
    }

    /** What the client objects call: MessagePack in, MessagePack or a stream of it out. */
    rpc(payload) {
      return this.#inner.rpc(payload);
    }
  };

const isAck = (message) =>
  typeof message === "string" && message.length <= ACK_LENGTH_MAX && message.startsWith(ACK);
