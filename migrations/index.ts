import { Migration20261122100000 } from './Migration20261122100000.js';
import { Migration20261122100001 } from './Migration20261122100001.js';
import { Migration20261124100000 } from './Migration20261124100000.js';
import { Migration20261124100001 } from './Migration20261124100001.js';
import { Migration20261124110000 } from './Migration20261124110000.js';
import { Migration20261124120000 } from './Migration20261124120000.js';
import { Migration20261124140000 } from './Migration20261124140000.js';
import { Migration20261124160000 } from './Migration20261124160000.js';
import { Migration20261124170000 } from './Migration20261124170000.js';
import { Migration20261125000000 } from './Migration20261125000000.js';
import { Migration20261125002420 } from './Migration20261125002420.js';
import { Migration20261125003227 } from './Migration20261125003227.js';
import { Migration20261125004300 } from './Migration20261125004300.js';
import { Migration20261125010000 } from './Migration20261125010000.js';
import { Migration20261125013600 } from './Migration20261125013600.js';
import { Migration20261125041159 } from './Migration20261125041159.js';

/** Every migration, in order. A list and not a folder scan, so that what runs is what was compiled with the rest. */
export const migrations = [
  Migration20261122100000,
  Migration20261122100001,
  Migration20261124100000,
  Migration20261124100001,
  Migration20261124110000,
  Migration20261124120000,
  Migration20261124140000,
  Migration20261124160000,
  Migration20261124170000,
  Migration20261125000000,
  Migration20261125002420,
  Migration20261125003227,
  Migration20261125004300,
  Migration20261125010000,
  Migration20261125013600,
  Migration20261125041159,
].map((migration) => ({ name: migration.name, class: migration }));
