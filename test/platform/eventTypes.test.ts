import { eventTypes } from '../../src/domain/events.js';
import { type Loose, startWorld, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ worker: false });
});
afterAll(() => world.stop());

const query = '{ eventTypes { type description resource example schema } }';

test('any token reads the whole catalogue, nobody without one', async () => {
  const { token } = await world.account({ scopes: ['usage:write'] });
  const { data, errors } = await world.gql(token, query);
  expect(errors).toBeUndefined();
  expect(data.eventTypes.map(({ type }: Loose) => type)).toEqual([...eventTypes]);
  expect(data.eventTypes[3]).toMatchObject({
    type: 'invoice.paid',
    description: 'Nothing is due of an invoice any more: a card, the wallet or credit paid it',
    resource: 'invoice',
    example: { type: 'invoice.paid', data: { status: 'paid', sequence: 42 } },
    schema: { type: 'object', properties: { status: { enum: expect.arrayContaining(['paid']) } } },
  });
  expect((await world.gql(undefined, query)).errors).toHaveLength(1);
});

test('amounts of an example keep their digits on the way', async () => {
  const { token } = await world.account();
  const answer = await fetch(`${world.url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify({ query: '{ eventTypes { example } }' }),
  });
  expect(await answer.text()).toContain('"balance":250.00,"currency":"USD"');
});
