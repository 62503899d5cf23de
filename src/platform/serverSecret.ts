import { randomBytes } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import { rowsOf, sql } from './sql.js';

/** A secret the product makes for itself, once, and shares between its processes through the database. */
export async function serverSecret(em: EntityManager, name: string): Promise<Buffer> {
  await rowsOf(
    em,
    sql`insert into server_secret (name, value) values (${name}, ${randomBytes(32).toString('base64')}) on conflict (name) do nothing`,
  );
  const [row] = await rowsOf(em, sql<{ value: string }>`select value from server_secret where name = ${name}`);
  return Buffer.from(row!.value, 'base64');
}
