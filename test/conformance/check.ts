/** What a check is, and how it says that what must be seen was not seen. */
import { setTimeout as sleep } from "node:timers/promises";

import type { Candidate, CandidateWishes } from "./candidate.ts";
import type { Site, SiteWishes } from "./site.ts";

export interface Check {
  readonly name: string;
  /** Heading of the protocol page (src/store/README.md) that asks for it. */
  readonly clause: string;
  readonly does: string;
  readonly sees: string;
  /** @throws Unmet where something else is seen, CannotPerform where nothing can be. */
  run(stage: Stage): Promise<void>;
}

/** Where a check is carried out. Everything it starts ends with it. */
export interface Stage {
  /** Shared with the checks that run beside it. */
  readonly site: Site;
  /** A runner with many slots, shared with other checks: for jobs that disturb nobody. */
  common(): Promise<Candidate>;
  /** A runner of this check's own, on the shared site unless told. */
  own(wishes?: CandidateWishes, site?: Site): Promise<Candidate>;
  /** Redis and supervisor of this check's own. */
  ownSite(wishes?: SiteWishes): Promise<Site>;
}

/** The runner did otherwise than the protocol says. */
export class Unmet extends Error {
  override readonly name = "Unmet";
}

/** The check can not be carried out here, which says nothing about the runner. */
export class CannotPerform extends Error {
  override readonly name = "CannotPerform";
}

/** @throws Unmet with these words unless it is so. */
export function expectThat(isSo: boolean, otherwise: string): asserts isSo {
  if (!isSo) throw new Unmet(otherwise);
}

/** @throws Unmet naming both unless they are the same as JSON. */
export function expectSame(what: string, actual: unknown, expected: unknown): void {
  const [is, should] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (is !== should) throw new Unmet(`${what}: ${shortened(is)}, expected ${shortened(should)}`);
}

function shortened(text: string | undefined): string {
  const whole = text ?? "nothing";
  return whole.length > 300 ? `${whole.slice(0, 300)}…` : whole;
}

const LOOK_MS = 25;

/** Looks until there is something, for `ms` at most. @throws Unmet naming what was waited for. */
export async function seen<Value>(
  what: string,
  look: () => Promise<Value | undefined | false> | Value | undefined | false,
  { ms, signal }: { readonly ms: number; readonly signal?: AbortSignal },
): Promise<Value> {
  const endMs = performance.now() + ms;
  for (;;) {
    const value = await look();
    if (value !== undefined && value !== false) return value;
    if (signal?.aborted === true) throw new Unmet(`${String(signal.reason)} before this was seen: ${what}`);
    if (performance.now() > endMs) throw new Unmet(`not seen within ${ms} ms: ${what}`);
    await sleep(LOOK_MS);
  }
}
