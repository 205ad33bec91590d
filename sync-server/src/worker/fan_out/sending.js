// Frames that many sockets are sent: each text becomes one of JavaScript once, and so does each body that texts share.
export const fanOut = {
  // `frames` says which text each socket gets. `cuts` has three numbers per text: how long its head and tail are in
  // `envelopes`, and which of `bodies` stands between them, if any. Gives the places of the sockets that are closing.
  send(sockets, frames, envelopes, cuts, bodies) {
    const texts = [];
    for (let i = 0, from = 0; i < cuts.length; i += 3) {
      const middle = from + cuts[i];
      const end = middle + cuts[i + 1];
      texts.push(envelopes.slice(from, middle) + (bodies[cuts[i + 2]] ?? "") + envelopes.slice(middle, end));
      from = end;
    }
    const closing = [];
    for (let i = 0; i < sockets.length; i++) {
      try {
        const socket = sockets[i];
        socket.send(texts[frames[i]]);
        // Acknowledgements that can wait, see durable-object.mjs.
        socket.livestorePublished = (socket.livestorePublished ?? 0) + 1;
      } catch {
        closing.push(i);
      }
    }
    return closing;
  },
};
