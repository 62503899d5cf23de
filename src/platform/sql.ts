import type { EntityManager } from '@mikro-orm/postgresql';
import { type RawBuilder, sql } from 'kysely';

export { sql };

/**
 * Runs hand-written SQL with real parameters on the connection of `em`, inside its transaction when it has one.
 * Shapes: `timestamptz`, `bigint` and `numeric` come back as strings, `text[]` as arrays.
 */
export async function rowsOf<Row>(em: EntityManager, query: RawBuilder<Row>): Promise<Row[]> {
  const result = await query.execute(em.getKysely<Record<string, never>>());
  return result.rows;
}

/** PostgreSQL's `2026-11-22 21:45:00.123+00` as a Date. */
export const instantOf = (text: string): Date => new Date(text);
