// What is left of a wasm instance that has panicked: this module is not in its memory.

// A way to fail each call that the instance has not answered yet.
let calls = new Set();
// The states of objects that had calls in flight when an instance died.
const broken = new WeakSet();

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
  for (const call of failed) call(new Error(FAILED));
}

// Traps that are no panics, such as a stack overflow: they leave no wasm to call us.
addEventListener("error", (event) => {
  if (event.error instanceof WebAssembly.RuntimeError) fail();
});

export const panics = {
  // The instance is about to die.
  fail,

  // An object that is made again on a state that its calls in flight have left in the middle. One
  // without any is as it was: its sockets carry all that it knew.
  watch(ctx, code, reason) {
    if (broken.delete(ctx)) closeSockets(ctx, code, reason);
  },

  // `work`, or its failure as soon as the instance dies. The sockets of the object are closed in
  // the object's own I/O context: this continuation runs there, whoever panicked.
  guard(ctx, work, code, reason) {
    let call;
    const died = new Promise((_, fails) => {
      call = (error) => {
        broken.add(ctx);
        fails(error);
      };
    });
    died.catch(() => closeSockets(ctx, code, reason));
    calls.add(call);
    return Promise.race([work, died]).finally(() => calls.delete(call));
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
