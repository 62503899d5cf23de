import pg from 'pg';

const empty = { rows: [], rowCount: 0, command: 'ROLLBACK', oid: 0, fields: [] };

/**
 * A connection that never keeps its place in the pool when it is of no use any more.
 *
 * When a query on it times out at the client (`query_timeout`), PostgreSQL has stopped answering, and nobody can say what the
 * session still holds. Dropping the socket ends its transaction and frees its locks as soon as PostgreSQL notices, and the pool
 * makes a new connection.
 *
 * Kysely gives a transaction's connection back after COMMIT or ROLLBACK has worked, and never after a BEGIN or ROLLBACK that failed:
 * each connection lost in a transaction would take its slot of the pool with it. So a ROLLBACK that fails counts as done, as
 * the transaction ends with its connection, and a BEGIN that fails gives the connection back itself.
 */
export class DroppingClient extends pg.Client {
  #dropped = false;

  // pg.Client.query has a dozen overloads; what matters here is the promise that Kysely awaits.
  override query(...args: unknown[]): never {
    const [text] = args;
    const command = typeof text === 'string' ? /^\s*(begin|rollback)\b/i.exec(text)?.[1]?.toLowerCase() : undefined;
    const { release } = this as { release?: (destroy: boolean) => void };
    const result = (super.query as (...all: unknown[]) => unknown).apply(this, args);
    if (!(result instanceof Promise)) return result as never;
    if (command === 'rollback') {
      return result.catch(() => {
        this.#drop();
        return empty;
      }) as never;
    }
    result.catch((error: unknown) => {
      if (error instanceof Error && error.message === 'Query read timeout') this.#drop();
      if (command === 'begin') release?.(true);
    });
    return result as never;
  }

  #drop(): void {
    if (this.#dropped) return;
    this.#dropped = true;
    this.on('error', () => {}); // the end of the socket is our own doing
    const { stream } = (this as unknown as { connection: { stream: { destroy(): void } } }).connection;
    (this as unknown as { _queryable: boolean })._queryable = false; // what pg-pool looks at when it takes a client back
    stream.destroy();
  }
}
