/** KeyringStore over Redis: which keyring each supervisor goes by, what they agreed on, and who stands among the revoked. */
import type { Log } from "../log.ts";
import type { RedisAccess } from "./redis-access.ts";
import { RedisConnection } from "./redis-connection.ts";
import { RedisKeys } from "./redis-keys.ts";
import { asList, asOptional, asText } from "./reply.ts";
import type { KeyringStore } from "./store.ts";

/** Keys asked about by one command. */
const BATCH = 100;

export class RedisKeyrings implements KeyringStore {
  readonly #access: RedisAccess;

  constructor(access: RedisAccess) {
    this.#access = access;
  }

  async compare(claim: Parameters<KeyringStore["compare"]>[0]): Promise<readonly string[]> {
    const { keys, scripts } = this.#access;
    const args = [claim.supervisor, claim.digest, claim.keepMs];
    return asList(await scripts.run("keyrings", [keys.of(0, "keyrings")], args)).map(asText);
  }

  async withdraw(supervisor: string): Promise<void> {
    const { connection, keys } = this.#access;
    await connection.call("HDEL", keys.of(0, "keyrings"), supervisor);
  }

  async findRevoked(asked: readonly string[]): Promise<readonly string[]> {
    const { connection, keys } = this.#access;
    return findAmong(connection, keys.of(0, "revoked"), asked);
  }

  async readEnrolled(): Promise<readonly string[]> {
    const { connection, keys } = this.#access;
    return asOptional(await connection.call("GET", keys.of(0, "enrolled")), asText)?.split(" ") ?? [];
  }

  async writeEnrolled(enrolled: readonly string[]): Promise<void> {
    const { connection, keys } = this.#access;
    await connection.call("SET", keys.of(0, "enrolled"), enrolled.join(" "));
  }
}

/**
 * The same question by somebody without a store, such as a check of the settings. Every shard has all revoked keys.
 * @throws SupervisorError when Redis can not be reached, naming the URL and the fix.
 */
export async function findRevokedKeys(
  options: { readonly url: string; readonly prefix: string; readonly commandTimeoutMs: number; readonly log: Log },
  asked: readonly string[],
): Promise<readonly string[]> {
  const connection = new RedisConnection({ ...options, monotonicMs: () => performance.now() });
  try {
    await connection.start();
    return await findAmong(connection, new RedisKeys({ prefix: options.prefix, shards: 1 }).of(0, "revoked"), asked);
  } finally {
    await connection.stop();
  }
}

async function findAmong(
  connection: Pick<RedisConnection, "call">,
  set: string,
  asked: readonly string[],
): Promise<readonly string[]> {
  const found: string[] = [];
  for (let at = 0; at < asked.length; at += BATCH) {
    const batch = asked.slice(at, at + BATCH);
    const answers = asList(await connection.call("SMISMEMBER", set, ...batch));
    found.push(...batch.filter((_key, index) => Number(answers[index]) === 1));
  }
  return found;
}
