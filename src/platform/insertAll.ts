import type { EntityManager, EntityName } from '@mikro-orm/postgresql';
import { rowsOf, sql } from './sql.js';

/**
 * Inserts many rows of an entity by one statement, in the columns its properties say. The unit of work never hears of them: for
 * rows that are written once and by the hundred. Every property must be given, as no default applies.
 */
export async function insertAll<Row extends object>(
  em: EntityManager,
  entity: EntityName<Row>,
  rows: readonly Row[],
): Promise<void> {
  if (rows.length === 0) return;
  const { tableName, props } = em.getMetadata().get(entity);
  const columns = props.map(({ name, fieldNames }) => [name as keyof Row, fieldNames[0]!] as const);
  const records = rows.map((row) => Object.fromEntries(columns.map(([name, column]) => [column, row[name]])));
  const json = JSON.stringify(records, (_, value) => (typeof value === 'bigint' ? value.toString() : value));
  const table = sql.table(tableName);
  const names = sql.join(columns.map(([, column]) => sql.ref(column)));
  await rowsOf(
    em,
    sql`insert into ${table} (${names}) select ${names} from jsonb_populate_recordset(null::${table}, ${json}::jsonb)`,
  );
}
