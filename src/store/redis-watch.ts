/** Asks the servers behind a connection what they are, at the start and every 30 s. */
import type { RedisConnection, RedisNode } from "./redis-connection.ts";
import { asList, asText } from "./reply.ts";
import {
  type Durability,
  durabilityProblem,
  judgeServer,
  parseInfo,
  replicaCount,
  type ServerFacts,
  type Verdict,
} from "./server-facts.ts";

export interface Findings {
  readonly durability: Durability;
  readonly warnings: readonly string[];
  readonly problems: readonly string[];
  readonly refusals: readonly string[];
}

/** @throws SupervisorError("unavailable") when a server does not answer. */
export async function inspect(
  connection: Pick<RedisConnection, "masters">,
  wanted: Durability | "auto",
): Promise<Findings> {
  const servers = await Promise.all(connection.masters().map(readFacts));
  const verdicts = servers.map((facts) => judgeServer(facts));
  // A chain is as durable as its weakest master.
  const durability = weakest(verdicts);
  const replicas = Math.min(...servers.map(({ info }) => Number(info.get("connected_slaves") ?? 0)));
  const combined: Verdict = {
    durability,
    isFlushUnknown: verdicts.every(({ isFlushUnknown }) => isFlushUnknown),
    warnings: [...new Set(verdicts.flatMap(({ warnings }) => warnings))],
    problems: [...new Set(verdicts.flatMap(({ problems }) => problems))],
    refusals: [...new Set(verdicts.flatMap(({ refusals }) => refusals))],
  };
  if (wanted === "auto") return combined;
  const problem = durabilityProblem(wanted, combined, replicas);
  return {
    // Asking for less than there is states what was asked for.
    durability: problem === undefined ? wanted : durability,
    warnings: replicaCount(wanted) > 0 ? [] : combined.warnings,
    problems: problem === undefined ? combined.problems : [...combined.problems, problem],
    refusals: problem === undefined ? combined.refusals : [...combined.refusals, problem],
  };
}

function weakest(verdicts: readonly Verdict[]): Verdict["durability"] {
  const classes = new Set(verdicts.map(({ durability }) => durability));
  if (classes.has("memory")) return "memory";
  return classes.has("everysec") ? "everysec" : "always";
}

/** INFO, and what CONFIG GET tells where it is allowed. */
export async function readFacts(node: RedisNode): Promise<ServerFacts> {
  const info = parseInfo(asText(await node.call("INFO")));
  try {
    const [, appendFsync] = asList(await node.call("CONFIG", "GET", "appendfsync"));
    return typeof appendFsync === "string" ? { info, appendFsync } : { info };
  } catch {
    // Managed servers and ACLs forbid CONFIG: the verdict says what that means.
    return { info };
  }
}
