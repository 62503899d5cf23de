import fs from 'node:fs';
import pg from 'pg';
import { migrations } from '../migrations/index.js';
import { printedSchema } from '../src/api/schema.js';
import { entities, tables } from '../src/entities.js';
import { startWorld, type World } from './support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ worker: false });
});
afterAll(() => world.stop());

const query = async <Row>(text: string): Promise<Row[]> => {
  const client = new pg.Client({ connectionString: world.databaseUrl });
  await client.connect();
  try {
    return (await client.query(text)).rows as Row[];
  } finally {
    await client.end();
  }
};

test('schema.graphql is what the code prints', () => {
  expect(fs.readFileSync('schema.graphql', 'utf8')).toBe(printedSchema());
});

test('every migration file is in the list', () => {
  const files = fs.readdirSync('migrations').filter((file) => /^Migration\d+\.ts$/.test(file));
  expect(migrations.map(({ name }) => `${name}.ts`)).toEqual(files.sort());
});

test('every table of the database is registered as distributed or reference, and the other way round', async () => {
  const found = await query<{ table_name: string }>(
    `select table_name from information_schema.tables where table_schema = 'public' and table_name <> 'mikro_orm_migrations'`,
  );
  expect(found.map((row) => row.table_name).sort()).toEqual(entities.map((entity) => entity.meta.tableName).sort());
});

test('the columns of the database are those of the entities', async () => {
  const found = await query<{ name: string }>(
    `select table_name || '.' || column_name || ' ' || is_nullable as name from information_schema.columns
     where table_schema = 'public' and table_name <> 'mikro_orm_migrations'`,
  );
  const metadata = world.deps.db.orm.getMetadata();
  const declared = entities.flatMap((entity) =>
    metadata
      .getByClassName(entity.meta.className as never)
      .props.map(
        (property) => `${entity.meta.tableName}.${property.fieldNames[0]} ${property.nullable ? 'YES' : 'NO'}`,
      ),
  );
  expect(found.map((row) => row.name).sort()).toEqual(declared.sort());
});

describe('rules that let the schema be sharded by account', () => {
  const distributed = tables.distributed.map((entity) => entity.meta.tableName!).filter((table) => table !== 'account');

  test('every account-owned table has account_id first and its primary key starts with it', async () => {
    const keys = await query<{ table: string; key: string; first: string }>(`
      select c.relname as table, a.attname as key, f.attname as first
      from pg_index i
      join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'public'
      join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
      join pg_attribute f on f.attrelid = c.oid and f.attnum = 1
      where i.indisprimary`);
    const of = new Map(keys.map((row) => [row.table, row]));
    for (const table of distributed)
      expect([table, of.get(table)?.key, of.get(table)?.first]).toEqual([table, 'account_id', 'account_id']);
  });

  test('every unique constraint and foreign key of such a table contains account_id', async () => {
    const constraints = await query<{ table: string; name: string; columns: string[]; target: string | null }>(`
      select c.relname as table, ic.relname as name, null as target,
        array(select attname::text from pg_attribute where attrelid = c.oid and attnum = any(i.indkey)) as columns
      from pg_index i join pg_class ic on ic.oid = i.indexrelid join pg_class c on c.oid = i.indrelid
      join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'public' where i.indisunique
      union all
      select c.relname, k.conname, t.relname,
        array(select attname::text from pg_attribute where attrelid = c.oid and attnum = any(k.conkey))
      from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_class t on t.oid = k.confrelid
      join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'public' where k.contype = 'f'`);
    const reference = new Set<string>(tables.reference.map((entity) => entity.meta.tableName!));
    const checked = constraints.filter(
      (row) => distributed.includes(row.table) && !(row.target && reference.has(row.target)),
    );
    expect(checked.length).toBeGreaterThan(distributed.length);
    expect(checked.filter((row) => !row.columns.includes('account_id'))).toEqual([]);
  });

  test('there are no sequences, no identity columns, no triggers', async () => {
    const found = await query<{ what: string }>(`
      select 'sequence ' || relname as what from pg_class join pg_namespace n on n.oid = relnamespace
        where relkind = 'S' and nspname = 'public' and relname not like 'mikro_orm_migrations%'
      union all select 'trigger ' || tgname from pg_trigger t join pg_class c on c.oid = t.tgrelid
        join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'public' where not tgisinternal`);
    expect(found).toEqual([]);
  });

  test('timestamps have milliseconds', async () => {
    const found = await query<{ name: string }>(`
      select table_name || '.' || column_name as name from information_schema.columns
      where table_schema = 'public' and data_type like 'timestamp%' and datetime_precision <> 3 and table_name <> 'mikro_orm_migrations'`);
    expect(found).toEqual([]);
  });
});
