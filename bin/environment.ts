/** Environment variables that look like settings and are none: a misspelt one would be without effect, and nobody would know. */
import { allSettings } from "../src/settings.ts";
import { nearestWord } from "../src/spelling.ts";

/** Read by the command line, and no setting. */
const ADDRESS = "SUPERVISOR_URL";

/** Set by others who have the same prefix: the process manager supervisord, and Kubernetes for a service of that name. */
const FOREIGN = /^SUPERVISOR_(?:ENABLED|PROCESS_NAME|GROUP_NAME|SERVER_URL|SERVICE_(?:HOST|PORT).*|PORT_\d+_.*)$/u;

/** One sentence for each `SUPERVISOR_…` that nothing reads, with the one that was probably meant. Values are not shown. */
export function unknownVariables(env: Readonly<Record<string, string | undefined>>): readonly string[] {
  const known = [ADDRESS, ...allSettings().map((setting) => setting.env)];
  return Object.entries(env)
    .filter(([name, value]) => name.startsWith("SUPERVISOR_") && value !== undefined && !known.includes(name))
    .filter(([name, value]) => !FOREIGN.test(name) && value?.startsWith("tcp://") !== true)
    .map(
      ([name]) => `${name} is not read by anything${meant(name, known)}. mycelium.toml.example lists what there is.`,
    );
}

/** A slip of the keyboard, or the section left out: SUPERVISOR_PORT is SUPERVISOR_HTTP_PORT. */
function meant(name: string, known: readonly string[]): string {
  const last = name.slice("SUPERVISOR".length);
  const near = nearestWord(
    last,
    known.map((other) => other.slice("SUPERVISOR".length)),
  );
  const guess = known.find((other) => other.endsWith(last)) ?? (near === undefined ? undefined : `SUPERVISOR${near}`);
  return guess === undefined ? "" : ` (did you mean ${guess}?)`;
}
