import { makeDurableObject, makeWorker } from '@livestore/sync-cf/cf-worker'

export class SyncBackend extends makeDurableObject() {}
export default makeWorker({ durableObject: { name: 'SYNC_BACKEND' } })
