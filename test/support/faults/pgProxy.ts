import net from 'node:net';

/** A statement on its way to PostgreSQL. */
export interface Statement {
  readonly text: string;
  /** Does the server have a transaction open on this connection? */
  readonly inTransaction: boolean;
  /** Did this transaction, with this statement, have a text like this? */
  wrote(pattern: RegExp): boolean;
  /** Is this value among the parameters of the transaction so far? */
  mentions(value: string): boolean;
}

/**
 * What happens to a statement. `cut_before`: the connection ends and PostgreSQL never sees it. `cut_after`: PostgreSQL has done it, and
 * the connection ends before the answer. `hold_…`: the same moments, but nothing goes on until the client's end of the
 * connection is gone, or `until`. `fail`: PostgreSQL refuses it with this SQLSTATE, really, so that its transaction is aborted there.
 */
export type Verdict =
  | { kind: 'cut_before' | 'cut_after'; seen?: () => void }
  | { kind: 'hold_before' | 'hold_after'; seen?: () => void; until?: Promise<unknown> }
  | { kind: 'fail'; sqlState: string };

export type Rule = (statement: Statement) => Verdict | undefined;

export interface PgProxy {
  readonly port: number;
  /** Asked for every statement; `undefined` lets it pass. */
  rule: Rule | undefined;
  /** Connections now. */
  connections(): number;
  close(): Promise<void>;
}

/**
 * Stands between a process and PostgreSQL and understands as much of the wire protocol (version 3.0) as it takes to see statements and
 * to know when the server has answered one. Clients that pipeline, copy or encrypt are not understood; ours do none of it.
 */
export async function startPgProxy(upstreamPort: number): Promise<PgProxy> {
  const open = new Set<net.Socket>();
  const proxy: PgProxy = {
    port: 0,
    rule: undefined,
    connections: () => open.size,
    close: async () => {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  const server = net.createServer((client) => {
    open.add(client);
    client.on('close', () => open.delete(client));
    relayConnection(client, upstreamPort, (statement) => proxy.rule?.(statement));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(proxy, { port: (server.address() as net.AddressInfo).port });
}

function relayConnection(client: net.Socket, upstreamPort: number, judge: Rule): void {
  const server = net.connect(upstreamPort, '127.0.0.1');
  client.setNoDelay(true);
  server.setNoDelay(true);
  const gone = Promise.withResolvers<void>();
  const end = (): void => {
    client.destroy();
    server.destroy();
    gone.resolve();
  };
  for (const socket of [client, server]) socket.on('error', end).on('close', end);

  let inTransaction = false;
  let muted = false;
  let answered = Promise.withResolvers<void>();
  server.on('data', (bytes) => {
    if (!muted) client.write(bytes);
  });
  server.on(
    'data',
    framesOf({ hasStartup: false }, ({ type, body }) => {
      if (type !== 'Z') return;
      inTransaction = body[0] !== 'I'.charCodeAt(0);
      answered.resolve();
    }),
  );

  let texts: string[] = [];
  let parameters: Buffer[] = [];
  let last: Promise<void> = Promise.resolve();
  let unit: Frame[] = [];
  const pass = async (frames: readonly Frame[]): Promise<void> => {
    if (!inTransaction) [texts, parameters] = [[], []];
    for (const { type, body } of frames) {
      if (type === 'Q') texts.push(textAt(body, 0));
      if (type === 'P') texts.push(textAt(body, body.indexOf(0) + 1));
      if (type === 'B') parameters.push(body);
    }
    const verdict = judge({
      text: texts.at(-1) ?? '',
      inTransaction,
      wrote: (pattern) => texts.some((text) => pattern.test(text)),
      mentions: (value) => parameters.some((bytes) => bytes.includes(value)),
    });
    const whole = Buffer.concat(frames.map(({ bytes }) => bytes));
    answered = Promise.withResolvers();
    switch (verdict?.kind) {
      case 'fail':
        server.write(
          queryMessage(`do $$ begin raise exception 'injected' using errcode = '${verdict.sqlState}'; end $$`),
        );
        break;
      case 'cut_before':
        verdict.seen?.();
        return end();
      case 'cut_after':
        muted = true;
        server.write(whole);
        await Promise.race([answered.promise, gone.promise]);
        verdict.seen?.();
        return end();
      case 'hold_before':
        verdict.seen?.();
        await Promise.race([verdict.until ?? gone.promise, gone.promise]);
        if (server.destroyed) return;
        server.write(whole);
        break;
      case 'hold_after':
        muted = true;
        server.write(whole);
        await Promise.race([answered.promise, gone.promise]);
        verdict.seen?.();
        await gone.promise;
        return;
      default:
        server.write(whole);
    }
    await Promise.race([answered.promise, gone.promise]);
  };
  client.on(
    'data',
    framesOf({ hasStartup: true }, (frame) => {
      if (!isPartOfStatement(frame.type)) return void server.write(frame.bytes);
      unit.push(frame);
      if (frame.type !== 'Q' && frame.type !== 'S') return;
      const frames = unit;
      unit = [];
      last = last.then(() => pass(frames));
    }),
  );
}

interface Frame {
  /** Empty for the start-up message, which has no type. */
  type: string;
  body: Buffer;
  bytes: Buffer;
}

const isPartOfStatement = (type: string): boolean => 'QPBDEHCS'.includes(type) && type !== '';

/** Cuts a stream into the protocol's messages: a type, a length that counts itself, a body. */
function framesOf({ hasStartup }: { hasStartup: boolean }, take: (frame: Frame) => void): (bytes: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  let isStartup = hasStartup;
  return (bytes) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    for (;;) {
      const head = isStartup ? 0 : 1;
      if (rest.length < head + 4) return;
      const end = head + rest.readInt32BE(head);
      if (rest.length < end) return;
      const frame = rest.subarray(0, end);
      rest = rest.subarray(end);
      take({ type: isStartup ? '' : String.fromCharCode(frame[0]!), body: frame.subarray(head + 4), bytes: frame });
      isStartup = false;
    }
  };
}

const textAt = (body: Buffer, from: number): string => body.subarray(from, body.indexOf(0, from)).toString();

function queryMessage(text: string): Buffer {
  const body = Buffer.from(`${text}\0`);
  const head = Buffer.alloc(5);
  head.write('Q');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}
