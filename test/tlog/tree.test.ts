import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  CompactRange,
  consistencyProof,
  EMPTY_ROOT,
  ExpandedTile,
  fullTiles,
  inclusionProof,
  leafHash,
  partialWidth,
  tilePath,
  verifyConsistency,
  verifyInclusion,
  type NodeReader,
} from '../../src/tlog/index.ts'
import { TileTree, type FullTile } from '../../src/log/tile-tree.ts'
import { NaiveTree, naiveLeaf } from '../support/naive-tree.ts'
import { readVectorJson } from '../support/read-vector.ts'
import { NEEDS_VECTORS, vectorsDirectory } from '../support/vectors.ts'

const vectors = vectorsDirectory() ?? ''

interface ReferenceTree {
  readonly leafInputs: readonly string[]
  readonly rootBySize: readonly string[]
  readonly compactRangeBySize: readonly (readonly string[])[]
}
interface InclusionCase {
  readonly leafIdx: number
  readonly treeSize: number
  readonly leafHash: string | null
  readonly root: string | null
  readonly proof: readonly string[] | null
}
interface Tiles {
  readonly rootBySize: Readonly<Record<string, string>>
  readonly inclusion: readonly { index: number; size: number; proof: string[] }[]
}
interface Layout {
  readonly paths: readonly { level: number; index: number; path: string }[]
  readonly layout: readonly {
    size: number
    levels: readonly { level: number; full: number; partialWidth: number; partialPath: string }[]
  }[]
}

const hex = (text: string): Buffer => Buffer.from(text, 'hex')

/** A tile tree over tiles in memory. */
function tileTree(leaves: readonly Uint8Array[]): TileTree {
  const stored = new Map<string, Uint8Array>()
  const source = {
    tile: (level: number, index: number) => stored.get(`${level}/${index}`)!,
    leafHashes: (first: number, end: number) => leaves.slice(first, end),
  }
  const tree = new TileTree(source, 0)
  for (const leaf of leaves) {
    for (const tile of tree.append(leaf)) store(stored, tile)
  }
  t.strictSame(new TileTree(source, leaves.length).root(), tree.root())
  return new TileTree(source, leaves.length)
}

function store(stored: Map<string, Uint8Array>, { level, index, hashes }: FullTile): void {
  stored.set(`${level}/${index}`, Uint8Array.from(hashes))
}

t.test('roots and compact ranges are those of the reference tree', NEEDS_VECTORS, async (t) => {
  const { leafInputs, rootBySize, compactRangeBySize } = readVectorJson(
    'merkle',
    'rfc6962-tree.json',
  ) as ReferenceTree
  const range = new CompactRange()
  for (let size = 0; size <= leafInputs.length; size++) {
    t.equal(Buffer.from(range.root()).toString('hex'), rootBySize[size])
    const stored = Buffer.from(range.serialise()).toString('hex')
    t.equal(stored.slice(16), compactRangeBySize[size]?.join(''))
    t.strictSame(CompactRange.restore(range.serialise()).root(), range.root())
    if (size < leafInputs.length) range.append(leafHash(hex(leafInputs[size] ?? '')))
  }
  t.throws(() => CompactRange.restore(range.serialise().subarray(1)), { code: 'LOG_DAMAGED' })
})

t.test('inclusion proofs are accepted and refused as the vectors say', NEEDS_VECTORS, async (t) => {
  const { cases } = readVectorJson('merkle', 'index.json') as {
    cases: { file: string; expect: string }[]
  }
  t.equal(cases.length, 98)
  for (const { file, expect } of cases) {
    const { leafIdx, treeSize, leafHash, root, proof } = readVectorJson(
      'merkle',
      file,
    ) as InclusionCase
    const bytes = (base64: string | null): Buffer => Buffer.from(base64 ?? '', 'base64')
    const good = verifyInclusion({
      index: leafIdx,
      treeSize,
      leafHash: bytes(leafHash),
      rootHash: bytes(root),
      hashes: (proof ?? []).map(bytes),
    })
    t.equal(good, expect === 'pass', file)
  }
})

