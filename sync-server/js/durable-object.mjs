import { DurableObject } from "cloudflare:workers";

/**
 * A Durable Object class around one made with `make_durable_object!`, for the clients that are
 * Durable Objects themselves: workerd takes RPC calls only on classes that extend `DurableObject`,
 * which those that worker-build exports do not.
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

    webSocketMessage(socket, message) {
      return this.#inner.webSocketMessage(socket, message);
    }

    webSocketClose(socket, code, reason, wasClean) {
      return this.#inner.webSocketClose(socket, code, reason, wasClean);
    }

    webSocketError(socket, error) {
      return this.#inner.webSocketError(socket, error);
    }

    /** What the client objects call: MessagePack in, MessagePack or a stream of it out. */
    rpc(payload) {
      return this.#inner.rpc(payload);
    }
  };
