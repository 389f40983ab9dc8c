/** What is odd about a keyring that is good as a file: told to the person who looks after it. Pure. */
import { counted } from "../counted.ts";
import type { EnrolledKey, KeyringContents } from "./keyring-toml.ts";

/** Keys that end within this time are named, in ms. */
const SOON_MS = 14 * 86_400_000;

/** Is the key's table one that gives rights at this moment? */
export function keyState(key: EnrolledKey, nowMs: number): "good" | "expired" | "revoked" {
  if (key.revokedAtMs !== undefined) return "revoked";
  return key.notAfterMs !== undefined && nowMs > key.notAfterMs ? "expired" : "good";
}

/** Sentences, each with its fix; none for a keyring without oddities. */
export function keyringAdvice({ keys, requirements }: KeyringContents, nowMs: number): readonly string[] {
  const good = keys.filter((key) => keyState(key, nowMs) === "good");
  const ended = keys.filter((key) => keyState(key, nowMs) === "expired");
  const unmet = requirements.flatMap(({ runner, principals, atLeast }) => {
    const able = principals.filter((principal) => good.some((key) => key.principal === principal));
    if (able.length >= atLeast) return [];
    const without = principals.filter((principal) => !able.includes(principal)).join(", ");
    return [
      `require "${runner}": it needs ${counted(atLeast, "approval")} and has ${counted(able.length, "principal")} with a good key, ` +
        `so no job can run there. Without one: ${without}. Enrol a key, or mend the name.`,
    ];
  });
  const ending = good.flatMap(({ name, notAfterMs }) => {
    if (notAfterMs === undefined || notAfterMs - nowMs > SOON_MS) return [];
    return [
      `key "${name}" ends ${new Date(notAfterMs).toISOString()}. Enrol its successor for the same principal in time.`,
    ];
  });
  const past = ended.map(
    ({ name, notAfterMs = 0 }) =>
      `key "${name}" ended ${new Date(notAfterMs).toISOString()} and is refused. If that is not meant, mend its not_after.`,
  );
  const idle = good
    .filter(({ roles, runners }) => roles.includes("submitter") && runners.length === 0)
    .map(
      ({ name }) =>
        `key "${name}" is a submitter and no runner is granted to it, so it can submit nowhere. Name some in its runners.`,
    );
  const admins = good.some(({ roles }) => roles.includes("admin"))
    ? []
    : ["no good key has the role admin. Nobody can read or cancel everybody's jobs."];
  return [...unmet, ...ending, ...past, ...idle, ...admins];
}
