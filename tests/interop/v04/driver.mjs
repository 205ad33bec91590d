// Driver process for @livestore/* 0.4.0.
import '../lib/trace.mjs'
import { serve } from '../lib/child.mjs'
import { backendMethods } from './backend.mjs'
import { replicaMethods } from './replica.mjs'
import { storeMethods } from './store.mjs'

serve({ ...backendMethods, ...replicaMethods, ...storeMethods })
