import t from 'tap'
import { AirsealError, type Json } from '../../src/core/index.ts'
import { compileExpression, within, type ExpressionInput } from '../../src/expressions/index.ts'

const predicate = {
  bomFormat: 'CycloneDX',
  components: [{ name: 'zlib', version: '1.3' }],
  scanner: {
    result: [
      { id: 'CVE-1', severity: 'CRITICAL', published: '2026-11-20T00:00:00Z' },
      { id: 'CVE-2', severity: 'LOW', published: '2025-01-01T00:00:00Z' },
    ],
  },
  count: 3,
  share: 0.5,
}
const now = new Date('2026-11-24T12:00:00Z')
const test = (source: string, variables: Record<string, ExpressionInput> = {}): boolean =>
  compileExpression(source).test({ predicate, now, ...variables })

void t.test('conditions over a predicate give what CEL says', async (t) => {
  for (const [source, wanted] of [
    ["predicate.bomFormat == 'CycloneDX' && size(predicate.components) > 0", true],
    ["has(predicate.serialNumber) ? predicate.serialNumber != '' : false", false],
    ["predicate.components.exists(c, c.name == 'zlib' && c.version.startsWith('1.'))", true],
    [
      "predicate.scanner.result.all(v, v.severity != 'CRITICAL' || now - timestamp(v.published) < duration('720h'))",
      true,
    ],
    ["predicate.scanner.result.all(v, now - timestamp(v.published) < duration('720h'))", false],
    ['predicate.count + 1 == 4 && predicate.share < 1.0 && predicate.count > 2.5', true],
    ["'zlib'.matches('^z.*b$') && 'a,b'.split(',').size() == 2", true],
    ["predicate['bomFormat'].lowerAscii() in ['cyclonedx']", true],
  ] as const) {
    t.equal(test(source), wanted, source)
  }
})

void t.test('values come out as JSON', async (t) => {
  const value = (source: string): Json => compileExpression(source).evaluate({ predicate, now })
  t.equal(value('1 + 2'), 3)
  t.equal(value("b'ab'"), 'YWI=')
  t.same(value("{'a': [1, 2.5, null, 3u]}"), { a: [1, 2.5, null, 3] })
  t.equal(value('now'), '2026-11-24T12:00:00.000Z')
  t.equal(value("duration('90m')"), '5400s')
  t.same(value('predicate.components.map(c, c.name)'), ['zlib'])
  for (const source of ['int', '{1: 2}', '9223372036854775807']) {
    t.throws(() => value(source), { code: 'EXPRESSION_FAILED' }, source)
  }
})

void t.test('what can’t be read is refused, and what has no value is no false', async (t) => {
  for (const source of ['', ' ', '1 +', 'a b', '(', '"', 'x'.repeat(16_385), '('.repeat(10_000)]) {
    t.throws(() => compileExpression(source), { code: 'EXPRESSION_INVALID' }, source.slice(0, 10))
  }
  for (const source of [
    'predicate.absent == 1',
    'absent',
    "predicate.count == 'a' + 1",
    'unknownFunction(1)',
    '1',
    "'true'",
    'null',
    'predicate.components[7].name',
    "timestamp('yesterday') < now",
  ]) {
    t.throws(() => test(source), { code: 'EXPRESSION_FAILED' }, source)
  }
  t.throws(() => test('predicate.scanner.result.exists(v, v.\u202e)'), {
    code: 'EXPRESSION_INVALID',
    message: /^[^\u202e]*$/,
  })
})

void t.test('member names of JavaScript mean nothing', async (t) => {
  const odd = JSON.parse(
    '{"__proto__": {"a": 1}, "constructor": {"name": "x"}, "toString": 2}',
  ) as Json
  t.equal(
    test("odd.constructor.name == 'x' && odd['__proto__'].a == 1", { odd: odd as ExpressionInput }),
    true,
  )
  t.throws(() => test('predicate.constructor.name == "Object"'), { code: 'EXPRESSION_FAILED' })
  t.throws(() => test('"a".constructor == 1'), { code: 'EXPRESSION_FAILED' })
})

void t.test('loops in loops, doubling text and hostile patterns are stopped', async (t) => {
  const list = Array.from({ length: 3000 }, (_, n) => n)
  const text = 'a'.repeat(1_000_000)
  const doubling = `['ab']${'.map(x, x + x)'.repeat(60)}.size() == 1`
  const started = process.cpuUsage()
  for (const source of [
    'list.all(a, list.all(b, list.all(c, a + b + c >= 0)))',
    'list.all(a, list.exists(b, b == -1) || true)',
    'list.map(a, list.map(b, list)).size() > 0',
    'list.all(a, -1 in list || true)',
    'list.all(a, list == list)',
    "list.all(a, text.matches('(a+)+$'))",
    'list.all(a, text.contains("b") || true)',
    'list.all(a, (text + text).size() > 0)',
    doubling,
    // Errors that `||` swallows must not hide that the work was cut short.
    'list.all(a, list.all(b, list.all(c, true))) || true',
  ]) {
    t.throws(() => test(source, { list, text }), { code: 'EXPRESSION_FAILED' }, source)
  }
  const { user } = process.cpuUsage(started)
  t.ok(user < 15_000_000, `ten of them took ${user / 1e6} s of CPU`)
  t.equal(test('list.all(a, a < 3000) && list.exists_one(a, a == 7)', { list }), true)
})

void t.test('own functions are called, and what they throw comes out', async (t) => {
  const pending = new Error('not known yet')
  const compile = (source: string) =>
    compileExpression(source, {
      functions: [
        { name: 'twice', parameters: 1, run: (value) => Number(value) * 2 },
        {
          name: 'tag',
          method: true,
          parameters: 0,
          run: (image) => (image as string).split(':')[1] ?? '',
        },
        {
          name: 'verify',
          parameters: 2,
          run: (image, keys) => (keys as Json[]).length + (image as string).length,
        },
        {
          name: 'lookup',
          parameters: 1,
          run: () => {
            throw pending
          },
        },
        { name: 'image.parse', parameters: 1, run: (text) => ({ name: text ?? '', at: [1] }) },
      ],
    })
  t.equal(compile("twice(4) == 8 && 'a:b'.tag() == 'b'").test({}), true)
  t.equal(compile("['x', 'yy'].map(i, verify(i, ['k'])).all(n, n > 1)").test({}), true)
  t.same(compile("image.parse('r').at[0] + 1").evaluate({}), 2)
  t.throws(() => compile('lookup(1) == 2').test({}), pending)
  t.equal(compile('lookup(1) == 2 || true').test({}), true)
  t.throws(() => compile('twice(1, 2)').test({}), { code: 'EXPRESSION_FAILED' })
})

void t.test('work that hangs is ended by the engine, and what comes after runs', async (t) => {
  const hang = (): never => {
    for (;;) {
      try {
        for (;;) void 0
      } catch {
        // Goes on: only the engine can end it.
      }
    }
  }
  t.throws(() => within(50, 'the work', hang), { code: 'EXPRESSION_FAILED' })
  t.equal(
    within(1000, 'the work', () => within(1000, 'the work', () => 7)),
    7,
  )
  t.throws(
    () =>
      within(1000, 'the work', () => {
        throw new AirsealError('NOT_FOUND', 'a')
      }),
    { code: 'NOT_FOUND' },
  )
  t.equal(test('true'), true)
})
