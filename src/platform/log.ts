import { type Logger, pino } from 'pino';

export type { Logger };

/** Structured log on stdout. Whatever could hold a secret is cut by name, at any of the depths we log. */
export function createLogger(level: string): Logger {
  return pino({
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: {
      paths: [
        'authorization',
        'token',
        'secret',
        'password',
        '*.authorization',
        '*.token',
        '*.secret',
        '*.password',
        'req.headers',
      ],
      censor: '[cut]',
    },
  });
}
