import { describe, expect, test } from "vitest";

import { RUNNER_DOCUMENT, SIGNED_JOB, SIGNED_RUNNER } from "../../../src/rpc/examples.ts";
import type { JsonObject } from "../../../src/rpc/message.ts";
import { isMethodName, METHODS, type MethodName } from "../../../src/rpc/methods.ts";
import { ParamsValidator } from "../../../src/rpc/validator.ts";

const validator = new ParamsValidator();

function fault(name: MethodName, params: JsonObject): unknown {
  return validator.isParams(name, params) ? undefined : validator.fault(name, params).data;
}

function jobFault(member: JsonObject): unknown {
  return fault("create_job", { job: { ...SIGNED_JOB.job, ...member } });
}

describe("ParamsValidator", () => {
  test.each(Object.entries(METHODS).map(([name, { example }]) => [name, example.params] as const))(
    "takes the example of %s",
    (name, params) => {
      const { signatures: _signatures, ...own }: JsonObject = params;

      expect(isMethodName(name) && validator.isParams(name, own)).toBe(true);
    },
  );

  test.each<[JsonObject, string, string]>([
    [{ timeout: 0 }, "params.job.timeout", "must be >= 1"],
    [{ timeout: "60" }, "params.job.timeout", "must be integer"],
    [{ priority: 2.5 }, "params.job.priority", "must be integer"],
    [{ v: 2 }, "params.job.v", "1"],
    [{ on_loss: "wait" }, "params.job.on_loss", '"retry" or "fail"'],
    [{ extra: 1 }, "params.job.extra", "no such parameter"],
    [{ "a/b~c": 1 }, "params.job.a/b~c", "no such parameter"],
    [{ env_vars: { "1A": "x" } }, "params.job.env_vars.1A", 'must match pattern "^[A-Za-z_][A-Za-z0-9_]{0,63}$"'],
    [{ env_vars: { A: 1 } }, "params.job.env_vars.A", "must be string"],
    [{ payload: null }, "params.job.payload", "must be string"],
    [{ context_id: "x".repeat(129) }, "params.job.context_id", "must not have more than 128 characters"],
    [{ not_before: -1 }, "params.job.not_before", "must be >= 0"],
    [{ created_at: 2 ** 53 }, "params.job.created_at", "must be <= 9007199254740991"],
  ])("says where %j is wrong, and what is expected there", (member, path, expected) => {
    expect(jobFault(member)).toStrictEqual({ path, expected });
  });

  test("names the member that is missing, at any depth", () => {
    const { timeout: _timeout, ...job } = SIGNED_JOB.job;

    expect(fault("create_job", { job })).toStrictEqual({ path: "params.job.timeout", expected: "required" });
    expect(fault("create_job", {})).toStrictEqual({ path: "params.job", expected: "required" });
  });

  test("names an item of a list by its index", () => {
    const registration = { ...RUNNER_DOCUMENT, groups: ["build", 7] };

    expect(fault("register_runner", { registration, signature: SIGNED_RUNNER.signature })).toStrictEqual({
      path: "params.registration.groups.1",
      expected: "must be string",
    });
  });

  test("says so where nothing is wrong after all", () => {
    expect(validator.fault("get_info", {}).data).toStrictEqual({ path: "params", expected: "other parameters" });
  });

  test.each(["__proto__", "constructor", "toString", "hasOwnProperty"])("knows no parameter %s", (name) => {
    const params: JsonObject = Object.fromEntries([[name, {}]]);

    expect(fault("get_info", params)).toStrictEqual({ path: `params.${name}`, expected: "no such parameter" });
  });

  test("cuts names that are long", () => {
    expect(JSON.stringify(fault("get_info", { ["x".repeat(100_000)]: 1 })).length).toBeLessThan(200);
  });
});
