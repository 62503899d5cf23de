#!/usr/bin/env node
import { runCli } from './cliProgram.js';

// A reader that has seen enough (`billing event list | head`) ends the output, not the orderly end of the command.
process.stdout.on('error', () => {});
process.exitCode = await runCli(process.argv.slice(2), process);
