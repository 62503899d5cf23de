import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

/** What is used here of jest's own parts. */
interface Environment {
  global: Record<string, unknown>;
}
interface Runtime {
  unstable_shouldLoadAsEsm(path: string): boolean;
  unstable_importModule(path: string): Promise<unknown>;
  requireInternalModule(path: string): unknown;
}
type Circus = (
  globalConfig: unknown,
  config: unknown,
  environment: Environment,
  runtime: Runtime,
  testPath: string,
  sendMessageToJest?: unknown,
) => Promise<unknown>;

const require = createRequire(import.meta.url);
const { default: circus } = require('jest-circus/runner') as { default: Circus };
const globals = 'test it describe expect beforeAll beforeEach afterAll afterEach console'.split(' ');

/**
 * Runs a test file with jest-circus, but lets Node itself import it. In jest's sandbox every file loads the application and
 * all it depends on anew, a second or two each, and runs all of it cold; this way a worker loads them once, and its later
 * files run what is warm. So modules keep their state from file to file: the product's have none to keep, every file has
 * a database and an application of its own (see `startWorld`), and what a test changes beyond those it puts back.
 */
const run: Circus = async (globalConfig, config, environment, runtime, testPath, sendMessageToJest) => {
  const { console } = globalThis;
  runtime.unstable_shouldLoadAsEsm = () => true;
  runtime.unstable_importModule = (file) => {
    for (const name of globals) Object.assign(globalThis, { [name]: environment.global[name] });
    return import(pathToFileURL(file).href);
  };
  // The state of circus is that of one file.
  runtime.requireInternalModule = (file) => {
    delete require.cache[file];
    return require(file);
  };
  try {
    return await circus(globalConfig, config, environment, runtime, testPath, sendMessageToJest);
  } finally {
    globalThis.console = console;
  }
};

export default run;
