// Compiles to `dist`, from nothing, when a source has changed since the last time: a left-over compiled migration would
// still be applied. Run directly (`node src/build.ts`), so it uses nothing that isn't in Node itself.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const stampFile = path.join(root, 'dist', '.stamp');

function* filesOf(entry: string): Generator<string> {
  const full = path.join(root, entry);
  if (!existsSync(full)) return;
  if (statSync(full).isFile()) yield entry;
  else for (const child of readdirSync(full).sort()) yield* filesOf(path.join(entry, child));
}

const hash = createHash('sha256').update(process.version);
for (const entry of ['src', 'migrations', 'test', 'bench', 'tsconfig.json', 'package-lock.json']) {
  for (const file of filesOf(entry)) {
    const { mtimeMs, size } = statSync(path.join(root, file));
    hash.update(`${file}:${mtimeMs}:${size}\n`);
  }
}
const stamp = hash.digest('hex');

if (!existsSync(stampFile) || readFileSync(stampFile, 'utf8') !== stamp) {
  rmSync(path.join(root, 'dist'), { recursive: true, force: true });
  const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.json'], { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
  chmodSync(path.join(root, 'dist', 'src', 'cli.js'), 0o755); // npx runs it as a program
  writeFileSync(stampFile, stamp);
}
