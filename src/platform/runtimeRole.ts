import pg from 'pg';

/**
 * The role the running product acts as, whoever it logs in as: it reads and writes every table, but to those that are
 * append-only it can only add. Nothing in the product can thus change or remove a posting, by whatever mistake.
 */
export const runtimeRole = 'billing_app';

/** The tables of the product in schema `public`; those of the job queue and the sandbox are all of their schemas. */
export interface GuardedTables {
  readonly all: readonly string[];
  readonly appendOnly: readonly string[];
}

/** Whether the database itself keeps the product from changing what is append-only. */
export interface Guard {
  /** Who the product is to the database. */
  readonly role: string;
  readonly inForce: boolean;
  /** Why it isn't, in words for whoever runs the database. */
  readonly reason: string | undefined;
}

/**
 * What is missing of the runtime role's rights, and what is too much, as statements. The job queue's tables have row security
 * without a policy, which shuts out everybody but their owner.
 */
const differences = `
  with role as (select oid from pg_roles where rolname = '${runtimeRole}'),
  relation as (
    select c.oid, n.nspname as schema, c.relname as name, c.relkind, c.relrowsecurity,
      n.nspname = 'public' and c.relname = any($2::text[]) as append_only
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'public' and c.relname = any($1::text[]) or n.nspname in ('sandbox', 'graphile_worker')
  )
  select format('grant usage on schema %I to ${runtimeRole}', n.nspname) as statement
    from pg_namespace n, role
    where n.nspname in ('public', 'sandbox', 'graphile_worker') and not has_schema_privilege(role.oid, n.oid, 'USAGE')
  union all
  select format('grant %s on %I.%I to ${runtimeRole}', r.kind, schema, name)
    from relation, role, unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) as r (kind)
    where relkind in ('r', 'p', 'v') and not (append_only and r.kind in ('UPDATE', 'DELETE'))
      and not has_table_privilege(role.oid, relation.oid, r.kind)
  union all
  select format('revoke update, delete, truncate on %I.%I from ${runtimeRole}', schema, name)
    from relation, role
    where append_only and (has_any_column_privilege(role.oid, relation.oid, 'UPDATE')
      or has_table_privilege(role.oid, relation.oid, 'DELETE') or has_table_privilege(role.oid, relation.oid, 'TRUNCATE'))
  union all
  select format('grant usage, select on sequence %I.%I to ${runtimeRole}', schema, name)
    from relation, role where relkind = 'S' and not has_sequence_privilege(role.oid, relation.oid, 'USAGE')
  union all
  select format('grant execute on function %s to ${runtimeRole}', f.oid::regprocedure)
    from pg_proc f join pg_namespace n on n.oid = f.pronamespace, role
    where n.nspname = 'graphile_worker' and not has_function_privilege(role.oid, f.oid, 'EXECUTE')
  union all
  select format('create policy ${runtimeRole} on %I.%I to ${runtimeRole} using (true) with check (true)', schema, name)
    from relation, role where relrowsecurity and not exists (
      select 1 from pg_policy p where p.polrelid = relation.oid and role.oid = any(p.polroles))`;

/** Somebody without the right to do it, or another process that was faster. */
const insufficientPrivilege = '42501';
const alreadyThere: ReadonlySet<string | undefined> = new Set(['42710', '23505']);

const codeOf = (error: unknown): string | undefined => (error as { code?: string }).code;

/**
 * Makes the runtime role, gives it its rights and lets these logins act as it. Runs after every migration and looks at the
 * tables there are, so that a new table needs no line of its own; where all is as it should be, it changes nothing. Returns
 * why it couldn't be done where the owner of the tables lacks the right to: the product works without, unguarded.
 */
