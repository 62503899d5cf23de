import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import path from 'node:path';

const compiled = path.resolve(import.meta.dirname, '..', '..', 'src');

export interface Program {
  readonly process: ChildProcess;
  /** Everything printed so far. */
  stdout(): string;
  stderr(): string;
  /** Waits for a text on stdout (at most 40 s, unless said) and returns the match. */
  printed(pattern: RegExp, withinMs?: number): Promise<RegExpExecArray>;
  /** Sends a signal and waits for the end; returns the exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/** Runs a compiled entry of the product (`main.js`, `cli.js`) as a process of its own, as a user would. */
export function startProgram(
  entry: string,
  args: readonly string[],
  env: Record<string, string>,
  { cwd }: { cwd?: string } = {},
): Program {
  const child = spawn(process.execPath, [path.join(compiled, entry), ...args], {
    env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd !== undefined && { cwd }),
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = once(child, 'exit');
  return {
    process: child,
    stdout: () => stdout,
    stderr: () => stderr,
    printed: async (pattern, withinMs = 40_000) => {
      const deadline = Date.now() + withinMs;
      for (;;) {
        const match = pattern.exec(stdout);
        if (match) return match;
        if (child.exitCode !== null || Date.now() > deadline) {
          throw new Error(
            `${entry} ${args.join(' ')} did not print ${pattern} (exit code ${child.exitCode}):\n${stdout}\n${stderr}`,
          );
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    stop: async (signal = 'SIGTERM') => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill(signal);
        await ended;
      }
      return child.exitCode;
    },
  };
}

/** Runs a command to its end; throws with its output unless it exits with 0. */
export async function runProgram(entry: string, args: readonly string[], env: Record<string, string>): Promise<string> {
  const program = startProgram(entry, args, env);
  const [code] = (await once(program.process, 'close')) as [number | null];
  if (code !== 0)
    throw new Error(`${entry} ${args.join(' ')} ended with ${code}:\n${program.stdout()}\n${program.stderr()}`);
  return program.stdout();
}

/** A port that nobody listens on. */
export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
