/** The node:http (or node:https) server underneath: strict parsing, timeouts, TLS files, binding. */
import { readFile } from "node:fs/promises";
import { createServer, type Server as HttpServer, type ServerOptions } from "node:http";
import { createServer as createTlsServer, type Server as HttpsServer } from "node:https";

import { errorText } from "../../src/errors.ts";
import type { HttpLimits, HttpOptions } from "./options.ts";

/** Either; `setSecureContext` tells them apart. */
export type Server = HttpServer | HttpsServer;

/** Beyond this a request's head is 431. */
const MAX_HEAD_BYTES = 16 * 1024;
/** How often Node looks for requests whose time is over; its default of 30 s would be the real timeout. */
const CHECK_MS = 1000;

type TlsFiles = NonNullable<HttpOptions["tls"]>;

/** Not listening yet. @throws Error naming the TLS file that can not be read or used. */
export async function createStrictServer(limits: HttpLimits, tls: TlsFiles | undefined): Promise<Server> {
  const options: ServerOptions = {
    maxHeaderSize: MAX_HEAD_BYTES,
    // Lenient parsing is what request smuggling lives on.
    insecureHTTPParser: false,
    // Checked by the guard, whose answer says what to do.
    requireHostHeader: false,
    connectionsCheckingInterval: CHECK_MS,
    headersTimeout: Math.min(limits.headersMs, limits.requestMs),
    requestTimeout: limits.requestMs,
    keepAliveTimeout: limits.keepAliveMs,
    // Finds out about peers that vanished during a long wait.
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
  };
  const server = tls === undefined ? createServer(options) : await createTls(options, tls, limits.headersMs);
  // Node drops headers beyond its default count in silence, the size above is bound enough.
  server.maxHeadersCount = 0;
  return server;
}

async function createTls(options: ServerOptions, tls: TlsFiles, handshakeTimeout: number): Promise<HttpsServer> {
  const context = await readTlsFiles(tls);
  return usable(tls, () => createTlsServer({ ...options, ...context, minVersion: "TLSv1.2", handshakeTimeout }));
}

/** Puts changed certificate files to use for connections to come. @throws Error, and the old ones stay. */
export async function reloadTls(server: Server, tls: TlsFiles): Promise<void> {
  if (!("setSecureContext" in server)) return;
  const context = await readTlsFiles(tls);
  usable(tls, () => server.setSecureContext({ ...context, minVersion: "TLSv1.2" }));
}

async function readTlsFiles({ certFile, keyFile }: TlsFiles): Promise<{ readonly cert: Buffer; readonly key: Buffer }> {
  return { cert: await readPem("--tls-cert", certFile), key: await readPem("--tls-key", keyFile) };
}

async function readPem(flag: string, file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    const text = `${flag} ${JSON.stringify(file)}: ${errorText(error)}. Name a PEM file that can be read.`;
    throw new Error(text, { cause: error });
  }
}

function usable<T>({ certFile, keyFile }: TlsFiles, use: () => T): T {
  try {
    return use();
  } catch (error) {
    const files = `--tls-cert ${JSON.stringify(certFile)}, --tls-key ${JSON.stringify(keyFile)}`;
    throw new Error(`${files}: ${errorText(error)}. Both must be PEM, and the key the certificate's.`, {
      cause: error,
    });
  }
}

const FIXES: Readonly<Record<string, string>> = {
  EADDRINUSE: "Stop the program that listens there, or pass another --port.",
  EACCES: "Ports below 1024 need rights; pass another --port.",
  EADDRNOTAVAIL: "This machine has no such address; pass another --host.",
  EAI_AGAIN: "Nobody knows that name; pass another --host.",
  ENOTFOUND: "Nobody knows that name; pass another --host.",
};

/** Binds. @returns the port it got. @throws Error with address, reason and fix. */
export async function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException): void => {
      const fix = FIXES[error.code ?? ""] ?? "Pass another --host or --port.";
      reject(
        new Error(`HTTP cannot listen on ${authority(host, port)} (${error.code ?? error.message}). ${fix}`, {
          cause: error,
        }),
      );
    };
    server.once("error", fail);
    server.listen({ host, port }, () => {
      server.removeListener("error", fail);
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}

/** `host:port`, IPv6 in brackets. */
export function authority(host: string, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}
