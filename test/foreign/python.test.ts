/** Debian's Python clients, each in a script of its own; what it plays and what it saw are JSON. */
import { fileURLToPath } from "node:url";

import { describe } from "vitest";

import { isHere, JSONRPCLIB, PYTHON, PYTHON_WEBSOCKETS } from "../support/machine.ts";
import { runProcess } from "../support/process.ts";
import { describeForeign, type ForeignCall, type ForeignClient } from "./foreign-client.ts";

function scripted(script: string, url: string): ForeignClient {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const play = async (calls: readonly ForeignCall[], batch: boolean): Promise<readonly unknown[]> => {
    const { stdout, stderr } = await runProcess([PYTHON, path], { input: JSON.stringify({ url, batch, calls }) });
    if (stderr !== "") throw new Error(stderr);
    const answers: unknown = JSON.parse(stdout);
    const list: readonly unknown[] = Array.isArray(answers) ? answers : [];
    return list;
  };
  return {
    call: async (call) => (await play([call], false))[0],
    batch: async (calls) => play(calls, true),
  };
}

describe.skipIf(!isHere(JSONRPCLIB))("python3-jsonrpclib-pelix", () => {
  describeForeign("over HTTP", ({ httpUrl }) => scripted("pelix_client.py", httpUrl));
});

describe.skipIf(!isHere(PYTHON_WEBSOCKETS))("python3-websockets", () => {
  describeForeign("over WebSocket", ({ webSocketUrl }) => scripted("websockets_client.py", webSocketUrl));
});
