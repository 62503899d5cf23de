import { MikroORM } from '@mikro-orm/postgresql';
import { readConfig } from './config.js';
import { openDatabase } from './database.js';
import { ormConfig } from './ormConfig.js';

// Maintains `migrations/`: `check` fails when the entities say something the committed snapshot doesn't, `create` writes the
// difference as a new migration. Foreign keys, partial indexes and checks are written by hand beside it.

const command = process.argv[2];
const database = await openDatabase(readConfig(), 'command');
const orm = await MikroORM.init(ormConfig({ clientUrl: database.ownerUrl }));
try {
  if (command === 'check') {
    const drifted = await orm.migrator.checkSchema();
    if (drifted) {
      process.stderr.write('The entities differ from the committed migrations. Run: npm run migration:create\n');
      process.exitCode = 1;
    } else process.stdout.write('Migrations match the entities.\n');
  } else if (command === 'create') {
    const { fileName, diff } = await orm.migrator.create();
    process.stdout.write(
      fileName
        ? `Written migrations/${fileName}:\n${diff.up.join('\n')}\n`
        : 'Nothing to write: migrations match the entities.\n',
    );
  } else throw new Error('usage: migrations check | create');
} finally {
  await orm.close();
  await database.stop();
}
