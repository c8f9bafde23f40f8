// Who may import whom. docs/design.md gives the picture; test/house/imports.test.ts sees each rule fire.
const OURS = '^(src|keys|offline-bundles|bench|scripts|test)/'
const PRODUCT = '^(src|keys|offline-bundles)/'

// Folder of src → what it may import besides itself. `keys/signer.ts` is the contract only, and only as a type.
const RIGHTS = {
  core: [],
  x509: ['src/core'],
  tlog: ['src/core'],
  expressions: ['src/core'],
  oci: ['src/core'],
  sigstore: ['src/core', 'src/x509', 'src/tlog'],
  tuf: ['src/core'],
  verify: ['src/core', 'src/x509', 'src/tlog', 'src/sigstore'],
  trust: ['src/core', 'src/sigstore', 'src/verify'],
  admission: ['src/core', 'src/verify', 'src/expressions'],
  log: ['src/core', 'src/tlog', 'keys/signer.ts'],
  rekor: ['src/core', 'src/x509', 'src/tlog', 'src/sigstore', 'src/log'],
  keyring: ['src/core', 'src/log', 'keys/signer.ts'],
  sign: ['src/core', 'src/sigstore', 'src/oci', 'src/log', 'src/keyring', 'keys/signer.ts'],
  evidence: ['src/core', 'src/sigstore', 'src/oci', 'src/verify', 'src/expressions'],
  doors: ['src/core'],
  http: ['src/core', 'src/sign', 'src/verify', 'src/trust', 'src/rekor', 'src/log'],
}

/** Parts of the composition root: they may import whatever app.ts may. */
const ROOT = '^src/(?!operations/)[^/]+/|^bench/'

const forbid = (name, from, to, comment) => ({ name, comment, severity: 'error', from, to })

/** A path prefix for a folder, or the very file. */
const under = (right) => `^${right.replace('.', '\\.')}${right.endsWith('.ts') ? '$' : '/'}`

const folderRules = Object.entries(RIGHTS).map(([folder, rights]) =>
  forbid(
    `${folder}-imports`,
    { path: `^src/${folder}/` },
    { path: OURS, pathNot: [`src/${folder}`, ...rights].map(under).join('|') },
    `src/${folder} may import ${rights.join(', ') || 'nothing of ours'}`,
  ),
)

