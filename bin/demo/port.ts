/** Free TCP ports on loopback. */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";

/**
 * Below the range from which systems take the near end of outgoing connections (Linux: 32768 and up), above most
 * services: what is free here is not taken by somebody's next connection before it is used.
 */
const [LOWEST, BEYOND] = [15_000, 32_000];
const ATTEMPTS = 100;

/** The preferred port when it is free, else any free one. @throws Error where nothing can be listened on */
export async function freePort(preferred = randomInt(LOWEST, BEYOND)): Promise<number> {
  let port = preferred;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    if (await isFree(port)) return port;
    port = randomInt(LOWEST, BEYOND);
  }
  throw new Error(`No free port on 127.0.0.1: ${ATTEMPTS} between ${LOWEST} and ${BEYOND} were tried.`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
  } catch {
    // Taken, or not ours to take: another is tried.
    return false;
  }
  server.close();
  await once(server, "close");
  return true;
}
