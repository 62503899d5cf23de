import type { LookupAddress } from 'node:dns';
import fc from 'fast-check';
import { BillingError } from '../../src/domain/errors.js';
import { checkTarget, isAllowedAddress, isPublicAddress, parseTarget } from '../../src/webhook/targetAddress.js';

const strict = { allowInsecure: false };
const development = { allowInsecure: true };

/** The edges of every range, and their neighbours on the other side. */
const refusedAddresses = {
  unspecified: ['0.0.0.0', '0.255.255.255', '::'],
  private: ['10.0.0.0', '10.255.255.255', '172.16.0.0', '172.31.255.255', '192.168.0.0', '192.168.255.255'],
  CGNAT: ['100.64.0.0', '100.127.255.255', '100.100.100.200'],
  loopback: ['127.0.0.0', '127.0.0.1', '127.255.255.255', '::1'],
  'link-local': ['169.254.0.0', '169.254.169.254', '169.254.255.255', 'fe80::1', 'febf::1', 'fe80::1%eth0'],
  documentation: ['192.0.2.0', '192.0.2.255', '198.51.100.1', '203.0.113.255', '2001:db8::1', '3fff::1'],
  benchmarking: ['198.18.0.0', '198.19.255.255', '2001:2::1'],
  multicast: ['224.0.0.0', '239.255.255.255', 'ff00::', 'ff02::1', 'ff0e::1'],
  reserved: [
    '192.0.0.0',
    '192.0.0.192',
    '192.88.99.1',
    '240.0.0.0',
    '255.255.255.254',
    '5f00::1',
    '4000::1',
    '1000::1',
  ],
  broadcast: ['255.255.255.255'],
  'unique local': ['fc00::', 'fd00:ec2::254', 'fdff:ffff::1'],
  'site-local': ['fec0::1'],
  discard: ['100::1'],
  '6to4': ['2002:7f00:1::', '2002:808:808::1'],
  Teredo: ['2001::1', '2001:0:53aa:64c:0:0:80ff:fffe'],
  'IPv4-mapped': ['::ffff:127.0.0.1', '::ffff:7f00:1', '::ffff:10.0.0.1', '::FFFF:169.254.169.254', '::ffff:0.0.0.0'],
  'IPv4-compatible': ['::127.0.0.1', '::10.0.0.1', '::8.8.8.8'],
  'IPv4-translated': ['::ffff:0:127.0.0.1', '::ffff:0:8.8.8.8'],
  NAT64: ['64:ff9b::127.0.0.1', '64:ff9b::7f00:1', '64:ff9b::10.0.0.1', '64:ff9b::a9fe:a9fe'],
  'local NAT64': ['64:ff9b:1::1', '64:ff9b:1::8.8.8.8', '64:ff9b:1:ffff:ffff:ffff:ffff:ffff'],
  'wire server': ['168.63.129.16', '::ffff:168.63.129.16', '64:ff9b::168.63.129.16'],
  'no address': ['', 'localhost', '2130706433', '0x7f000001', '0177.0.0.1', '8.8.8', '8.8.8.8.', '[::1]', '134744072'],
  'global, but with a zone': ['2606:4700:4700::1111%eth0', '2606:4700:4700::1111%eth-0'],
};
const publicAddresses = [
  ...['1.0.0.0', '8.8.8.8', '9.255.255.255', '11.0.0.0', '100.63.255.255', '100.128.0.0', '126.255.255.255'],
  ...['128.0.0.0', '169.253.255.255', '169.255.0.0', '172.15.255.255', '172.32.0.0', '192.0.1.0', '192.0.3.0'],
  ...['192.167.255.255', '192.169.0.0', '198.17.255.255', '198.20.0.0', '223.255.255.255', '168.63.129.17'],
  ...[
    '2606:4700:4700::1111',
    '2a00:1450:4001::200e',
    '2001:4860:4860::8888',
    '2400::1',
    '::ffff:8.8.8.8',
    '64:ff9b::8.8.8.8',
  ],
];

