import { renderGraphiQL } from '@graphql-yoga/render-graphiql';

const defaultQuery = `# The token stands in Headers below; subscriptions use it as well.
{
  viewer {
    name
    subscription {
      status
      plan { name price { amount currency } }
      currentPeriod { start end }
    }
    wallet {
      balance { amount currency }
      autoRecharge { enabled }
    }
  }
  usage {
    items {
      metric { name unit }
      used limit percent
    }
  }
  invoices(first: 3) {
    nodes {
      number status
      total { amount currency }
      pdfUrl
    }
  }
}
`;

const renderCall = 'YogaGraphiQL.renderYogaGraphiQL(';

/**
 * The page's options are JSON, so it could open sockets with a fixed token only. This calls it with functions besides:
 * each new socket gets what stands in the headers editor then.
 */
const renderWithSocketHeaders = `
  const renderWithSocketHeaders = (root, options) => {
    let headers = options.headers;
    const parse = () => {
      try {
        return JSON.parse(headers || '{}');
      } catch {
        return {}; // half typed
      }
    };
    YogaGraphiQL.renderYogaGraphiQL(root, { ...options, connectionParams: parse, onEditHeaders: (text) => { headers = text; } });
  };
`;

/** One self-contained page, no request to anybody else. `token` pre-fills the Authorization header of the editor. */
export function renderGraphiqlPage(token: unknown): string {
  const known = typeof token === 'string' && /^[\w.-]{1,2000}$/.test(token) ? token : undefined;
  const page = renderGraphiQL({
    title: 'Semaswift Billing – GraphiQL',
    endpoint: '/graphql',
    subscriptionsProtocol: 'WS',
    defaultQuery,
    headers: JSON.stringify({ authorization: `Bearer ${known ?? 'YOUR_TOKEN'}` }, null, 2),
    shouldPersistHeaders: false,
  });
  const at = page.lastIndexOf(renderCall);
  return `${page.slice(0, at)}${renderWithSocketHeaders}renderWithSocketHeaders(${page.slice(at + renderCall.length)}`;
}
