// Stands in for tap while mutants are run: collects the top-level tests of files that are imported, and fails at the first assertion.
import { match, same, strict } from 'tcompare'

/** Tests of all files, in order: `{ name, run }`. */
export const collected = []

class Failed extends Error {}

function check(good, what) {
  if (!good) throw new Failed(what)
}

function parts(error) {
  return { ...error, name: error?.name, message: error?.message, code: error?.code }
}

function fits(error, expected) {
  if (expected === undefined || typeof expected === 'string') return true
  if (expected instanceof RegExp) return expected.test(error?.message ?? '')
  if (typeof expected === 'function') return error instanceof expected
  return match(parts(error), expected).match
}

class Test {
  #last = []

  async test(...args) {
    const run = args.at(-1)
    const options = args.find((arg) => typeof arg === 'object' && arg !== null) ?? {}
    if (options.skip !== undefined && options.skip !== false) return
    const inner = new Test()
    await run(inner)
    await inner.finish()
  }
  async finish() {
    for (const work of this.#last.reverse()) await work()
  }
  teardown(work) {
    this.#last.push(work)
  }
  setTimeout() {}
  comment() {}
  end() {}
  pass() {}
  fail(what) {
    check(false, what)
  }
  ok(value, what) {
    check(value, what)
  }
  notOk(value, what) {
    check(!value, what)
  }
  equal(a, b, what) {
    check(Object.is(a, b), what)
  }
  not(a, b, what) {
    check(!Object.is(a, b), what)
  }
  same(a, b, what) {
    check(same(a, b).match, what)
  }
  strictSame(a, b, what) {
    check(strict(a, b).match, what)
  }
  notSame(a, b, what) {
    check(!same(a, b).match, what)
  }
  match(a, b, what) {
    check(match(a, b).match, what)
  }
  notMatch(a, b, what) {
    check(!match(a, b).match, what)
  }
  throws(work, expected, what) {
    try {
      work()
    } catch (error) {
      check(fits(error, expected), what)
      return
    }
    check(false, what ?? 'does not throw')
  }
  doesNotThrow(work) {
    work()
  }
  async rejects(work, expected, what) {
    try {
      await (typeof work === 'function' ? work() : work)
    } catch (error) {
      check(fits(error, expected), what)
      return
    }
    check(false, what ?? 'does not reject')
  }
}

/** Top-level tests are kept for later, and run as often as there are mutants. */
class Root extends Test {
  test(...args) {
    const name = typeof args[0] === 'string' ? args[0] : ''
    collected.push({ name: `${collected.length} ${name}`, run: () => new Test().test(...args) })
    return Promise.resolve()
  }
}

export default new Root()
