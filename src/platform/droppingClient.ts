import pg from 'pg';

const empty = { rows: [], rowCount: 0, command: 'ROLLBACK', oid: 0, fields: [] };

/**
 * A connection that is given up when a query on it times out at the client (`query_timeout`): PostgreSQL has stopped
 * answering, and nobody can say what the session still holds. Dropping the socket ends its transaction and frees its locks as
 * soon as PostgreSQL notices, and the pool makes a new connection. The ROLLBACK that follows would only queue behind the lost
 * query and fail, and a transaction whose rollback fails never gives its connection back: so it counts as done.
 */
export class DroppingClient extends pg.Client {
  #dropped = false;

  // pg.Client.query has a dozen overloads; what matters here is the promise that Kysely awaits.
  override query(...args: unknown[]): never {
    const [text] = args;
    if (this.#dropped && typeof text === 'string' && /^\s*rollback\b/i.test(text))
      return Promise.resolve(empty) as never;
    const result = (super.query as (...all: unknown[]) => unknown).apply(this, args);
    if (result instanceof Promise) {
      result.catch((error: unknown) => {
        if (error instanceof Error && error.message === 'Query read timeout') this.#drop();
      });
    }
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
