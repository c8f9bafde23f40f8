import type { ScopePolicy } from './model.ts'

/** True when every image of `inner` lies in `outer`. */
function covers(outer: string, inner: string): boolean {
  return outer === '*' || outer === inner || inner.startsWith(`${outer}/`)
}

/** The policies that images of a scope must meet: its own, and those of wider scopes. */
export function policiesOver(
  policies: readonly ScopePolicy[],
  scope: string,
): readonly ScopePolicy[] {
  return policies.filter((policy) => covers(policy.scope, scope))
}

/** Scopes of the policies, each once, in order. */
export function scopesOf(policies: readonly ScopePolicy[]): readonly string[] {
  return [...new Set(policies.map(({ scope }) => scope))].sort()
}

/**
 * Globs for the images of a scope: below it, and itself with tag or digest. A pattern with `:*` alone would let images by digest through.
 * @param all - what matches anything, slashes too
 */
export function imageGlobs(scope: string, all: '*' | '**'): readonly string[] {
  if (scope === '*') return [all]
  const below = `${scope}/${all}`
  // Without a path it is a registry: no image has its very name.
  return scope.includes('/') ? [below, `${scope}:*`, `${scope}@*`] : [below]
}
