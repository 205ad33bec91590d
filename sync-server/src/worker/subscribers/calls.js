// Calls of client objects. The names that an environment has for them are only known at run time.
export const calls = {
  async update(env, binding, id, frame, storeId) {
    const namespace = env[binding];
    if (namespace === undefined) throw new Error(`there is no binding ${binding}`);
    const client = namespace.get(namespace.idFromString(id));
    // 0.4 takes the frame alone, LiveStore's main branch the store id, too.
    const answer = await client.syncUpdateRpc(JSON.parse(frame), storeId);
    answer?.[Symbol.dispose]?.();
  },
};
