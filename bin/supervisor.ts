#!/usr/bin/env node
/** The program: everything is in cli.ts, which tests call in process. */
import { fileURLToPath } from "node:url";

import { runCli } from "./cli.ts";
import { processTerminal } from "./terminal.ts";

process.exitCode = await runCli(process.argv.slice(2), processTerminal(fileURLToPath(import.meta.url)));
