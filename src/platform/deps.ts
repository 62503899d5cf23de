import type { PaymentProvider } from '../integrations/payments/provider.js';
import type { PubSub } from '../integrations/pubsub/pubsub.js';
import type { AccountLocks } from './accountLocks.js';
import type { Clock } from './clock.js';
import type { Db } from './db.js';
import type { DueWork } from './dueWork.js';
import type { EventFeed } from './eventFeed.js';
import type { Jobs } from './jobs.js';
import type { Logger } from './log.js';

/** Everything a use case can need; each takes its part: `topUp({ db, payments }: Pick<Deps, 'db' | 'payments'>, …)`. */
export interface Deps {
  readonly db: Db;
  readonly clock: Clock;
  readonly payments: PaymentProvider;
  readonly pubsub: PubSub;
  readonly feed: EventFeed;
  readonly jobs: Jobs;
  readonly dueWork: DueWork;
  readonly locks: AccountLocks;
  readonly log: Logger;
  /** Rules for webhook targets; see webhook/targetAddress. */
  readonly webhookPolicy: { readonly allowInsecure: boolean };
  /** May accounts without an operator's token get a test clock? Never true where payments move real money. */
  readonly testClocks: boolean;
  /** Who sends the invoices. */
  readonly seller: { readonly name: string; readonly lines: readonly string[] };
  /** Where callers reach this server, for links; known once it listens. */
  readonly publicUrl: () => string;
}
