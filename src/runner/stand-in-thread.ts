/** The thread of a stand-in: joins a {@link LeaseWatch} to the event loop, the renewer and the processes. */
import { parentPort, workerData } from "node:worker_threads";

import { LeaseWatch, type Word } from "./lease-watch.ts";
import { signalGroup } from "./process-group.ts";
import type { Renewer } from "./source.ts";
import { machineMs, type ThreadSettings } from "./stand-in.ts";

/** Called once by the module that a {@link RenewerRecipe} names, in the thread that was started with it. */
export function serveStandIn(createRenewer: (options: unknown) => Renewer): void {
  const settings: unknown = workerData;
  if (!isSettings(settings)) throw new Error("A stand-in is started by the runner alone.");
  const watch = new LeaseWatch({
    leaseMs: settings.leaseMs,
    renewer: createRenewer(settings.options),
    machineMs,
    report: (deed) => parentPort?.postMessage(deed, []),
    signal: signalGroup,
  });
  parentPort?.on("message", (word: Word) => watch.hear(word));
}

function isSettings(value: unknown): value is ThreadSettings {
  return typeof value === "object" && value !== null && "leaseMs" in value && "options" in value;
}
