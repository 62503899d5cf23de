import pg from 'pg';
import { differencesFromCatalogue, eventCatalogue } from '../../src/domain/eventCatalogue.js';
import type { EventType } from '../../src/domain/events.js';
import { parseExact } from '../../src/platform/exactJson.js';

/** What tests of the log itself emit by hand has nothing of what the type would have. */
const isMadeUp = (type: EventType, data: object): boolean =>
  Object.keys(data).every((key) => !(key in eventCatalogue[type].data.shape));

/** Where events in the log of this database, of whatever account, are not as the catalogue says. Each difference once. */
export async function eventsUnlikeCatalogue(databaseUrl: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ type: EventType; data: string }>('select type, data::text from event');
    const found = new Set<string>();
    for (const { type, data: json } of rows) {
      const data = parseExact(json) as object;
      if (isMadeUp(type, data)) continue;
      for (const difference of differencesFromCatalogue({ type, data })) found.add(difference);
    }
    return [...found];
  } finally {
    await client.end();
  }
}
