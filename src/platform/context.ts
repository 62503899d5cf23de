import type { Actor } from './actor.js';
import type { BatchScope } from './batch.js';
import type { Deps } from './deps.js';

/** What a GraphQL resolver gets: a fresh one for each HTTP request and each event of a subscription. */
export interface Context {
  readonly deps: Deps;
  readonly actor: Actor;
  /** Reads and loaders of this request. Use cases open their own transactions. */
  readonly scope: BatchScope;
  readonly requestId: string;
  /** The static cost of the document, for `extensions.cost`. */
  readonly cost: number | undefined;
}
