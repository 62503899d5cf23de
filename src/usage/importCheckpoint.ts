import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import type { Actor } from '../platform/actor.js';
import type { Deps } from '../platform/deps.js';
import { serverSecret } from '../platform/serverSecret.js';

/** What is committed so far, over all runs of one import. */
export interface ImportProgress {
  /** Bytes of the file that are done with. */
  readonly offset: number;
  /** Number of the last line that is done with; 0 before the first. */
  readonly line: number;
  readonly accepted: number;
  readonly duplicate: number;
  readonly rejected: number;
  readonly badLines: number;
}

export const nothingYet: ImportProgress = { offset: 0, line: 0, accepted: 0, duplicate: 0, rejected: 0, badLines: 0 };

/** Where an import stands, kept beside the file it reads. */
export interface Checkpoint {
  readonly start: ImportProgress;
  save(progress: ImportProgress): Promise<void>;
  remove(): Promise<void>;
}

/**
 * How far a file is committed. It holds for this very file (size and time of change), account and database: the start of
 * another file, or of the same one for another database, must not be skipped.
 */
export async function openCheckpoint(
  { db }: Pick<Deps, 'db'>,
  { accountId }: Actor,
  file: string,
): Promise<Checkpoint> {
  const path = `${file}.progress`;
  const { size, mtimeMs } = await fs.stat(file);
  const database = await serverSecret(db.orm.em.fork(), 'usage_import');
  const of = createHash('sha256')
    .update(database)
    .update(JSON.stringify([size, mtimeMs, accountId]))
    .digest('hex');
  return {
    start: await readCheckpoint(path, of),
    save: async (progress) => {
      try {
        await fs.writeFile(`${path}.new`, JSON.stringify({ of, ...progress }));
        await fs.rename(`${path}.new`, path);
      } catch {
        // A folder that can't be written to costs the resumption, not the import.
      }
    },
    remove: () => fs.rm(path, { force: true }),
  };
}

async function readCheckpoint(path: string, of: string): Promise<ImportProgress> {
  try {
    const { of: found, ...progress } = JSON.parse(await fs.readFile(path, 'utf8')) as ImportProgress & { of: string };
    return found === of ? progress : nothingYet;
  } catch {
    return nothingYet; // none, or cut short by a crash: from the beginning
  }
}
