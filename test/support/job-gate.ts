/** A gate that a job waits at until the test opens it: it is seen running however slow the machine is. */
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { System } from "./system.ts";
import { waitUntil } from "./wait.ts";

export interface JobGate {
  readonly script: string;
  /** Resolves once a job stands there. */
  reached(): Promise<void>;
  open(): Promise<void>;
}

/** `name` is the gate's own within the system. */
export function aJobGate(system: Pick<System, "directory">, name: string): JobGate {
  const path = join(system.directory, name);
  return {
    script: `touch '${path}.reached'; until [ -e '${path}' ]; do sleep 0.1; done`,
    reached: async () => {
      await waitUntil(() => existsSync(`${path}.reached`));
    },
    open: async () => writeFile(path, ""),
  };
}
