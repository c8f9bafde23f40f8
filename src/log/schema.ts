/** `application_id` of the file: "ASEL". Another value means somebody else's database. */
export const APPLICATION_ID = 0x4153454c

/** `user_version` of the file. A newer one is refused, an older one is brought up by {@link MIGRATIONS}. */
export const SCHEMA_VERSION = 2

/** Bytes of a database page: the entries are larger than SQLite's default expects. */
export const PAGE_SIZE = 8192

/** Triggers that let `table` only grow. They stop mistakes, not somebody who can write the file: hashes are for that. */
function appendOnly(table: string): string {
  return ['UPDATE', 'DELETE']
    .map(
      (what) => `CREATE TRIGGER ${table}_no_${what.toLowerCase()} BEFORE ${what} ON ${table}
        BEGIN SELECT RAISE(ABORT, '${table} is append-only'); END;`,
    )
    .join('\n')
}

/** Small durable state of other folders, by kind and name. `revision` is compared and swapped. */
const DOCUMENT_TABLE = `
  CREATE TABLE document (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL CHECK (revision > 0),
    text TEXT NOT NULL,
    time INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
  ) STRICT, WITHOUT ROWID;
`

/** What brings a file from the version that is the key to the next one. */
export const MIGRATIONS: ReadonlyMap<number, string> = new Map([
  [
    1,
    `${DOCUMENT_TABLE}
     ALTER TABLE tree ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;
     UPDATE tree SET indexed = size;`,
  ],
])

/** The tables of one data directory. `time` is Unix seconds in the log, milliseconds elsewhere. */
export const SCHEMA = `
  -- One row. size, root and epoch are compared and swapped in the transaction that adds the leaves. indexed: of so many entries, the first,
  -- the rows of the table lookup are there; those of the others are made in memory when the file is opened.
  CREATE TABLE tree (
    tree_id INTEGER PRIMARY KEY,
    base INTEGER NOT NULL,
    hostname TEXT NOT NULL,
    public_key BLOB NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    time INTEGER NOT NULL,
    indexed INTEGER NOT NULL
  ) STRICT;

  -- keys: SHA-256 of each search key, 32 bytes each. seal: see entrySeal; the Merkle tree covers the body alone.
  CREATE TABLE entry (
    idx INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    keys BLOB NOT NULL,
    seal BLOB NOT NULL CHECK (length(seal) = 8),
    body BLOB NOT NULL
  ) STRICT;

  -- h: first 48 bits of a leaf hash or of a search key's hash. Narrow on purpose; the whole hash is compared after every hit.
  CREATE TABLE lookup (
    h INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    PRIMARY KEY (h, idx)
  ) STRICT, WITHOUT ROWID;

  -- Full tiles only: 256 hashes. The ragged edge is rebuilt at start.
  CREATE TABLE tile (
    level INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    hashes BLOB NOT NULL CHECK (length(hashes) = 8192),
    PRIMARY KEY (level, idx)
  ) STRICT;

  CREATE TABLE checkpoint (
    size INTEGER PRIMARY KEY,
    root BLOB NOT NULL,
    note TEXT NOT NULL
  ) STRICT;

  -- hash: SHA-256 over the hash before (32 zero bytes for the first) and the canonical JSON of the row.
  CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    caller TEXT NOT NULL,
    action TEXT NOT NULL,
    key TEXT,
    digest TEXT,
    detail TEXT NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32)
  ) STRICT;

  -- One row: how long the chain is, so that rows missing at its end are noticed.
  CREATE TABLE audit_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL
  ) STRICT;
  INSERT INTO audit_head VALUES (1, 0, zeroblob(32));

  CREATE TABLE job (
    id INTEGER PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE,
    digest TEXT,
    document TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('signed', 'logged', 'pushed')),
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX job_digest ON job (digest) WHERE digest IS NOT NULL;
  CREATE INDEX job_unfinished ON job (id) WHERE state <> 'pushed';

  CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;

  ${DOCUMENT_TABLE}

  ${['entry', 'tile', 'checkpoint', 'audit'].map(appendOnly).join('\n')}
`