describe('an address', () => {
  const rows = Object.entries(refusedAddresses).flatMap(([range, list]) =>
    list.map((address) => [range, address] as const),
  );

  test.each(rows)('%s: %s is not public', (_range, address) => {
    expect(isPublicAddress(address)).toBe(false);
  });

  test.each(publicAddresses)('%s is public', (address) => {
    expect(isPublicAddress(address)).toBe(true);
    expect(isAllowedAddress(address, strict)).toBe(true);
  });

  test('in another dress is as public as the IPv4 address inside', () => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        expect(isPublicAddress(`::ffff:${address}`)).toBe(isPublicAddress(address));
        expect(isPublicAddress(`64:ff9b::${address}`)).toBe(isPublicAddress(address));
        expect(isPublicAddress(`::${address}`)).toBe(false);
      }),
    );
  });

  test('of the loopback is what development adds, and nothing else', () => {
    const added = rows.map(([, address]) => address).filter((address) => isAllowedAddress(address, development));
    expect(added).toEqual(['127.0.0.0', '127.0.0.1', '127.255.255.255', '::1', '::ffff:127.0.0.1', '::ffff:7f00:1']);
    expect(rows.filter(([, address]) => isAllowedAddress(address, strict))).toEqual([]);
  });
});

describe('a URL', () => {
  test.each([
    ['not a URL', 'example.com/hook', /absolute https URL, found 'example.com\/hook'/],
    ['relative', '/hook', /absolute https URL/],
    ['empty', '', /absolute https URL/],
    ['http', 'http://example.com/', /absolute https URL, found the scheme 'http:'/],
    ['another scheme', 'ftp://example.com/', /scheme 'ftp:'/],
    ['a file', 'file:///etc/passwd', /scheme 'file:'/],
    ['with a user', 'https://user@example.com/', /without user name and password/],
    ['with a password', 'https://:secret@example.com/', /without user name and password/],
    ['with a fragment', 'https://example.com/#part', /without a fragment/],
    ['with an empty fragment', 'https://example.com/#', /without a fragment/],
    ['too long', `https://example.com/${'a'.repeat(1_981)}`, /at most 2000 characters/],
    ['too long once encoded', `https://example.com/${'é'.repeat(400)}`, /at most 2000 characters/],
    ['with an unknown port', 'https://example.com:65536/', /absolute https URL/],
    ['loopback', 'https://127.0.0.1/', /public host, found 127\.0\.0\.1/],
    ['loopback with a final dot', 'https://127.0.0.1./', /public host, found 127\.0\.0\.1/],
    ['decimal', 'https://2130706433/', /found 127\.0\.0\.1/],
    ['octal', 'https://0177.0.0.1/', /found 127\.0\.0\.1/],
    ['hex', 'https://0x7f000001/', /found 127\.0\.0\.1/],
    ['hex octets', 'https://0x7f.0x0.0x0.0x1/', /found 127\.0\.0\.1/],
    ['short', 'https://127.1/', /found 127\.0\.0\.1/],
    ['zero', 'https://0/', /found 0\.0\.0\.0/],
    ['percent-encoded', 'https://%31%32%37.0.0.1/', /found 127\.0\.0\.1/],
    ['full-width digits', 'https://１２７.0.0.1/', /found 127\.0\.0\.1/],
    ['IPv6 loopback', 'https://[::1]/', /found ::1/],
    ['mapped', 'https://[::ffff:127.0.0.1]/', /found ::ffff:7f00:1/],
    ['NAT64', 'https://[64:ff9b::7f00:1]/', /found 64:ff9b::7f00:1/],
    ['metadata', 'https://169.254.169.254/latest', /found 169\.254\.169\.254/],
    ['localhost', 'https://localhost/', /local name/],
    ['LOCALHOST.', 'https://LOCALHOST./', /local name/],
    ['below localhost', 'https://a.localhost/', /local name/],
    ['below local', 'https://printer.local/', /local name/],
    ['below internal', 'https://metadata.google.internal./', /local name/],
  ])('%s is refused, and the message says what was expected', (_what, url, message) => {
    const error = catchError(() => parseTarget(url, strict));
    expect(error).toMatchObject({
      code: 'INVALID',
      details: { field: ['url'] },
      message: expect.stringMatching(message),
    });
    expect(error?.message).toMatch(/expected/i);
  });

  test.each([
    ['https://example.com', 'https://example.com/'],
    ['HTTPS://EXAMPLE.com:8443/hook?a=1', 'https://example.com:8443/hook?a=1'],
    ['https://134744072/', 'https://8.8.8.8/'],
    ['https://[2606:4700:4700::1111]/', 'https://[2606:4700:4700::1111]/'],
    ['https://xn--bcher-kva.example/', 'https://xn--bcher-kva.example/'],
    ['https://localhost.example.com/', 'https://localhost.example.com/'],
    ['https://internal.example.com/', 'https://internal.example.com/'],
    [`https://example.com/${'a'.repeat(1_980)}`, `https://example.com/${'a'.repeat(1_980)}`],
  ])('%s is a target', (url, href) => {
    expect(parseTarget(url, strict).href).toBe(href);
  });

  test.each([
    'http://example.com/',
    'http://127.0.0.1:3000/',
    'http://[::1]:3000/',
    'http://localhost:3000/hook',
  ])('%s is a target in development only', (url) => {
    expect(parseTarget(url, development).href).toBe(url);
    expect(catchError(() => parseTarget(url, strict))?.code).toBe('INVALID');
  });

  test.each([
    'http://10.0.0.1/',
    'http://0.0.0.0/',
    'http://a.localhost/',
    'http://printer.local/',
    'ftp://localhost/',
  ])('%s is refused in development too', (url) => {
    expect(catchError(() => parseTarget(url, development))?.code).toBe('INVALID');
  });
});