module.exports = {
  forbidden: [
    forbid(
      'no-cycles',
      {},
      { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
      'a cycle of values has no first file',
    ),
    ...folderRules,
    forbid(
      'keys-import-core-only',
      { path: '^keys/' },
      { path: OURS, pathNot: '^(keys|src/core)/' },
      'private keys are reached in keys/ only, by code that knows nothing else',
    ),
    forbid(
      'one-door-per-folder',
      { path: '^src/([^/]+)/' },
      { path: '^src/[^/]+/', pathNot: '^src/$1/|/index[.]ts$' },
      'a folder imports another through its index.ts',
    ),
    forbid(
      'one-door-from-outside',
      { path: '^(src/[^/]+[.]ts$|keys/|offline-bundles/|bench/|scripts/)' },
      { path: '^src/[^/]+/', pathNot: '/index[.]ts$|^src/cli/' },
      'a folder is entered through its index.ts; main.ts loads each command by itself',
    ),
    forbid(
      'offline-bundles-imports',
      { path: '^offline-bundles/' },
      { path: OURS, pathNot: '^(offline-bundles|src/(core|tlog|sigstore|oci|verify))/' },
      'what crosses the gap knows formats and registries, neither keys nor log: those it is given',
    ),
    forbid(
      'offline-bundles-have-one-door',
      { path: OURS, pathNot: '^(offline-bundles|test)/' },
      { path: '^offline-bundles/', pathNot: '^offline-bundles/index\\.ts$' },
      'offline-bundles/ is entered through its index.ts',
    ),
    forbid(
      'offline-bundles-serve-the-root',
      { path: '^(src/(?!operations/|cli/)[^/]+/|keys/)' },
      { path: '^offline-bundles/' },
      'only operations and commands carry anything across the gap',
    ),
    forbid(
      'keys-have-one-door',
      { path: OURS, pathNot: '^(keys|test)/' },
      { path: '^keys/', pathNot: '^keys/(index|signer)\\.ts$' },
      'keys/ is entered through its index.ts',
    ),
    forbid(
      'keys-are-opened-by-the-root-only',
      { path: ROOT },
      { path: '^keys/index\\.ts$' },
      'folders see the signer by type; the composition root opens it',
    ),
    forbid(
      'signer-type-only',
      { path: '^src/(?!operations/)[^/]+/' },
      { path: '^keys/signer\\.ts$', dependencyTypesNot: ['type-only'] },
      'the signer is a contract',
    ),
    forbid(
      'http-sees-log-types-only',
      { path: '^src/http/' },
      { path: '^src/log/', dependencyTypesNot: ['type-only'] },
      'requests reach the log through rekor and sign',
    ),
    forbid(
      'cli-has-no-server',
      { path: '^src/cli/' },
      { path: '^(src/http|keys)/' },
      'commands use app.ts',
    ),
    forbid(
      'app-knows-no-commands',
      { path: '^src/', pathNot: '^src/(cli/|main\\.ts$)' },
      { path: '^src/(cli/|main\\.ts$)' },
      'only main.ts starts commands',
    ),
    forbid(
      'pure-folders',
      { path: '^src/(x509|tlog|sigstore|verify|expressions|trust|admission)/' },
      {
        path: '^(node:)?(fs|net|tls|dns|dgram|http|https|http2|child_process|cluster|worker_threads|sqlite)(/|$)',
      },
      'what decides touches no file, socket or process',
    ),
    forbid(
      'sqlite-in-log-only',
      { path: PRODUCT, pathNot: '^src/log/' },
      { path: '(^|/)better-sqlite3(/|$)' },
      'one folder knows the database',
    ),
    forbid(
      'express-in-http-only',
      { path: PRODUCT, pathNot: '^src/http/' },
      { path: '(^|/)express(/|$)' },
      'one folder knows the web framework',
    ),
    forbid(
      'key-services-in-providers-only',
      { path: PRODUCT, pathNot: '^keys/providers/' },
      { path: '(^|/)(@aws-sdk|@google-cloud|google-gax|pkcs11js)(/|$)' },
      'one file a provider knows its SDK',
    ),
    forbid(
      'providers-are-loaded-when-used',
      { path: '^keys/', pathNot: '^keys/providers/' },
      {
        path: '^keys/providers/(aws-kms|google-kms|pkcs11)',
        dependencyTypesNot: ['type-only', 'dynamic-import'],
      },
      'an SDK costs memory and time: only who uses its keys pays',
    ),
    forbid(
      'certificates-in-x509-only',
      { path: PRODUCT, pathNot: '^src/x509/' },
      { path: '(^|/)(pkijs|asn1js|@peculiar)(/|$)' },
      'one folder parses certificates',
    ),
    forbid(
      'expressions-in-one-folder',
      { path: PRODUCT, pathNot: '^src/expressions/' },
      { path: '(^|/)@bufbuild(/|$)' },
      'one folder bounds what expressions may cost',
    ),
    forbid(
      'tuf-libraries-in-tuf-only',
      { path: PRODUCT, pathNot: '^src/tuf/' },
      { path: '(^|/)(@tufjs|tuf-js)(/|$)' },
      'one folder knows the models of TUF',
    ),
    forbid(
      'product-imports-product',
      { path: PRODUCT },
      { path: '^(test|bench|scripts)/' },
      'tests and tools stay outside',
    ),
    forbid(
      'no-development-dependencies',
      { path: PRODUCT },
      { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'], pathNot: '(^|/)@types/' },
      'an installed airseal has no development dependencies',
    ),
    forbid('resolvable', {}, { couldNotResolve: true }, 'a module that is not there'),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
    },
  },
}
