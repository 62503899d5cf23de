import fs from 'node:fs';
import path from 'node:path';

/** A folder imports only from folders to its left; `root` is the files directly in src/. */
const order = [
  'domain',
  'integrations',
  'platform',
  'account',
  'catalog',
  'payment',
  'wallet',
  'invoice',
  'usage',
  'subscription',
  'webhook',
  'api',
  'root',
];

/** Packages the pure core may use: exact arithmetic, and schemas, which only compare. */
const domainPackages = new Set(['decimal.js', 'zod']);

/** The one thing outside src/ that the root may import. */
const migrations = '../migrations/index.js';

const src = path.resolve('src');
const sources = fs
  .readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => ({ file, text: fs.readFileSync(path.join(src, file), 'utf8') }));

const folderOf = (file: string): string => (file.includes(path.sep) ? file.split(path.sep)[0]! : 'root');

const importsOf = (text: string): string[] =>
  [
    ...text.matchAll(
      /(?:^|\n)\s*(?:import|export)\s[^;]*?from\s+'([^']+)'|import\(\s*'([^']+)'\s*\)|(?:^|\n)import\s+'([^']+)'/g,
    ),
  ].map((match) => (match[1] ?? match[2] ?? match[3])!);

/** What breaks the order or leaves src/, as `file imports what`. */
function violationsOf(file: string, text: string): string[] {
  const rank = order.indexOf(folderOf(file));
  return importsOf(text)
    .filter((target) => target.startsWith('.'))
    .map((target) => path.normalize(path.join(path.dirname(file), target)))
    .filter((target) => target !== migrations || folderOf(file) !== 'root')
    .filter((target) => target.startsWith('..') || order.indexOf(folderOf(target)) > rank)
    .map((target) => `${file} imports ${target}`);
}

const impurities: [RegExp, string][] = [
  [/\basync\b|\bawait\b|\bPromise\b/, 'is asynchronous'],
  [/\bDate\.now\b|new Date\(\s*\)|Temporal\.Now\b|\bperformance\b/, 'reads a clock'],
  [/Math\.random\b|\brandomUUID\b|\bcrypto\b/, 'makes randomness or ids'],
  [/\bprocess\b|\bconsole\b|\bfetch\b|\bsetTimeout\b/, 'does I/O'],
];

function impuritiesOf(file: string, text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$|'(?:[^'\\\n]|\\.)*'/gm, (part) =>
    part.startsWith("'") ? "''" : '',
  );
  const foreign = importsOf(text).filter((target) => !target.startsWith('.') && !domainPackages.has(target));
  return [
    ...impurities.filter(([pattern]) => pattern.test(code)).map(([, what]) => `${file} ${what}`),
    ...foreign.map((target) => `${file} imports ${target}`),
  ];
}

test('every folder of src/ has its place in the order', () => {
  expect([...new Set(sources.map(({ file }) => folderOf(file)))].filter((folder) => !order.includes(folder))).toEqual(
    [],
  );
  expect(sources.length).toBeGreaterThan(50);
});

test('no folder imports from a folder to its right', () => {
  expect(sources.flatMap(({ file, text }) => violationsOf(file, text))).toEqual([]);
});

test('domain/ is pure: no async, no clock, no randomness, no I/O, no package but decimals and schemas', () => {
  const domain = sources.filter(({ file }) => folderOf(file) === 'domain');
  expect(domain.length).toBeGreaterThan(10);
  expect(domain.flatMap(({ file, text }) => impuritiesOf(file, text))).toEqual([]);
});

test('only config.ts reads the environment', () => {
  const readers = sources.filter(({ text }) => /process\.env\b/.test(text)).map(({ file }) => file);
  expect(
    readers.filter((file) => file !== 'config.ts' && file !== path.join('platform', 'embeddedCluster.ts')),
  ).toEqual([]);
});

describe('the checks themselves can fail', () => {
  test.each([
    ['wallet/x.ts', "import { a } from '../invoice/a.js';", 'wallet/x.ts imports invoice/a.js'],
    ['wallet/x.ts', "import {\n  a,\n} from '../api/a.js';", 'wallet/x.ts imports api/a.js'],
    ['domain/x.ts', "export { a } from '../platform/a.js';", 'domain/x.ts imports platform/a.js'],
    ['api/x.ts', "const a = await import('../main.js');", 'api/x.ts imports main.js'],
    ['api/x.ts', "import '../../test/a.js';", 'api/x.ts imports ../test/a.js'],
  ])('%s with %j', (file, text, expected) => {
    expect(violationsOf(file, text)).toEqual([expected]);
  });

  test.each([
    'const a = Date.now();',
    'const a = new Date();',
    'async () => 1;',
    'Math.random();',
    "import fs from 'node:fs';",
    'fetch(a);',
  ])('impure: %s', (text) => {
    expect(impuritiesOf('domain/x.ts', text)).toHaveLength(1);
  });

  test('a comment or a string is no impurity', () => {
    expect(impuritiesOf('domain/x.ts', "// await\n/* Date.now() */ const a = 'new Date()';")).toEqual([]);
  });
});
