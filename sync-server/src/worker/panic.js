// What is left of a wasm instance that has panicked: this module is not in its memory.

// A way to fail each call that the instance has not answered yet.
let calls = new Set();
// The states of all objects that were ever made here.
const known = new WeakSet();

// What callers in flight get; the panic's own message is only logged.
const FAILED = "the sync server failed and starts again; try again";

function closeSockets(ctx, code, reason) {
  for (const socket of ctx.getWebSockets()) {
    try {
      socket.close(code, reason);
    } catch {
      // Closed already.
    }
  }
}

function fail() {
  const failed = calls;
  calls = new Set();
  for (const reject of failed) reject(new Error(FAILED));
}

// Traps that are no panics, such as a stack overflow: they leave no wasm to call us.
addEventListener("error", (event) => {
  if (event.error instanceof WebAssembly.RuntimeError) fail();
});

export const panics = {
  // The instance is about to die.
  fail,

  // An object that is made again on the same state has lost what it knew: an earlier instance died.
  watch(ctx, code, reason) {
    if (known.has(ctx)) closeSockets(ctx, code, reason);
    known.add(ctx);
  },

  // `work`, or its failure as soon as the instance dies. The sockets of the object are closed in
  // the object's own I/O context: this continuation runs there, whoever panicked.
  guard(ctx, work, code, reason) {
    let reject;
    const died = new Promise((_, fails) => {
      reject = fails;
    });
    if (ctx !== undefined) died.catch(() => closeSockets(ctx, code, reason));
    calls.add(reject);
    return Promise.race([work, died]).finally(() => calls.delete(reject));
  },

  // A stream that the instance fills, which breaks off as soon as that dies.
  stream(inner) {
    const reader = inner.getReader();
    let reject;
    const died = new Promise((_, fails) => {
      reject = fails;
    });
    died.catch(() => {});
    calls.add(reject);
    return new ReadableStream(
      {
        async pull(controller) {
          try {
            const { done, value } = await Promise.race([reader.read(), died]);
            if (!done) return controller.enqueue(value);
            controller.close();
          } catch (error) {
            controller.error(error);
          }
          calls.delete(reject);
        },
        cancel(reason) {
          calls.delete(reject);
          return reader.cancel(reason);
        },
      },
      { highWaterMark: 0 },
    );
  },
};
