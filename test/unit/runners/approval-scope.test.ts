import { afterEach, describe, expect, test } from "vitest";

import { Keyring, type Requirement } from "../../../src/auth/keyring.ts";
import { SIGNED_RUNNER } from "../../../src/rpc/examples.ts";
import type { SignedRunner } from "../../../src/rpc/schema.ts";
import { ApprovalScope } from "../../../src/runners/approval-scope.ts";
import { keptLog } from "../../support/dispatcher.ts";
import { anEnrolledKey } from "../../support/signing.ts";
import { waitUntil } from "../../support/wait.ts";

const PROD: Requirement = { runner: "prod-*", principals: ["ops"], atLeast: 1 };
const MISC: Requirement = { runner: "misc", principals: ["ops", "qa"], atLeast: 2 };

let scope: ApprovalScope | undefined;
afterEach(() => scope?.stop());

function registered(name: string, ...groups: readonly string[]): SignedRunner {
  return { ...SIGNED_RUNNER, body: { ...SIGNED_RUNNER.body, name, groups: [...groups] } };
}

interface Stage {
  readonly scope: ApprovalScope;
  readonly keyring: Keyring;
  readonly lines: readonly string[];
  registry: readonly SignedRunner[] | Error;
  looks: number;
}

async function aStage(registry: readonly SignedRunner[], requirements: readonly Requirement[]): Promise<Stage> {
  const keyring = new Keyring([anEnrolledKey()], () => 0, requirements);
  const { log, lines } = keptLog();
  const made = new ApprovalScope({
    runners: {
      registrations: async () => {
        stage.looks += 1;
        if (stage.registry instanceof Error) throw stage.registry;
        return stage.registry;
      },
    },
    keyring,
    log,
    intervalMs: 10,
  });
  const stage: Stage = { scope: made, keyring, lines, registry, looks: 0 };
  scope = made;
  await made.start();
  return stage;
}

describe("ApprovalScope", () => {
  test("asks for the approvals of every name that shares a runner with the one a job is sent to", async () => {
    const stage = await aStage([registered("prod-1", "misc"), registered("web-1", "web")], [PROD, MISC]);

    expect(stage.scope.requirementsFor("misc")).toEqual([MISC, PROD]);
    expect(stage.scope.requirementsFor("prod-1")).toEqual([PROD, MISC]);
    expect(stage.scope.requirementsFor("prod-2")).toEqual([PROD]);
    expect(stage.scope.requirementsFor("web")).toEqual([]);
  });

  test("follows a keyring that asks for approvals only now, and says once that a group is meant too", async () => {
    const stage = await aStage([registered("prod-1", "misc"), registered("prod-2", "misc")], []);
    expect(stage.scope.requirementsFor("misc")).toEqual([]);
    expect(stage.looks).toBe(0);

    stage.keyring.replace(stage.keyring.all(), [PROD]);

    await waitUntil(() => stage.looks > 3);
    expect(stage.scope.requirementsFor("misc")).toEqual([PROD]);
    expect(stage.lines.filter((line) => line.includes("approvals_widened"))).toEqual([
      expect.stringContaining('jobs for \\"misc\\" need the approvals of another name'),
    ]);
  });

  test("lets nothing pass under a keyring that asks for approvals only now, until it has looked", async () => {
    const stage = await aStage([registered("prod-1", "misc")], []);
    stage.registry = new Error("away");

    stage.keyring.replace(stage.keyring.all(), [PROD]);

    expect(() => stage.scope.requirementsFor("misc")).toThrow(expect.objectContaining({ name: "unavailable" }));
    stage.registry = [registered("prod-1", "misc")];
    const { looks } = stage;
    await waitUntil(() => stage.looks > looks + 1);
    expect(stage.scope.requirementsFor("misc")).toEqual([PROD]);
  });

  test("follows the registry, and keeps what it saw while that is out of reach", async () => {
    const stage = await aStage([], [PROD]);
    stage.registry = [registered("prod-1", "misc")];
    await waitUntil(() => stage.scope.requirementsFor("misc").length === 1);

    stage.registry = new Error("away");
    const { looks } = stage;
    await waitUntil(() => stage.looks > looks + 1);

    expect(stage.scope.requirementsFor("misc")).toEqual([PROD]);
  });

  test("does not start without having looked", async () => {
    const { keyring } = await aStage([], [PROD]);
    const blind = new ApprovalScope({
      runners: { registrations: async () => Promise.reject(new Error("away")) },
      keyring,
      log: keptLog().log,
    });

    await expect(blind.start()).rejects.toThrow("away");
  });
});
