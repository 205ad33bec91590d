// Driver process for @livestore/* 0.3.1.
import '../lib/trace.mjs'
import { serve } from '../lib/child.mjs'
import { backendMethods } from './backend.mjs'
import { storeMethods } from './store.mjs'

serve({ ...backendMethods, ...storeMethods })
