import type pg from 'pg';
import { DroppingClient } from './droppingClient.js';

/** Tells the workers of living processes from those whose process is gone. All of a process go by the name of their pool. */
export interface LiveWorkers {
  /** Says that this pool lives, as long as this process does; to be repeated, since a lost connection takes it back. */
  confirm(poolId: string): Promise<void>;
  /** Pools that hold jobs, and have been without a process for a while. */
  gone(): Promise<string[]>;
  close(): Promise<void>;
}

/** A process whose connection was lost has so long to come back, before its pool counts as gone. */
const graceMs = 15_000;

const timeouts = { query_timeout: 6_000, connectionTimeoutMillis: 5_000 };
const key = "hashtextextended('workers ' || pool_id, 0)";

interface Session {
  readonly client: pg.Client;
  confirmed: string | undefined;
}

/**
 * Each living pool has a session lock of PostgreSQL under its name: a killed process gives it back at once, and one whose
 * machine is gone when PostgreSQL notices, here within half a minute. Nothing is written, and nobody's clock counts.
 */
export function createLiveWorkers({
  url,
  onError,
  now = Date.now,
}: {
  url: string;
  onError: (error: Error) => void;
  now?: () => number;
}): LiveWorkers {
  let session: Session | undefined;
  let isClosed = false;
  /** Since when it has been seen without a process. */
  const missing = new Map<string, number>();

  const open = async (): Promise<Session> => {
    if (session) return session;
    const client = new DroppingClient({ connectionString: url, keepAlive: true, ...timeouts });
    const made: Session = { client, confirmed: undefined };
    const lose = (error?: Error): void => {
      if (session === made) session = undefined;
      if (error && !isClosed) onError(error);
    };
    client.on('error', lose);
    client.on('end', () => lose());
    try {
      await client.connect();
      // A machine that vanished is noticed after 10 + 3 × 5 s. Ignored where the connection is no TCP.
      await client.query('set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3');
    } catch (error) {
      await client.end().catch(() => {}); // why it is of no use is said already
      throw error;
    }
    session = made;
    return made;
  };

  return {
    confirm: async (poolId) => {
      const of = await open();
      if (of.confirmed === poolId) return;
      await of.client.query(`select pg_advisory_lock(${key}) from (select $1::text as pool_id) mine`, [poolId]);
      of.confirmed = poolId;
    },
    gone: async () => {
      const { client } = await open();
      const { rows } = await client.query<{ pool_id: string }>(
        `select pool_id from (select distinct locked_by as pool_id from graphile_worker.jobs where locked_by is not null) held
         where not exists (
           select 1 from pg_locks where locktype = 'advisory' and granted and objsubid = 1
             and database = (select oid from pg_database where datname = current_database())
             and (classid::bigint << 32) | objid::bigint = ${key})`,
      );
      const at = now();
      const seen = new Set(rows.map((row) => row.pool_id));
      for (const id of missing.keys()) if (!seen.has(id)) missing.delete(id);
      for (const id of seen) if (!missing.has(id)) missing.set(id, at);
      return [...seen].filter((id) => at - missing.get(id)! >= graceMs);
    },
    close: async () => {
      isClosed = true;
      await session?.client.end();
    },
  };
}
