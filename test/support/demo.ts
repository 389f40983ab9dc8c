/** What a demo leaves behind: the ports and directories that it spoke of. */
import { once } from "node:events";
import { existsSync } from "node:fs";
import { connect } from "node:net";

/** Ports and directories that a demo said it uses. */
export function tracesOf(output: string): {
  readonly ports: readonly number[];
  readonly directories: readonly string[];
} {
  const ports = output.matchAll(/redis-server on port (\d+)|ready at http:\/\/127\.0\.0\.1:(\d+)/gu);
  const directories = output.matchAll(/\/\S*horus-demo-\w+/gu);
  return {
    ports: [...ports].map(([, redis, http]) => Number(redis ?? http)),
    directories: [...new Set([...directories].map(([path]) => path))],
  };
}

export async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** Ports that are open still, and directories that are there still. @throws Error where the demo spoke of none */
export async function leftBehind(output: string): Promise<readonly (number | string)[]> {
  const { ports, directories } = tracesOf(output);
  if (ports.length === 0) throw new Error(`No demo was started:\n${output}`);
  const open = await Promise.all(ports.map(isListening));
  return [...ports.filter((_, index) => open[index]), ...directories.filter((path) => existsSync(path))];
}
