/**
 * The heap of another Node process, after a collection of garbage: asked for over V8's inspector, which any Node program
 * has, so that the program under test needs no door for it.
 */
import { once } from "node:events";

import { Type } from "typebox";
import { Compile } from "typebox/compile";
import { WebSocket } from "ws";

/** Puts an inspector on a free port of loopback; its address stands in the process' output. */
export const INSPECTED = "--inspect=127.0.0.1:0";
export const INSPECTOR_URL = /Debugger listening on (ws:\/\/\S+)/u;

const Memory = Compile(
  Type.Object({
    id: Type.Integer(),
    result: Type.Object({
      result: Type.Object({ value: Type.Object({ heapUsed: Type.Number(), external: Type.Number() }) }),
    }),
  }),
);

/** Objects, and buffers outside of V8's heap, in bytes. */
export async function heapBytes(inspectorUrl: string): Promise<number> {
  const socket = new WebSocket(inspectorUrl, { perMessageDeflate: false });
  await once(socket, "open");
  try {
    // Twice: what finalizers let go of is collected by the second.
    await ask(socket, 1, "HeapProfiler.collectGarbage");
    await ask(socket, 2, "HeapProfiler.collectGarbage");
    const expression = "process.memoryUsage()";
    const answer = await ask(socket, 3, "Runtime.evaluate", { expression, returnByValue: true });
    const { heapUsed, external } = Memory.Parse(answer).result.result.value;
    return heapUsed + external;
  } finally {
    socket.terminate();
  }
}

async function ask(socket: WebSocket, id: number, method: string, params: object = {}): Promise<unknown> {
  socket.send(JSON.stringify({ id, method, params }));
  for (;;) {
    const answer: unknown = JSON.parse(await nextMessage(socket));
    if (typeof answer === "object" && answer !== null && "id" in answer && answer.id === id) return answer;
  }
}

async function nextMessage(socket: WebSocket): Promise<string> {
  return new Promise((resolve) => socket.once("message", (data: Buffer) => resolve(data.toString())));
}
