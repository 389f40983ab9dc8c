/** What a measurement depends on: the machine, the versions, and the processor time of a process. */
import { readFile } from "node:fs/promises";
import { cpus, loadavg } from "node:os";

export interface Machine {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  /** Of the last minute, before the benches began: other work on the machine shows here. */
  readonly load: number;
  readonly node: string;
  readonly openssl: string;
  readonly redis: string;
}

export function describeMachine(redis: string): Machine {
  const all = cpus();
  return {
    date: new Date().toISOString(),
    cpu: all[0]?.model.trim() ?? "unknown",
    cores: all.length,
    load: loadavg()[0] ?? 0,
    node: process.versions.node,
    openssl: process.versions.openssl,
    redis,
  };
}

/** Linux counts processor time in hundredths of a second for programs (proc(5), USER_HZ). */
const TICK_MS = 10;

/** Processor time a process has used in all its threads, in ms; undefined where the system does not tell. */
export async function processorMs(pid: number): Promise<number | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    // The name may hold blanks and parentheses: fields are counted behind the last of them; utime and stime are 14 and 15.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  } catch {
    // Not Linux: the report leaves the column out.
    return undefined;
  }
}

/** Memory a process holds, in bytes; undefined where the system does not tell. */
export async function residentBytes(pid: number): Promise<number | undefined> {
  try {
    const kib = /^VmRSS:\s+(\d+) kB$/mu.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1];
    return kib === undefined ? undefined : Number(kib) * 1024;
  } catch {
    // Not Linux.
    return undefined;
  }
}
