import os from 'node:os';
import path from 'node:path';

/** A folder for a throw-away cluster of this process. */
export const tmpDataDir = (name: string): string => path.join(os.tmpdir(), `${name}-${process.pid}`);
