import tseslint from 'typescript-eslint'

const typed = [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked]

const forms = [
  { selector: 'ExportDefaultDeclaration', message: 'Export by name.' },
  {
    selector: 'ExportAllDeclaration',
    message: 'List what is exported: the index.ts of a folder is its contract.',
  },
  { selector: 'TSEnumDeclaration', message: 'Use a union of texts.' },
  { selector: 'Decorator', message: 'Node runs these files as they are: no decorators.' },
]

// Formats, proofs and verification are functions of their arguments (import rules keep files and sockets out).
const impure = [
  {
    selector: "NewExpression[callee.name='Date'][arguments.length=0]",
    message: 'Time is an argument.',
  },
  {
    selector: "MemberExpression[object.name='Date'][property.name='now']",
    message: 'Time is an argument.',
  },
  {
    selector: "MemberExpression[object.name='process'][property.name='env']",
    message: 'Settings are arguments.',
  },
]

const rules = {
  // An append or a signature that nobody awaits is our likeliest silent bug.
  '@typescript-eslint/no-floating-promises': ['error', { checkThenables: true }],
  '@typescript-eslint/switch-exhaustiveness-check': [
    'error',
    { considerDefaultExhaustiveForUnions: true },
  ],
  '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'separate-type-imports' }],
  '@typescript-eslint/consistent-type-exports': 'error',
  '@typescript-eslint/restrict-template-expressions': [
    'error',
    { allowNumber: true, allowBoolean: true },
  ],
  '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
  '@typescript-eslint/no-unused-vars': [
    'error',
    { argsIgnorePattern: '^_', varsIgnorePattern: '^_' },
  ],
  // Its own advice, `!`, is what no-non-null-assertion forbids.
  '@typescript-eslint/non-nullable-type-assertion-style': 'off',
  eqeqeq: 'error',
  'no-console': 'error',
  'no-control-regex': 'error',
  'no-eval': 'error',
  'no-restricted-syntax': ['error', ...forms],
}

// eslint itself asks for a default export here.
export default tseslint.config(
  {
    ignores: [
      'dist/',
      'native/',
      '.tap/',
      'node_modules/',
      'airseal-data/',
      'coverage/',
      '.cache/',
    ],
  },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['**/*.ts'],
    extends: typed,
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules,
  },
  {
    files: ['src/{x509,tlog,sigstore,verify}/**/*.ts'],
    rules: { 'no-restricted-syntax': ['error', ...forms, ...impure] },
  },
  {
    // tap itself waits for its subtests; what tests read back is theirs to assert.
    files: ['test/**/*.ts', 'bench/**/*.ts'],
    rules: {
      'no-console': 'off',
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafePromises: [
            { from: 'package', name: 'PromiseWithSubtest', package: '@tapjs/core' },
          ],
        },
      ],
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/unbound-method': 'off',
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
    },
  },
  { files: ['scripts/**/*.ts'], rules: { 'no-console': 'off' } },
)