describe('a name', () => {
  const target = new URL('https://hooks.example.com/');
  const answering =
    (...addresses: string[]) =>
    async (): Promise<LookupAddress[]> =>
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));

  test('with public addresses only is accepted', async () => {
    await expect(checkTarget(target, strict, answering('8.8.8.8', '2606:4700::1'))).resolves.toBeUndefined();
  });

  test.each([
    ['127.0.0.1'],
    ['8.8.8.8', '10.0.0.1'],
    ['2606:4700::1', 'fd00::1'],
    ['::ffff:127.0.0.1'],
  ])('that resolves to %s %s is refused, without telling the address', async (...addresses) => {
    const error = await checkTarget(target, strict, answering(...addresses)).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'INVALID', details: { field: ['url'] } });
    expect((error as Error).message).toMatch(/hooks\.example\.com.*not public/);
    for (const address of addresses) expect((error as Error).message).not.toContain(address);
  });

  test('that does not resolve is refused', async () => {
    const unknown = async () => Promise.reject(Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' }));
    const refusal = { code: 'INVALID', details: { field: ['url'] }, message: expect.stringContaining('resolves') };
    await expect(checkTarget(target, strict, unknown)).rejects.toMatchObject(refusal);
    await expect(checkTarget(target, strict, answering())).rejects.toMatchObject(refusal);
  });

  test('whose server never answers is refused within 3 s', async () => {
    const startedAt = performance.now();
    await expect(checkTarget(target, strict, () => new Promise(() => {}))).rejects.toMatchObject({ code: 'INVALID' });
    expect(performance.now() - startedAt).toBeLessThan(3_500);
  });

  test('of this machine resolves by the system, and is for development only', async () => {
    const local = new URL('http://localhost:3000/');
    await expect(checkTarget(local, development)).resolves.toBeUndefined();
    await expect(checkTarget(local, strict)).rejects.toMatchObject({ code: 'INVALID' });
    await expect(checkTarget(new URL('http://[::1]:3000/'), development)).resolves.toBeUndefined();
  });
});

function catchError(run: () => unknown): BillingError | undefined {
  try {
    run();
  } catch (error) {
    if (error instanceof BillingError) return error;
    throw error;
  }
  return undefined;
}
