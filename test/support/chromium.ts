/** Debian's Chromium without a window, driven by WebDriver (W3C) over HTTP; and pages for it, of bundled TypeScript. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

import { assemble } from "./assemble.ts";
import type { MachineTool } from "./machine.ts";
import { RunningProcess } from "./process.ts";

export const CHROMIUM: MachineTool = {
  probe: ["sh", "-c", "command -v chromium && command -v chromedriver"],
  packages: ["chromium", "chromium-driver"],
};

/** Of what runs in the page. */
const SCRIPT_MS = 50_000;

export interface Chromium extends AsyncDisposable {
  open(url: string): Promise<void>;
  /** Calls a function of the page and gives what its promise resolves to. @throws Error with what it rejects with */
  call(name: string, ...args: readonly unknown[]): Promise<unknown>;
}

export async function startChromium(): Promise<Chromium> {
  return assemble(async (onEnd) => {
    const profile = await mkdtemp(join(tmpdir(), "horus-chromium-"));
    onEnd(async () => rm(profile, { recursive: true, force: true, maxRetries: 5 }));
    const driver = new RunningProcess(["chromedriver", "--port=0"], {
      env: { PATH: process.env["PATH"], HOME: profile },
    });
    onEnd(async () => driver.stop());
    const [, port = ""] = await driver.waitFor(/started successfully on port (\d+)/u);
    const session = await startSession(`http://127.0.0.1:${port}/session`, profile);
    onEnd(async () => command(session, "DELETE"));
    return {
      open: async (url) => void (await command(`${session}/url`, "POST", { url })),
      call: async (name, ...args) => outcomeOf(await command(`${session}/execute/async`, "POST", toScript(name, args))),
    };
  });
}

async function startSession(url: string, profile: string): Promise<string> {
  // A container has neither the rights for the sandbox nor the shared memory; the page is the test's own.
  const args = [
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    `--user-data-dir=${profile}`,
  ];
  const alwaysMatch = { timeouts: { script: SCRIPT_MS }, "goog:chromeOptions": { args } };
  const { sessionId } = membersOf(await command(url, "POST", { capabilities: { alwaysMatch } }));
  return `${url}/${String(sessionId)}`;
}

/** One command; gives `value` of its answer (WebDriver, "Processing model"). @throws Error with the driver's words */
async function command(url: string, method: "POST" | "DELETE", body?: object): Promise<unknown> {
  const response = await fetch(url, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  const { value } = membersOf(await response.json());
  if (!response.ok) throw new Error(`WebDriver ${method} ${url}: ${JSON.stringify(value)}`);
  return value;
}

function toScript(
  name: string,
  args: readonly unknown[],
): { readonly script: string; readonly args: readonly unknown[] } {
  const script = `const [name, args, done] = arguments;
    window[name](...args).then((value) => done({ value }), (error) => done({ error: String(error?.stack ?? error) }));`;
  return { script, args: [name, args] };
}

function outcomeOf(answer: unknown): unknown {
  const { value, error } = membersOf(answer);
  if (error !== undefined) throw new Error(`In the page: ${JSON.stringify(error)}`);
  return value;
}

function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

export interface ServedPage extends AsyncDisposable {
  /** `http://127.0.0.1:…`, without a path. */
  readonly origin: string;
}

/** Nothing but the bundle, and no eval in it: what a careful page allows itself. */
const CONTENT_POLICY = "default-src 'none'; script-src 'self'; connect-src http://127.0.0.1:* ws://127.0.0.1:*";

/** Bundles a module for browsers as an application would, and serves it with a page around it. */
export async function servePage(module: URL): Promise<ServedPage> {
  const entryPoints = [fileURLToPath(module)];
  const { outputFiles } = await build({ entryPoints, bundle: true, format: "esm", platform: "browser", write: false });
  const files = new Map([
    ["/", { type: "text/html", text: '<!doctype html><script type="module" src="/page.js"></script>' }],
    ["/page.js", { type: "text/javascript", text: outputFiles[0]?.text ?? "" }],
  ]);
  const server = createServer(({ url = "" }, response) => {
    const file = files.get(url);
    const headers = { "Content-Type": file?.type ?? "text/plain", "Content-Security-Policy": CONTENT_POLICY };
    response.writeHead(file === undefined ? 404 : 200, headers).end(file?.text);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: `http://127.0.0.1:${portOf(server)}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function portOf(server: Server): number {
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("The page's server has no port.");
  return address.port;
}
