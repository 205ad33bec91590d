// The small application of the store tests, built with the exports of whichever `@livestore/livestore` is given.
// A rename overwrites, so two stores that applied the same events in a different order end up with different rows.

export function todoSchema({ Events, State, Schema, makeSchema }) {
  const events = {
    todoCreated: Events.synced({
      name: 'v1.TodoCreated',
      schema: Schema.Struct({ id: Schema.String, text: Schema.String }),
    }),
    todoRenamed: Events.synced({
      name: 'v1.TodoRenamed',
      schema: Schema.Struct({ id: Schema.String, text: Schema.String }),
    }),
    todoDone: Events.synced({
      name: 'v1.TodoDone',
      schema: Schema.Struct({ id: Schema.String }),
    }),
  }
  const todos = State.SQLite.table({
    name: 'todos',
    columns: {
      id: State.SQLite.text({ primaryKey: true }),
      text: State.SQLite.text({ default: '' }),
      done: State.SQLite.boolean({ default: false }),
    },
  })
  const materializers = State.SQLite.materializers(events, {
    'v1.TodoCreated': ({ id, text }) => todos.insert({ id, text, done: false }).onConflict('id', 'ignore'),
    'v1.TodoRenamed': ({ id, text }) => todos.update({ text }).where({ id }),
    'v1.TodoDone': ({ id }) => todos.update({ done: true }).where({ id }),
  })
  const schema = makeSchema({ events, state: State.SQLite.makeState({ tables: { todos }, materializers }) })
  const byName = Object.fromEntries(Object.values(events).map((event) => [event.name, event]))
  return { schema, todos, byName }
}
