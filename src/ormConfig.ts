import { Migrator } from '@mikro-orm/migrations';
import { defineConfig, type Options } from '@mikro-orm/postgresql';
import { migrations } from '../migrations/index.js';
import { entities } from './entities.js';

/**
 * How MikroORM sees the database; `clientUrl` comes with the overrides. MikroORM takes only host, port, user, password and name
 * from it; the driver takes all of it, `sslmode` and `options` too.
 */
export function ormConfig(overrides: Options & { clientUrl: string }): Options {
  return defineConfig({
    entities,
    extensions: [Migrator],
    forceUtcTimezone: true,
    loadStrategy: 'select-in',
    migrations: {
      migrationsList: migrations,
      path: 'migrations',
      pathTs: 'migrations',
      snapshot: true,
      snapshotOnMigrate: false, // migrating at run time must not rewrite the committed snapshot
      snapshotName: '.snapshot-billing',
      emit: 'ts',
      silent: true,
    },
    schemaGenerator: { ignoreSchema: ['graphile_worker', 'sandbox'] },
    ...overrides,
    driverOptions: { connectionString: overrides.clientUrl, ...overrides.driverOptions },
  });
}