t.test('tiles of a real log give its roots and proofs', NEEDS_VECTORS, async (t) => {
  const { rootBySize, inclusion } = readVectorJson('c2sp', 'tiles', 'index.json') as Tiles
  const leaves: Buffer[] = []
  for (const name of ['000', '001', '002', '003']) {
    const tile = readFileSync(join(vectors, 'c2sp', 'tiles', 'tile', '0', name))
    for (let at = 0; at < tile.length; at += 32) leaves.push(tile.subarray(at, at + 32))
  }
  const tree = tileTree(leaves)
  for (const [size, root] of Object.entries(rootBySize)) {
    t.equal(Buffer.from(tree.root(Number(size))).toString('hex'), root)
  }
  for (const { index, size, proof } of inclusion) {
    const made = inclusionProof(index, size, tree.node).map((hash) =>
      Buffer.from(hash).toString('hex'),
    )
    t.strictSame(made, proof)
  }
})

t.test('tile paths and widths follow the layout rules', NEEDS_VECTORS, async (t) => {
  const { paths, layout } = readVectorJson('c2sp', 'tile-layout.json') as Layout
  for (const { level, index, path } of paths) t.equal(tilePath({ level, index }), path)
  for (const { size, levels } of layout) {
    for (const { level, full, partialWidth: width, partialPath } of levels) {
      t.equal(fullTiles(level, size), full, `${size} ${level}`)
      t.equal(partialWidth(level, size), width)
      if (width > 0) t.equal(tilePath({ level, index: full }, width), partialPath)
    }
  }
})

t.test('trees around tile borders have the roots and proofs of the definition', async (t) => {
  const most = 65_537
  const leaves = Array.from({ length: most }, (_, n) => naiveLeaf(Buffer.from(`leaf ${n}`)))
  t.strictSame(leafHash(Buffer.from('leaf 7')), leaves[7])
  const naive = new NaiveTree(leaves)
  const tree = tileTree(leaves)
  const range = new CompactRange()
  const roots = new Map<number, Uint8Array>([[0, EMPTY_ROOT]])
  const sizes = [1, 2, 3, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537]
  for (const leaf of leaves) {
    range.append(leaf)
    if (sizes.includes(range.size)) roots.set(range.size, range.root())
  }
  for (const size of sizes) {
    const rootHash = naive.root(0, size)
    t.strictSame(tree.root(size), rootHash, `root of ${size}`)
    t.strictSame(roots.get(size), rootHash, `compact range of ${size}`)
    const indexes = [0, 1, 2, 254, 255, 256, 257, size >> 1, size - 2, size - 1]
    for (const index of indexes.filter((index) => index >= 0 && index < size)) {
      const hashes = inclusionProof(index, size, tree.node)
      t.strictSame(hashes, naive.path(index, 0, size), `proof of ${index} in ${size}`)
      const claim = { index, treeSize: size, leafHash: leaves[index]!, hashes, rootHash }
      t.ok(verifyInclusion(claim))
      t.notOk(verifyInclusion({ ...claim, index: index + 1 }))
      t.notOk(verifyInclusion({ ...claim, hashes: [...hashes, rootHash] }))
      if (hashes.length > 0) t.notOk(verifyInclusion({ ...claim, hashes: hashes.slice(1) }))
    }
    for (const first of sizes.filter((first) => first <= size)) {
      const hashes = consistencyProof(first, size, tree.node)
      t.strictSame(hashes, naive.proof(first, 0, size), `proof from ${first} to ${size}`)
      const claim = {
        firstSize: first,
        secondSize: size,
        firstRoot: naive.root(0, first),
        secondRoot: rootHash,
        hashes,
      }
      t.ok(verifyConsistency(claim))
      t.notOk(verifyConsistency({ ...claim, hashes: [...hashes, rootHash] }))
      if (hashes.length > 0) t.notOk(verifyConsistency({ ...claim, hashes: hashes.slice(1) }))
      t.notOk(verifyConsistency({ ...claim, secondRoot: EMPTY_ROOT }))
      t.notOk(verifyConsistency({ ...claim, firstRoot: EMPTY_ROOT }))
    }
  }
})

