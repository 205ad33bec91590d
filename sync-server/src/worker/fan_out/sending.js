// Frames that many sockets are sent: the body of each is shared, so it becomes a text of JavaScript once.
export const fanOut = {
  // `cuts` has three numbers per socket: how long its frame's head and tail are in `envelopes`, and which of `bodies`
  // stands between them, if any. Gives the places of the sockets that are closing.
  send(sockets, envelopes, cuts, bodies) {
    const closing = [];
    let from = 0;
    for (let i = 0; i < sockets.length; i++) {
      const middle = from + cuts[3 * i];
      const end = middle + cuts[3 * i + 1];
      try {
        sockets[i].send(envelopes.slice(from, middle) + (bodies[cuts[3 * i + 2]] ?? "") + envelopes.slice(middle, end));
      } catch {
        closing.push(i);
      }
      from = end;
    }
    return closing;
  },
};
