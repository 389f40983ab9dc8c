import { describe, expect, test } from "vitest";

import { parseResponse } from "../../../src/client/response.ts";
import { RpcError } from "../../../src/client/rpc-error.ts";
import { CarrierError } from "../../../src/errors.ts";
import { JOB_SUMMARY, JOB_VIEW } from "../../../src/rpc/examples.ts";
import { isMethodName, type MethodName, METHODS } from "../../../src/rpc/methods.ts";

const answer = (members: object): string => JSON.stringify({ jsonrpc: "2.0", id: "a-1", ...members });
const parse = (text: string, name: MethodName = "wait_job"): unknown => parseResponse(text, { name, id: "a-1" });

describe("parseResponse", () => {
  test.each(Object.keys(METHODS).filter(isMethodName))("takes the example of %s", (name) => {
    const { result } = METHODS[name].example;

    expect(parse(answer({ result }), name)).toEqual(result);
  });

  test("takes padding around the response, and members this client does not know, at any depth", () => {
    const grown = { ...JOB_VIEW, ticket: { ...JOB_VIEW.ticket, seal: 1 }, colour: "blue" };

    expect(parse(`${answer({ result: grown })}   \n`, "get_job")).toEqual(grown);
  });

  test.each([
    ["nothing", ""],
    ["a web page", "<html>"],
    ["a list", `[${answer({ result: JOB_SUMMARY })}]`],
    ["null", "null"],
    ["another version", answer({ jsonrpc: "1.0", result: JOB_SUMMARY })],
    ["no version", JSON.stringify({ id: "a-1", result: JOB_SUMMARY })],
    ["another id", answer({ id: "a-2", result: JOB_SUMMARY })],
    ["a result with id null", answer({ id: null, result: JOB_SUMMARY })],
    ["another call's error", answer({ id: "a-2", error: { code: 1, message: "x" } })],
    ["neither result nor error", answer({})],
    ["both", answer({ result: JOB_SUMMARY, error: { code: 1, message: "x" } })],
    ["an error that is text", answer({ error: "no" })],
    ["an error without a code", answer({ error: { message: "no" } })],
    ["an error with a fraction as code", answer({ error: { code: 1.5, message: "no" } })],
    ["an error without a message", answer({ error: { code: 1 } })],
    ["a result that lacks a member", answer({ result: { id: JOB_SUMMARY.id } })],
    ["a result with a wrong member", answer({ result: { ...JOB_SUMMARY, state: "done" } })],
    ["a result of another kind", answer({ result: [] })],
    ["a wrong member beside an unknown one", answer({ result: { ...JOB_SUMMARY, colour: 1, revision: "3" } })],
  ])("takes %s for no answer; the call may have been carried out", (_title, text) => {
    let thrown: unknown;
    try {
      parse(text);
    } catch (error) {
      thrown = error;
    }

    expect(thrown).toBeInstanceOf(CarrierError);
    expect(thrown).toMatchObject({
      applied: "unknown",
      message: expect.stringContaining("address of a supervisor") as unknown,
    });
  });

  test.each(["a-1", null])("throws the error object of an answer with id %j", (id) => {
    const error = { code: -32_700, message: "Parse error", data: { at: 1 } };

    expect(() => parse(answer({ id, error }))).toThrow(RpcError);
    expect(() => parse(answer({ id, error }))).toThrow(expect.objectContaining(error));
  });
});
