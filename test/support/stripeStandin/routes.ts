import type { Books } from './books.js';
import { invalid, missing, pageOf, type Wire } from './wire.js';

type Handle = (books: Books, id: string, input: Wire) => Wire;

/** The part of Stripe's API v1 that billing uses: method, path (`*` is an id) → what it does. */
const routes: readonly (readonly [string, string, Handle])[] = [
  ['POST', '/v1/customers', (books, _id, body) => books.createCustomer(body)],
  [
    'POST',
    '/v1/customers/*',
    (books, id, body) => Object.assign(books.find(books.customers, 'customer', id), { name: body.name ?? null }),
  ],
  ['POST', '/v1/payment_methods', (books, _id, body) => books.createMethod(body)],
  ['GET', '/v1/payment_methods/*', (books, id) => books.find(books.methods, 'PaymentMethod', id)],
  ['POST', '/v1/payment_methods/*/detach', (books, id) => books.detach(id)],
  ['POST', '/v1/setup_intents', (books, _id, body) => books.createSetup(body)],
  ['GET', '/v1/setup_intents/*', (books, id) => books.find(books.setups, 'setupintent', id)],
  ['POST', '/v1/payment_intents', (books, _id, body) => books.createIntent(body)],
  [
    'GET',
    '/v1/payment_intents',
    (books, _id, query) =>
      pageOf(
        '/v1/payment_intents',
        [...books.intents.values()].filter((intent) => !query.customer || intent.customer === query.customer),
        query,
      ),
  ],
  ['GET', '/v1/payment_intents/search', (books, _id, query) => search(books, query)],
  ['GET', '/v1/payment_intents/*', (books, id) => books.find(books.intents, 'payment_intent', id, 'intent')],
  ['POST', '/v1/payment_intents/*/cancel', (books, id) => books.cancelIntent(id)],
  ['POST', '/v1/refunds', (books, _id, body) => books.createRefund(body)],
  [
    'GET',
    '/v1/refunds',
    (books, _id, query) =>
      pageOf(
        '/v1/refunds',
        [...books.refunds.values()].filter((of) => !query.payment_intent || of.payment_intent === query.payment_intent),
        query,
      ),
  ],
  ['GET', '/v1/refunds/*', (books, id) => books.find(books.refunds, 'refund', id)],
  ['GET', '/v1/disputes/*', (books, id) => books.find(books.disputes, 'dispute', id)],
  [
    'GET',
    '/v1/events',
    (books, _id, query) =>
      pageOf(
        '/v1/events',
        books.events.filter((event) => !query.types || query.types.includes(event.type)),
        query,
      ),
  ],
];

export function resolveRoute(method: string, path: string): { handle: Handle; id: string } | undefined {
  for (const [of, pattern, handle] of routes) {
    const match = of === method && new RegExp(`^${pattern.replace('*', '([^/]+)')}$`).exec(path);
    if (match) return { handle, id: match[1] ?? '' };
  }
  return undefined;
}

function search(books: Books, query: Wire): Wire {
  const match = /^metadata\['(\w+)'\]:'([\w-]*)'$/.exec(query.query ?? '');
  if (!match) throw invalid("Only metadata['key']:'value' is understood here", { param: 'query' });
  const [, key, value] = match;
  if (key === undefined) throw missing('field', key);
  const data = [...books.intents.values()].filter((intent) => intent.metadata[key] === value);
  return { object: 'search_result', url: '/v1/payment_intents/search', has_more: false, next_page: null, data };
}
