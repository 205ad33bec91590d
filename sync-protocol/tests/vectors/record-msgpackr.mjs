// Writes msgpackr.jsonl: JSON texts and what the npm package msgpackr makes of them, with the
// options of Effect's RPC serialization. Run where msgpackr is installed (tests/interop/do-rpc):
//
//   node ../../../sync-protocol/tests/vectors/record-msgpackr.mjs > ../../../sync-protocol/tests/vectors/msgpackr.jsonl
import { createRequire } from 'node:module'

const { Packr, Unpackr } = createRequire(`${process.cwd()}/package.json`)('msgpackr')

const repeat = (count, make) => Array.from({ length: count }, (_, n) => make(n))
const values = [
  null,
  true,
  [],
  {},
  [[], [{}], {}],
  [0, 1, 63, 64, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, 9007199254740991],
  [-1, -32, -33, -128, -129, -32768, -32769, -2147483648, -2147483649, -9007199254740991],
  [0.1, -1.5, 1e21, 1e-7, 5e-324, 1.7976931348623157e308, 123456789012345680000, 1e-6],
  ['', 'a', 'ü', '日本', '🚀', '"\\\b\f\n\r\t\u0000\u001f\u007f\u2028/', 'x'.repeat(31), 'x'.repeat(32), 'ü'.repeat(40)],
  ['\ud800', 'a\udfffb'],
  ['x'.repeat(255), 'x'.repeat(256), '日'.repeat(100)],
  { a: 1, b: { c: [{ d: null }, { d: false }] }, 'with space': 1, '': 2, '1': 3 },
  repeat(20, (n) => ({ n, text: `t${n}` })),
  repeat(20, (n) => ({ [`only${n}`]: n })),
  // More shapes than there are ids.
  [...repeat(70, (n) => ({ [`shape${n}`]: n })), { shape0: 'again' }, { shape69: 'again' }],
  // The same names in another order are another shape.
  [{ a: 1, b: 2 }, { b: 2, a: 1 }, { a: 3, b: 4 }, { b: 5, a: 6 }],
  // More members than one byte counts.
  Object.fromEntries(repeat(20, (n) => [`m${n}`, n])),
]

for (const value of values) {
  const text = JSON.stringify(value)
  const bytes = new Packr({ useRecords: true }).pack(JSON.parse(text))
  const back = new Unpackr({ useRecords: true }).unpackMultiple(bytes)
  const same = back.length === 1 && JSON.stringify(back[0]) === text
  console.log(JSON.stringify({ text, hex: Buffer.from(bytes).toString('hex'), same }))
}
