import { p } from '@mikro-orm/core';

// The column types every entity uses, so that one decision stands in one place.

/** First column of every account-owned table and of its primary key: the shard key. */
export const accountKey = () => p.uuid().primary();
export const idKey = () => p.uuid().primary();
/** Milliseconds: a JS Date can't hold microseconds, and a cursor made from one would repeat rows. */
export const instant = () => p.datetime().length(3);
/** Minor units of a currency. */
export const minor = () => p.bigint();
/** Exact decimal, as a string in JavaScript. 20 + 12 digits, the range `parseDecimal` accepts. */
export const exact = () => p.decimal().precision(32).scale(12);
export const text = () => p.text();
