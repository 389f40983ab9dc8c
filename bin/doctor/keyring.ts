/** What `supervisor doctor` says of a keys.toml that is good as a file: oddities, and keys that Redis has as revoked. */
import { keyringAdvice } from "../../src/auth/keyring-advice.ts";
import { loadKeyring } from "../../src/auth/keyring-file.ts";
import type { KeyringContents } from "../../src/auth/keyring.ts";
import type { Config } from "../../src/config.ts";
import { dataPaths } from "../../src/data-directory.ts";
import { revokedForEver } from "../../src/keyring-sync.ts";
import { createLog } from "../../src/log.ts";
import { unavailableText } from "../../src/store/redis-errors.ts";
import { findRevokedKeys } from "../../src/store/redis-keyrings.ts";
import { redisStoreOptions } from "../redis-options.ts";
import type { Check } from "./check.ts";

const WHAT = "keys.toml";

/** One warning for each oddity. */
export function adviceChecks(contents: KeyringContents): readonly Check[] {
  return keyringAdvice(contents, Date.now()).map((says) => ({ what: WHAT, verdict: "warning", says }));
}

/** One warning for each key that is enrolled though it was revoked before. */
export async function revokedChecks(config: Config): Promise<readonly Check[]> {
  const keys = await aliveKeys(dataPaths(config.data_dir).keyring);
  const log = createLog({ level: "silent", pretty: false });
  try {
    const revoked = await findRevokedKeys(redisStoreOptions(config, log), [...keys.keys()]);
    return revoked.map((key) => ({ what: WHAT, verdict: "warning", says: revokedForEver(keys.get(key) ?? key) }));
  } catch (error) {
    // What ails Redis is told by the other checks, with its fix.
    const says = `can not be compared with what Redis knows as revoked (${unavailableText(error)})`;
    return [{ what: WHAT, verdict: "fault", says }];
  }
}

/** Names by key; none where the file is missing or refused, which is another check's to say. */
async function aliveKeys(path: string): Promise<ReadonlyMap<string, string>> {
  try {
    const { keys } = await loadKeyring(path);
    return new Map(keys.filter((key) => key.revokedAtMs === undefined).map(({ key, name }) => [key, name]));
  } catch {
    return new Map();
  }
}
