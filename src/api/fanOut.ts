import { randomUUID } from 'node:crypto';
import { type DocumentNode, type ExecutionArgs, execute, getOperationAST, Kind, visit } from 'graphql';
import type { Context } from '../platform/context.js';
import type { Deps } from '../platform/deps.js';
import type { LiveGroup, LiveSource, LogSource, Render, StateSource, Subscriber } from '../platform/liveSource.js';
import { LogGroup } from '../platform/logGroup.js';
import { StateGroup } from '../platform/stateGroup.js';
import { createContext } from './graphql.js';
import { presentGraphQLError } from './graphqlErrors.js';

/** What a subscription is executed with; `query` is the text of the document. */
export interface SubscriptionArgs extends ExecutionArgs {
  readonly query: string;
  readonly contextValue: Context;
}

export interface FanOut {
  /** Lets a subscriber follow a source; returns the function that ends it. */
  follow(source: LiveSource, args: SubscriptionArgs, subscriber: Subscriber): () => void;
}

/**
 * Subscribers with the same document, variables, account and rights are one group: a result is executed and written as text
 * once for all of them. Where in the log each began (`after`) makes no difference to what an event looks like.
 */
export function createFanOut(deps: Deps): FanOut {
  const groups = new Map<string, LiveGroup<never>>();

  const groupOf = (source: LiveSource, args: SubscriptionArgs): LiveGroup<never> => {
    const key = groupKey(args);
    let group = groups.get(key);
    if (!group) {
      const render = renderer(deps, args);
      const onEmpty = (): void => void groups.delete(key);
      group =
        source.kind === 'log'
          ? new LogGroup(deps.feed, source, render, onEmpty)
          : (new StateGroup(source, render, deps.log, onEmpty) as LiveGroup<StateSource>);
      groups.set(key, group);
    }
    return group;
  };
  return {
    follow: (source, args, subscriber) =>
      (groupOf(source, args) as LiveGroup<LogSource | StateSource>).join(subscriber, source),
  };
}

/**
 * graphql-js would give all events of a subscription one context, so that they would share an identity map and loaders and read
 * old rows: each result gets its own.
 */
function renderer(deps: Deps, args: SubscriptionArgs): Render {
  const { schema, document, operationName, variableValues } = args;
  const { actor, cost } = args.contextValue;
  return async (rootValue) => {
    const requestId = randomUUID();
    const contextValue = createContext(deps, { actor, requestId, cost });
    const { errors, ...result } = await execute({
      schema,
      document,
      operationName,
      variableValues,
      rootValue,
      contextValue,
    });
    return JSON.stringify({
      ...(errors ? { errors: errors.map((error) => presentGraphQLError(error, { requestId, log: deps.log })) } : {}),
      ...result,
    });
  };
}

/** Equal for those who see the same. */
function groupKey({
  query,
  document,
  operationName,
  variableValues,
  contextValue: { actor },
}: SubscriptionArgs): string {
  const variables: Record<string, unknown> = { ...variableValues };
  const cursor = cursorVariable(document, operationName);
  if (cursor !== undefined) delete variables[cursor];
  return JSON.stringify([
    actor.accountId,
    actor.operator,
    [...actor.scopes].sort(),
    query,
    operationName ?? null,
    Object.entries(variables).sort(([a], [b]) => (a < b ? -1 : 1)),
  ]);
}

/** The variable that is the root field's `after` and nothing else. */
function cursorVariable(document: DocumentNode, operationName: string | null | undefined): string | undefined {
  const [root] = getOperationAST(document, operationName)?.selectionSet.selections ?? [];
  const after =
    root?.kind === Kind.FIELD ? root.arguments?.find(({ name }) => name.value === 'after')?.value : undefined;
  if (after?.kind !== Kind.VARIABLE) return undefined;
  let uses = 0;
  visit(document, { Variable: ({ name }) => void (name.value === after.name.value && uses++) });
  return uses === 2 ? after.name.value : undefined; // its definition, and this
}
