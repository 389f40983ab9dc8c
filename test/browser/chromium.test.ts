/** The client library in Debian's Chromium: a page of a listed origin signs, submits, follows and verifies. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { assemble } from "../support/assemble.ts";
import { CHROMIUM, type Chromium, type ServedPage, servePage, startChromium } from "../support/chromium.ts";
import { GET_INFO } from "../support/http.ts";
import { isHere } from "../support/machine.ts";
import { startSystem, type System } from "../support/system.ts";
import type { Wish } from "./page.ts";

const PAGE = new URL("page.ts", import.meta.url);

interface Stage extends AsyncDisposable {
  readonly page: ServedPage;
  readonly other: ServedPage;
  readonly system: System;
  readonly chromium: Chromium;
  readonly wish: Omit<Wish, "url">;
}

/** A supervisor with a runner, a browser, and two pages of which the first one's origin is listed. */
async function startStage(): Promise<Stage> {
  return assemble(async (onEnd) => {
    const keep = <Part extends AsyncDisposable>(part: Part): Part => {
      onEnd(async () => part[Symbol.asyncDispose]());
      return part;
    };
    const page = keep(await servePage(PAGE));
    const other = keep(await servePage(PAGE));
    const system = keep(await startSystem(`[http]\nallowed_origins = ["${page.origin}"]\n`));
    const chromium = keep(await startChromium());
    await system.startRunner("demo");
    const { key } = await system.json(["runner", "status", "demo"]);
    const secret = await readFile(join(system.dataDirectory, "owner.key"), "utf8");
    const wish = {
      supervisor: await identityOf(system.url),
      seed: secret,
      runner: "demo",
      payload: 'echo one; echo two; printf done > "$HORUS_RESULT"',
      runnerKeys: [String(key)],
    };
    return { page, other, system, chromium, wish };
  });
}

describe.skipIf(!isHere(CHROMIUM))("the client in Chromium", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await startStage();
  });
  afterAll(async () => stage[Symbol.asyncDispose]());

  test.each(["http", "ws"])("runs a job over %s to a receipt that is good by a pinned key", async (scheme) => {
    const { chromium, page, system, wish } = stage;
    await chromium.open(page.origin);

    const seen = await chromium.call("run", { ...wish, url: system.url.replace(/^http/u, scheme) });

    expect(seen).toEqual({
      principal: "owner",
      states: expect.arrayContaining(["completed"]) as unknown,
      log: ["one", "two"],
      result: "done",
      trust: "verified",
      findings: [
        "job good",
        "signatures good",
        "ticket good",
        "receipt good",
        "outcome good",
        "result good",
        "log good",
      ],
      refusal: { code: -32602, data: { path: "params.id", expected: expect.any(String) as unknown } },
    });
  });

  test("does not take a receipt of a runner whose key is not the pinned one for verified", async () => {
    const { chromium, page, system, wish } = stage;
    await chromium.open(page.origin);

    const seen = await chromium.call("run", { ...wish, url: system.url, runnerKeys: [wish.supervisor] });

    expect(seen).toMatchObject({ trust: "vouched for by the supervisor" });
  });

  test.each(["http", "ws"])("gets nothing over %s where the page's origin is not listed", async (scheme) => {
    const { chromium, page, other, system, wish } = stage;
    const url = system.url.replace(/^http/u, scheme);
    await chromium.open(page.origin);
    await expect(chromium.call("knock", url, wish.supervisor)).resolves.toBe(wish.supervisor);

    await chromium.open(other.origin);

    await expect(chromium.call("knock", url, wish.supervisor)).resolves.toBe("CarrierError");
  });
});

async function identityOf(url: string): Promise<string> {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(url, { method: "POST", headers, body: GET_INFO });
  return /"identity":"([^"]+)"/u.exec(await answer.text())?.[1] ?? "";
}
