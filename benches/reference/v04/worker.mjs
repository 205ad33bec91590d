import { makeDurableObject, makeWorker } from '@livestore/sync-cf/cf-worker'

// Keeps its events in the D1 database `DB` if it is given one, else in the object's own SQLite.
export class SyncBackend extends makeDurableObject() {}
export default makeWorker({ syncBackendBinding: 'SYNC_BACKEND' })
