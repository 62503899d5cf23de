import { Arg, Ctx, Field, FieldResolver, ID, Int, ObjectType, Query, Resolver, Root, Subscription } from 'type-graphql';
import { invalid } from '../domain/errors.js';
import { eventTypes, isEventType } from '../domain/events.js';
import { requireScope } from './actor.js';
import type { BatchFunction } from './batch.js';
import { type Connection, connectionType, type Keyset, page } from './connection.js';
import type { Context } from './context.js';
import { eventsByIds, type LoggedEvent, readEvents, requireKept } from './eventLog.js';
import { NodeType } from './graphqlTypes.js';
import { publicId } from './ids.js';
import { logSource } from './liveSource.js';
import { DateTime, JSONScalar } from './scalars.js';

@ObjectType('BillingEvent', { implements: NodeType })
export class BillingEventType extends NodeType {
  @Field(() => String)
  type!: string;

  @Field(() => DateTime)
  occurredAt!: Date;

  @Field(() => JSONScalar)
  data!: unknown;
}

const BillingEventConnection = connectionType('BillingEvent', () => BillingEventType);

const sequencePattern = /^\d{1,18}$/;
/** The cursor of an event is its place in the log, so that `after` means the same in queries and subscriptions. */
const bySequence: Keyset<LoggedEvent> = {
  cursorOf: (event) => event.seq.toString(),
  isCursor: (text) => sequencePattern.test(text),
};

/** Parses a subscription's `after`: the cursor of the last event the caller has seen. */
export function sequenceAfter(after: string | null | undefined): bigint | undefined {
  if (after == null) return undefined;
  if (!sequencePattern.test(after))
    throw invalid(`'${after.slice(0, 60)}' is not the cursor of an event: expected its sequence, 1, 2, 3 …`, 'after');
  return BigInt(after);
}

function knownTypes(types: readonly string[] | null | undefined): readonly string[] | undefined {
  const unknown = types?.find((type) => !isEventType(type));
  if (unknown !== undefined)
    throw invalid(`'${unknown.slice(0, 60)}' is not an event type: expected one of ${eventTypes.join(', ')}`, 'types');
  return types ?? undefined;
}

@Resolver(() => BillingEventType)
export class EventResolver {
  @FieldResolver(() => ID)
  id(@Root() event: LoggedEvent): string {
    return publicId('event', event.id);
  }

  @FieldResolver(() => String, {
    description: "Position in the account's event log: 1, 2, 3 … without gaps; pass it as `after` to resume",
  })
  cursor(@Root() event: LoggedEvent): string {
    return event.seq.toString();
  }

  @Query(() => BillingEventConnection)
  async events(
    @Arg('first', () => Int, { nullable: true, defaultValue: 50 }) first: number | null,
    @Arg('after', () => String, { nullable: true }) after: string | undefined,
    @Arg('types', () => [String], { nullable: true }) types: string[] | undefined,
    @Ctx() { scope, actor }: Context,
  ): Promise<Connection<LoggedEvent>> {
    requireScope(actor, 'events:read');
    const wanted = knownTypes(types);
    const { accountId } = actor;
    if (after != null) await requireKept(scope.em, { accountId, after: sequenceAfter(after)! });
    return page<LoggedEvent>(
      { first, after },
      {
        ...bySequence,
        fetch: (limit, from) => readEvents(scope.em, { accountId, after: BigInt(from ?? 0), types: wanted, limit }),
      },
    );
  }

  @Subscription(() => BillingEventType, {
    description: 'Every event from `after` on, first those already logged, then live: no gap, no repeat',
    subscribe: ({ args, context: { actor } }: { args: { after?: string; types?: string[] }; context: Context }) => {
      requireScope(actor, 'events:read');
      const types = knownTypes(args.types);
      return logSource({
        accountId: actor.accountId,
        after: sequenceAfter(args.after),
        passes: (event) => types === undefined || types.includes(event.type),
      });
    },
  })
  billingEvents(
    @Arg('after', () => String, { nullable: true }) _after: string | undefined,
    @Arg('types', () => [String], { nullable: true }) _types: string[] | undefined,
    @Root() event: LoggedEvent,
  ): LoggedEvent {
    return event;
  }
}

export const loggedEventsByIds: BatchFunction<LoggedEvent> = async (em, accountId, ids) =>
  new Map((await eventsByIds(em, { accountId, ids })).map((event) => [event.id, event]));
