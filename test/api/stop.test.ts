import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from '../../src/api/server.js';
import { startWorld, until, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ worker: false });
});
afterAll(() => world.stop());

test('a request under way is answered, and the connection its client keeps alive does not hold up the stop', async () => {
  const server = await createServer(world.deps, { introspection: false, graphiql: false });
  const { promise: ready, resolve: answer } = Promise.withResolvers<void>();
  server.app.get('/slow', async () => ready.then(() => ({ status: 'done' })));
  await server.app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = server.app.server.address() as AddressInfo;
  const arrived = once(server.app.server, 'request');
  const request = fetch(`http://127.0.0.1:${port}/slow`);
  await arrived;
  const closed = server.close();
  await until(() => !server.app.server.listening, 'the stop');
  answer();
  expect(await (await request).json()).toEqual({ status: 'done' });
  await closed;
}, 8_000);
