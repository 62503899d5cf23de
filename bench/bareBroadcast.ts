// The least a server can do for many sockets: one text, sent to each. The rival of bench/sockets, which starts it; a text that
// comes from there goes to everybody at once.
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';

const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
server.on('listening', () => process.send?.({ port: (server.address() as AddressInfo).port }));
process.on('message', ({ texts }: { texts: readonly string[] }) => {
  for (const text of texts) for (const client of server.clients) client.send(text);
});
process.on('disconnect', () => process.exit(0));
