import { descriptionOf } from '../../src/api/openapi.js';
import { restRoutes } from '../../src/api/rest.js';
import { parseExact } from '../../src/platform/exactJson.js';

const routeOf = ({ method, path }: { method: string; path: string }) =>
  restRoutes.find(
    (row) =>
      row.method === method && new RegExp(`^${row.path.replaceAll(/:\w+/g, '[^/]+')}$`).test(path.split('?', 1)[0]!),
  );

/** Throws unless a success of the REST API is what its OpenAPI document says: no member more, none less. */
export function expectDescribed(
  request: { method: string; path: string },
  { status, text }: { status: number; text: string },
): void {
  const row = routeOf(request);
  if (status >= 300 || !row) return;
  const description = descriptionOf(row);
  const expected = [description.status ?? 200, ...(description.unsettled ? [202] : [])];
  const said = `${row.method} ${row.path} answered ${status}`;
  if (!expected.includes(status)) throw new Error(`${said}, its description says ${expected.join(' or ')}`);
  if (description.answer === 'pdf') return;
  if (!description.answer) {
    if (text !== '') throw new Error(`${said} with a body, its description has none`);
    return;
  }
  const { error } = description.answer.safeParse(parseExact(text));
  const [issue] = error?.issues ?? [];
  if (issue) throw new Error(`${said} unlike its description: ${issue.path.join('.')}: ${issue.message}`);
}
