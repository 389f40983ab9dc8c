/** Loads the Lua scripts and runs them by their hash; an empty script cache (restart, SCRIPT FLUSH) is no failure. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";

import type { RedisConnection } from "./redis-connection.ts";
import { isNoScript, toUnavailable } from "./redis-errors.ts";
import { asNumber } from "./reply.ts";

/** One file in `lua/` each. */
export type ScriptName =
  | "admit"
  | "append"
  | "attach"
  | "cancel"
  | "cancel-queue"
  | "claim"
  | "delete"
  | "expire"
  | "finish"
  | "heartbeat"
  | "keyrings"
  | "list"
  | "meta"
  | "names"
  | "nonce"
  | "reap"
  | "register"
  | "release"
  | "remove-runner"
  | "renew"
  | "retire"
  | "revoke"
  | "rights"
  | "served"
  | "settle"
  | "sweep-names"
  | "waiting";

interface Script {
  readonly text: string;
  readonly sha: string;
}

const LUA = new URL("./lua/", import.meta.url);

/**
 * Scripts of the calls themselves, which use nothing but a shard's names and time: Redis makes every function of a
 * fragment anew at each run.
 */
const SHARD_ALONE: ReadonlySet<ScriptName> = new Set(["admit", "nonce"]);
const SHARD_FRAGMENT = "10-shard.lua";

/** A script's whole text: its first line (the flags), the fragments of `lua/lib` by name, then the rest of it. */
export function scriptText(name: ScriptName): string {
  const own = readFileSync(new URL(`${name}.lua`, LUA), "utf8");
  const library = new URL("lib/", LUA);
  const fragments = readdirSync(library)
    .toSorted()
    .filter((file) => file === SHARD_FRAGMENT || !SHARD_ALONE.has(name))
    .map((file) => readFileSync(new URL(file, library), "utf8"));
  const end = own.indexOf("\n") + 1;
  return own.slice(0, end) + fragments.join("") + own.slice(end);
}

/** Runs scripts over one connection. Each is read from disk once, when it is first needed. */
export class RedisScripts {
  readonly #connection: RedisConnection;
  readonly #replicated: RedisConnection | undefined;
  readonly #scripts = new Map<ScriptName, Script>();

  /** `replicated`: the connection for {@link runReplicated}. */
  constructor(connection: RedisConnection, replicated?: RedisConnection) {
    this.#connection = connection;
    this.#replicated = replicated;
  }

  /**
   * Runs a script; all keys lie in one shard.
   * @throws SupervisorError("unavailable") whose data say whether it was applied.
   */
  async run(name: ScriptName, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    const { text, sha } = this.#script(name);
    try {
      return await this.#connection.call("EVALSHA", sha, keys.length, ...keys, ...args);
    } catch (error) {
      if (!isNoScript(error)) throw error;
      return this.#connection.call("EVAL", text, keys.length, ...keys, ...args);
    }
  }

  /**
   * Runs a script and waits until its writes stand on `replicas` replicas, or the command timeout is over.
   * WAIT holds the connection up, so these have one of their own.
   */
  async runReplicated(
    name: ScriptName,
    keys: readonly string[],
    { args, replicas }: { readonly args: readonly (string | number)[]; readonly replicas: number },
  ): Promise<{ readonly answer: unknown; readonly acknowledged: number }> {
    const { text, sha } = this.#script(name);
    const waiting = this.#replicated ?? this.#connection;
    const timeoutMs = Math.ceil(waiting.commandTimeoutMs / 2);
    const send = async (command: string, script: string): Promise<readonly unknown[]> =>
      waiting.pipeline([
        [command, script, keys.length, ...keys, ...args],
        ["WAIT", replicas, timeoutMs],
      ]);
    let [answer, acknowledged] = await send("EVALSHA", sha);
    if (answer instanceof Error && isNoScript(toUnavailable(answer))) [answer, acknowledged] = await send("EVAL", text);
    if (answer instanceof Error) throw toUnavailable(answer);
    if (acknowledged instanceof Error) throw toUnavailable(acknowledged, "unknown");
    return { answer, acknowledged: asNumber(acknowledged) };
  }

  #script(name: ScriptName): Script {
    let script = this.#scripts.get(name);
    if (script === undefined) {
      const text = scriptText(name);
      script = { text, sha: createHash("sha1").update(text).digest("hex") };
      this.#scripts.set(name, script);
    }
    return script;
  }
}
