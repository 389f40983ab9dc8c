/** Reads a response object: JSON-RPC 2.0 §5 to the letter, and the result against the method's schema. */
import type { Static, TSchema } from "typebox";
import { Check, Errors } from "typebox/schema";

import { CarrierError } from "../errors.ts";
import { type MethodName, METHODS, type Result } from "../rpc/methods.ts";
import { RpcError } from "./rpc-error.ts";

/** Which answer is expected. */
export interface Expected<Name extends MethodName> {
  readonly name: Name;
  readonly id: string;
}

/**
 * The result in the text of a response.
 * @throws RpcError when it holds an error object.
 * @throws CarrierError when it is no answer to this call; the call may have been carried out all the same.
 */
export function parseResponse<Name extends MethodName>(text: string, { name, id }: Expected<Name>): Result<Name> {
  const response = parseObject(text);
  if (response === undefined || response["jsonrpc"] !== "2.0") throw noAnswer("it is not a JSON-RPC 2.0 response");
  const hasResult = Object.hasOwn(response, "result");
  if (hasResult === Object.hasOwn(response, "error")) throw noAnswer("it has not exactly one of result and error");
  // §5: the id is null where the server could not read the request, and only an error can say that.
  if (response["id"] !== id && (hasResult || response["id"] !== null)) throw noAnswer("it belongs to another call");
  if (!hasResult) throw toRpcError(response["error"]);
  const { result } = response;
  if (isResult(name, result)) return result;
  throw noAnswer(`it is no result of ${name}`);
}

function isResult<Name extends MethodName>(name: Name, value: unknown): value is Result<Name> {
  return isAs(METHODS[name].result, value);
}

/** Is this what the schema promises? Members this client does not know yet are let through: servers grow. */
export function isAs<Schema extends TSchema>(schema: Schema, value: unknown): value is Static<Schema> {
  if (Check(schema, value)) return true;
  const [, errors] = Errors(schema, value);
  return errors.every(
    ({ keyword, schemaPath }) =>
      keyword === "additionalProperties" || (keyword === "boolean" && schemaPath.endsWith("/additionalProperties")),
  );
}

function toRpcError(error: unknown): Error {
  if (!isObject(error)) return noAnswer("its error is not an object");
  const { code, message, data } = error;
  if (!Number.isSafeInteger(code) || typeof code !== "number" || typeof message !== "string") {
    return noAnswer("its error has no code and message");
  }
  return new RpcError(code, message, data);
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    // Not JSON: told to the caller as no answer, like any other text that is none.
    return undefined;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function noAnswer(reason: string): CarrierError {
  return new CarrierError(`The answer can not be used: ${reason}. Is this the address of a supervisor?`, "unknown");
}
