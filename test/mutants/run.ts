// npm run mutants -- [--only 'balance']: plants each bug of the list in a copy of the project, and demands that its test, green without
// it, is red with it. A bug that lives is a hole in the tests.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { text } from '../../bench/options.js';
import { columns } from '../../src/cliTerminal.js';
import { type Mutant, mutants } from './mutants.js';

const root = path.resolve(import.meta.dirname, '..', '..', '..');
const copied = [
  'src',
  'migrations',
  'test',
  'bench',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'schema.graphql',
];

const only = text('only', '');
const chosen = mutants.filter(({ name }) => name.includes(only));
if (chosen.length === 0)
  throw new Error(`--only '${only}' fits none of: ${mutants.map(({ name }) => name).join(' · ')}`);

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'billing-mutants-'));
try {
  for (const entry of copied) fs.cpSync(path.join(root, entry), path.join(folder, entry), { recursive: true });
  fs.symlinkSync(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
  process.exitCode = hunt() ? 0 : 1;
} finally {
  fs.rmSync(folder, { recursive: true, force: true });
}

/** Every test is green without a bug, and red with its own. */
function hunt(): boolean {
  const rows: string[][] = [];
  let isGood = true;
  const tell = (name: string, verdict: string, good: boolean): void => {
    isGood &&= good;
    rows.push([good ? 'ok' : 'BAD', name, verdict]);
    process.stderr.write(`${good ? 'ok ' : 'BAD'} ${name}: ${verdict}\n`);
  };
  build();
  const files = [...new Set(chosen.map(({ test }) => test.file))];
  const names = chosen.map(({ test }) => test.name);
  const { failed, passed } = run(files, names);
  const missing = names.filter((name) => ![...failed, ...passed].some((full) => full.endsWith(name)));
  const isGreen = failed.length === 0 && missing.length === 0;
  tell(
    'none',
    isGreen
      ? `${passed.length} tests in ${files.length} files are green`
      : `red or missing: ${[...failed, ...missing].join(' · ')}`,
    isGreen,
  );
  for (const mutant of chosen) {
    const undo = plant(mutant);
    try {
      build();
      const { failed } = run([mutant.test.file], [mutant.test.name]);
      const caught = failed.some((full) => full.endsWith(mutant.test.name));
      tell(mutant.name, caught ? `caught by '${mutant.test.name}'` : `NOT caught by '${mutant.test.name}'`, caught);
    } catch (error) {
      tell(mutant.name, (error as Error).message, false);
    } finally {
      undo();
    }
  }
  console.log(`\n${columns(rows)}\n`);
  return isGood;
}

/** Writes the bug into the copy; returns what takes it back. */
function plant({ edits }: Mutant): () => void {
  const before = new Map<string, string>();
  for (const { file, from, to } of edits) {
    const full = path.join(folder, file);
    const source = fs.readFileSync(full, 'utf8');
    if (!before.has(full)) before.set(full, source);
    if (source.split(from).length !== 2)
      throw new Error(`${file} has this ${source.split(from).length - 1} times, expected once: ${from}`);
    fs.writeFileSync(
      full,
      source.replace(from, () => to),
    );
  }
  return () => {
    for (const [full, source] of before) fs.writeFileSync(full, source);
  };
}

/** A bug that the compiler finds proves nothing about the tests. */
function build(): void {
  const tsc = path.join(folder, 'node_modules', 'typescript', 'bin', 'tsc');
  const { status, stdout } = spawnSync(
    process.execPath,
    [tsc, '-p', 'tsconfig.json', '--incremental', '--noUnusedLocals', 'false', '--noUnusedParameters', 'false'],
    {
      cwd: folder,
      encoding: 'utf8',
    },
  );
  if (status !== 0) throw new Error(`does not compile: ${stdout.slice(0, 500)}`);
}

/** Full names of the named tests that failed and passed. */
function run(files: readonly string[], names: readonly string[]): { failed: string[]; passed: string[] } {
  const results = path.join(folder, 'results.json');
  fs.rmSync(results, { force: true });
  const escaped = names.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  const { stderr } = spawnSync(
    process.execPath,
    [
      ...[
        'node_modules/jest/bin/jest.js',
        '-i',
        '--forceExit',
        '--json',
        '--outputFile',
        results,
        '-t',
        `(${escaped.join('|')})$`,
      ],
      ...files.map((file) => path.join('dist', file.replace(/\.ts$/, '.js'))),
    ],
    { cwd: folder, encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } },
  );
  if (!fs.existsSync(results)) throw new Error(`jest gave no result: ${stderr.slice(-500)}`);
  const report = JSON.parse(fs.readFileSync(results, 'utf8')) as {
    testResults: { assertionResults: { fullName: string; status: string }[] }[];
  };
  const tests = report.testResults.flatMap(({ assertionResults }) => assertionResults);
  const of = (status: string): string[] => tests.filter((test) => test.status === status).map((test) => test.fullName);
  return { failed: of('failed'), passed: of('passed') };
}
