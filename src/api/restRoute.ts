import type { EntityManager } from '@mikro-orm/postgresql';
import type { BillingError } from '../domain/errors.js';
import type { Actor, Scope } from '../platform/actor.js';
import type { Deps } from '../platform/deps.js';
import type { Body } from './parseRest.js';

/** A request as a route gets it: the caller is known and holds the route's scope. */
export interface Call {
  readonly deps: Deps;
  /** For the reads of this request; use cases open their own transactions. */
  readonly em: EntityManager;
  readonly actor: Actor;
  readonly accountId: string;
  /** `:id` of the path; empty where it has none. */
  readonly id: string;
  /** `:delivery` of the path. */
  readonly delivery: string;
  readonly query: unknown;
  readonly idempotencyKey: string | undefined;
}

export interface Answer {
  /** Default 200; 202 where the payment provider has not answered yet. */
  readonly status?: 201 | 202 | 204;
  /** An object is answered as JSON, bytes as they are. */
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
  /** What `after` has to be for the next page; it goes into a Link header. */
  readonly next?: string | undefined;
  readonly replayed?: boolean;
  /** What the use case made didn't take effect: answered as this problem, with `more` as its further members. */
  readonly failure?: { readonly error: BillingError; readonly more: object };
}

/** One row: method, path → parse → use case → present. */
export interface Route<Input = unknown> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Below the prefix; `:id` is the public id of what the path names, `:delivery` that of a delivery below it. */
  readonly path: string;
  /** Undefined: any valid token. */
  readonly scope: Scope | undefined;
  /** An operator's token needs to name no account. */
  readonly anyAccount?: boolean;
  /** Absent: a body is not looked at. */
  readonly body?: Body<Input>;
  /** Takes a list of objects as ndjson too, and a larger body. */
  readonly bulk?: boolean;
  handle(call: Call, input: Input): Promise<Answer>;
}

/** Ties the type of `body` to what `handle` gets. */
export const route = <Input = undefined>(row: Route<Input>): Route => row;

/**
 * The object as it is now, or the problem that kept the change from taking effect, with the object beside it. A payment
 * whose outcome isn't known yet is 202: an error would invite the caller to pay again.
 */
export function outcome(
  { error, replayed }: { error: BillingError | undefined; replayed: boolean },
  { name, body, status }: { name: string; body: object; status?: 201 },
): Answer {
  if (error?.code === 'UNAVAILABLE') return { status: 202, body, replayed };
  if (error) return { failure: { error, more: { [name]: body } }, replayed };
  return { body, replayed, ...(status ? { status } : {}) };
}