export async function grantRuntimeRole(
  owner: pg.Client,
  { all, appendOnly, logins }: GuardedTables & { logins: readonly string[] },
): Promise<string | undefined> {
  try {
    const { rows: found } = await owner.query(`select 1 from pg_roles where rolname = $1`, [runtimeRole]);
    if (found.length === 0) await owner.query(`create role ${runtimeRole} nologin`).catch(unlessAlreadyThere);
    // Until 15 whoever was a member could act as the role; since then it is a right of its own.
    const { rows: barred } = await owner.query<{ login: string }>(
      `select rolname as login from pg_roles where (rolname = any($1::text[]) or rolname = current_user) and not pg_has_role(
         rolname, '${runtimeRole}', case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end)`,
      [logins],
    );
    for (const { login } of barred) await owner.query(`grant ${runtimeRole} to ${owner.escapeIdentifier(login)}`);
    const { rows } = await owner.query<{ statement: string }>(differences, [all, appendOnly]);
    if (rows.length > 0) await owner.query(`begin; ${rows.map((row) => row.statement).join('; ')}; commit`);
    return undefined;
  } catch (error) {
    if (codeOf(error) !== insufficientPrivilege) throw error;
    await owner.query('rollback');
    return (error as Error).message;
  }
}

function unlessAlreadyThere(error: unknown): void {
  if (!alreadyThere.has(codeOf(error))) throw error;
}

/** What is answered to who may not act as the role, to a role that isn't there, and by a pooler that knows no options. */
const refusals: ReadonlySet<string | undefined> = new Set([insufficientPrivilege, '22023', '08P01']);

/**
 * How the product connects: as the runtime role where it can, else as it is. A login that owns no table and has only the
 * role's rights is guarded as well, and needs no more than that.
 */
export async function asRuntimeRole(url: string, tables: GuardedTables): Promise<{ url: string; guard: Guard }> {
  const actingUrl = withRole(url);
  let reason: string;
  try {
    const { role, changeable, denied } = await rightsAt(actingUrl, tables);
    if (changeable.length === 0 && denied.length === 0) return { url: actingUrl, guard: guardedAs(role) };
    reason =
      denied.length > 0
        ? `the role ${runtimeRole} lacks rights on ${denied.join(', ')}: billing migrate gives them`
        : `the role ${runtimeRole} may change ${changeable.join(', ')}: billing migrate takes that back`;
  } catch (error) {
    if (!refusals.has(codeOf(error))) throw error;
    reason = (error as Error).message;
  }
  const { role, changeable } = await rightsAt(url, tables);
  return { url, guard: changeable.length === 0 ? guardedAs(role) : { role, inForce: false, reason } };
}

const guardedAs = (role: string): Guard => ({ role, inForce: true, reason: undefined });

/** A start-up parameter, so that the session is never anybody else: not before its first statement, nor after a reset. */
function withRole(url: string): string {
  const acting = new URL(url);
  const options = acting.searchParams.get('options');
  acting.searchParams.set('options', `${options === null ? '' : `${options} `}-c role=${runtimeRole}`);
  return acting.href;
}

/** Which append-only tables this connection could change, and which tables of the product it can't write. */
async function rightsAt(
  url: string,
  { all, appendOnly }: GuardedTables,
): Promise<{ role: string; changeable: string[]; denied: string[] }> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  await client.connect();
  try {
    const { rows } = await client.query<{ role: string; changeable: string[]; denied: string[] }>(
      `select current_user::text as role,
         coalesce(array_agg(name) filter (where name = any($2::text[]) and (has_any_column_privilege(oid, 'UPDATE')
           or has_table_privilege(oid, 'DELETE') or has_table_privilege(oid, 'TRUNCATE'))), '{}') as changeable,
         coalesce(array_agg(name) filter (where not has_table_privilege(oid, 'SELECT')
           or not has_table_privilege(oid, 'INSERT')), '{}') as denied
       from (select c.oid, c.relname::text as name from pg_class c
             where c.relnamespace = to_regnamespace('public') and c.relname = any($1::text[]) order by c.relname) t`,
      [all, appendOnly],
    );
    return rows[0]!;
  } finally {
    await client.end();
  }
}