t.test('all proofs of all sizes up to 70 are those of the definition', async (t) => {
  const leaves = Array.from({ length: 70 }, (_, n) => naiveLeaf(Buffer.from(`${n}`)))
  const naive = new NaiveTree(leaves)
  const node: NodeReader = (level, index) =>
    naive.root(index * 2 ** level, (index + 1) * 2 ** level)
  for (let size = 1; size <= 70; size++) {
    for (let m = 0; m < size; m++) {
      const hashes = inclusionProof(m, size, node)
      const rootHash = naive.root(0, size)
      const isRight = verifyInclusion({
        index: m,
        treeSize: size,
        leafHash: leaves[m]!,
        hashes,
        rootHash,
      })
      const isSame = Buffer.concat(hashes).equals(Buffer.concat(naive.path(m, 0, size)))
      const proof = consistencyProof(m + 1, size, node)
      const isConsistent = verifyConsistency({
        firstSize: m + 1,
        secondSize: size,
        firstRoot: naive.root(0, m + 1),
        secondRoot: rootHash,
        hashes: proof,
      })
      if (!isRight || !isSame || !isConsistent) t.fail(`${m} of ${size}`)
    }
  }
  t.pass()
})

t.test('sizes and hashes that make no sense are refused without throwing', async (t) => {
  const h = EMPTY_ROOT
  for (const treeSize of [0, -1, 0.5, NaN, Infinity, 2 ** 53, 2 ** 63]) {
    t.notOk(
      verifyInclusion({ index: 0, treeSize, leafHash: h, hashes: [], rootHash: h }),
      `${treeSize}`,
    )
  }
  t.notOk(
    verifyInclusion({
      index: 0,
      treeSize: 1,
      leafHash: h.subarray(1),
      hashes: [],
      rootHash: h.subarray(1),
    }),
  )
  t.ok(verifyConsistency({ firstSize: 4, secondSize: 4, firstRoot: h, secondRoot: h, hashes: [] }))
  for (const [firstSize, secondSize] of [
    [0, 0],
    [0, 4],
    [5, 4],
    [-1, 4],
    [2 ** 53, 2 ** 53],
  ] as const) {
    t.notOk(verifyConsistency({ firstSize, secondSize, firstRoot: h, secondRoot: h, hashes: [] }))
  }
  t.notOk(
    verifyConsistency({ firstSize: 4, secondSize: 4, firstRoot: h, secondRoot: h, hashes: [h] }),
  )
  t.throws(() => inclusionProof(1, 1, () => h), { code: 'REQUEST_INVALID' })
  t.throws(() => consistencyProof(2, 1, () => h), { code: 'REQUEST_INVALID' })
  t.throws(() => consistencyProof(0, 1, () => h), { code: 'REQUEST_INVALID' })
})

t.test('a node that is passed off as a leaf does not verify', async (t) => {
  const [left, right] = [naiveLeaf(Buffer.from('l')), naiveLeaf(Buffer.from('r'))]
  const body = Buffer.concat([Uint8Array.of(1), left, right])
  const rootHash = new NaiveTree([left, right]).root(0, 2)
  t.notOk(
    verifyInclusion({ index: 0, treeSize: 1, leafHash: leafHash(body), hashes: [], rootHash }),
  )
})

t.test('a stored tile of another length is damage', async (t) => {
  for (const size of [0, 31, 33, 8193, 8224]) {
    t.throws(() => ExpandedTile.from(new Uint8Array(size)), { code: 'LOG_DAMAGED' })
  }
  const tile = ExpandedTile.from(new Uint8Array(64))
  t.throws(() => tile.node(2, 0), { code: 'LOG_DAMAGED' })
})
