import { promises as dns, type LookupAddress } from 'node:dns';
import { isIP, isIPv4, isIPv6 } from 'node:net';
import ipaddr from 'ipaddr.js';
import { invalid } from '../domain/errors.js';

/** Where webhooks may go. `allowInsecure` is for development: it adds http and loopback, but no private range. */
export interface TargetPolicy {
  allowInsecure: boolean;
}

/** All addresses of a name, as `dns.promises.lookup` gives them; rejects when the name does not resolve. */
export type AddressLookup = (hostname: string, options: { all: true }) => Promise<LookupAddress[]>;

const MAX_URL_LENGTH = 2_000;
const LOOKUP_TIMEOUT_MS = 3_000;

/** IANA has handed out global unicast addresses from this block only; whatever lies outside is reserved or local. */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3');
/** RFC 6052: behind NAT64 this is how a public IPv4 host looks, so it is as public as the address inside. */
const nat64 = ipaddr.IPv6.parseCIDR('64:ff9b::/96');
/** Azure's wire server hands out a machine's configuration from an address that no registry marks as special. */
const azureWireServer = '168.63.129.16';

/**
 * Does the address belong to a host anyone on the internet can reach? The ranges are those of IANA's special-purpose
 * registries (RFC 6890), read from ipaddr.js. What embeds an IPv4 address counts as that address where a host may
 * really be reached by it (mapped, NAT64) and is refused where it is deprecated or local to a site (compatible,
 * 6to4, Teredo, 64:ff9b:1::/48, whose prefix length only the site knows).
 */
export function isPublicAddress(address: string): boolean {
  const parsed = parseAddress(address);
  if (!parsed) return false;
  if (parsed instanceof ipaddr.IPv4) return isPublicIPv4(parsed);
  if (parsed.match(nat64)) return isPublicIPv4(new ipaddr.IPv4(parsed.toByteArray().slice(12)));
  return parsed.match(globalUnicast) && parsed.range() === 'unicast';
}

/** May a webhook connect to this very address? */
export function isAllowedAddress(address: string, policy: TargetPolicy): boolean {
  return isPublicAddress(address) || (policy.allowInsecure && parseAddress(address)?.range() === 'loopback');
}

/**
 * The URL of an endpoint, normalised by the WHATWG rules, which turn every spelling of an IPv4 host (decimal, octal,
 * hex, short) into four octets. Throws INVALID at `url`. The addresses of a name are for `checkTarget` to judge.
 */
export function parseTarget(url: string, policy: TargetPolicy): URL {
  const expected = policy.allowInsecure ? 'an absolute https or http URL' : 'an absolute https URL';
  const found = `'${url.slice(0, 80)}'`;
  const target = url.length <= MAX_URL_LENGTH ? URL.parse(url) : null;
  // Percent-encoding can triple the length, and it is the normalised form that is stored and sent to.
  if (url.length > MAX_URL_LENGTH || (target?.href.length ?? 0) > MAX_URL_LENGTH) {
    throw invalid(`The URL is longer than expected: at most ${MAX_URL_LENGTH} characters, written out in full`, 'url');
  }
  if (!target) throw invalid(`Expected ${expected}, found ${found}`, 'url');
  if (target.protocol !== 'https:' && !(policy.allowInsecure && target.protocol === 'http:')) {
    throw invalid(`Expected ${expected}, found the scheme '${target.protocol.slice(0, 80)}'`, 'url');
  }
  if (target.username !== '' || target.password !== '') {
    throw invalid('Expected a URL without user name and password: deliveries are authenticated by signature', 'url');
  }
  if (target.href.includes('#')) throw invalid(`Expected a URL without a fragment ('#…'), found ${found}`, 'url');

  const host = bareHost(target);
  if (isIP(host) !== 0 && !isAllowedAddress(host, policy)) {
    throw invalid(`Expected the address of a public host, found ${host}`, 'url');
  }
  if (isLocalName(host, policy)) {
    throw invalid(`Expected the name of a public host, found '${host.slice(0, 80)}', which is a local name`, 'url');
  }
  return target;
}

/**
 * Resolves the target's name, within 3 s, and throws INVALID at `url` unless it has addresses and all are allowed.
 * This only tells the owner early: a name may point elsewhere a second later, so delivery checks again at connect.
 */
export async function checkTarget(url: URL, policy: TargetPolicy, lookup: AddressLookup = dns.lookup): Promise<void> {
  const host = bareHost(url);
  const addresses = await lookupInTime(host, lookup);
  if (addresses.length === 0) {
    throw invalid(`Expected a host name that resolves, found '${host.slice(0, 80)}', which does not`, 'url');
  }
  if (!addresses.every(({ address }) => isAllowedAddress(address, policy))) {
    // The address itself stays unsaid: it may come from a name server that only answers inside our network.
    throw invalid(
      `Expected a public host, found '${host.slice(0, 80)}', which has an address that is not public`,
      'url',
    );
  }
}

/** The addresses of a name; none when it does not resolve in time. A system lookup can't be stopped, only left. */
async function lookupInTime(host: string, lookup: AddressLookup): Promise<LookupAddress[]> {
  const late = Promise.withResolvers<LookupAddress[]>();
  const timer = setTimeout(() => late.resolve([]), LOOKUP_TIMEOUT_MS);
  const found = lookup(host, { all: true }).catch(() => []);
  return Promise.race([found, late.promise]).finally(() => clearTimeout(timer));
}

/**
 * An IPv4-mapped address comes back as the IPv4 address that the system connects to. Only the spelling that sockets
 * take is an address here; octal and short forms, which each library reads in its own way, are none.
 */
function parseAddress(address: string): ipaddr.IPv4 | ipaddr.IPv6 | undefined {
  if (isIPv4(address)) return ipaddr.IPv4.parse(address);
  // ipaddr.js takes '::1.2.3.4' for '::ffff:1.2.3.4'; URL spells it in hex. URL also knows no zones ('fe80::1%eth0'):
  // they name an interface of this machine, which no public address has.
  const inHex = isIPv6(address) ? URL.parse(`https://[${address}]`)?.hostname.slice(1, -1) : undefined;
  return inHex === undefined ? undefined : ipaddr.process(inHex);
}

function isPublicIPv4(address: ipaddr.IPv4): boolean {
  return address.range() === 'unicast' && address.toString() !== azureWireServer;
}

/** RFC 6761 (localhost), RFC 6762 (local) and ICANN's reservation of `internal`. */
function isLocalName(host: string, policy: TargetPolicy): boolean {
  const name = host.endsWith('.') ? host.slice(0, -1) : host;
  if (name === 'localhost') return !policy.allowInsecure;
  return ['localhost', 'local', 'internal'].includes(name.slice(name.lastIndexOf('.') + 1));
}

/** The host as a resolver or socket wants it: an IPv6 address without its brackets. */
function bareHost(url: URL): string {
  return url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname;
}
