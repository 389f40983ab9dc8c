import { Compile, type Validator } from "typebox/compile";
/** Parameters against the method table: the published schemas, compiled, and what is said when they do not hold. */
import type { TLocalizedValidationError } from "typebox/error";

import { SupervisorError } from "../errors.ts";
import type { JsonObject } from "./message.ts";
import { METHODS, type MethodName, type Params } from "./methods.ts";

/** Longest name of the caller's own making that an answer repeats. */
const SHOWN_NAME = 64;

/** Compiled validators of all methods. Costs some milliseconds once, about a microsecond a call afterwards. */
export class ParamsValidator {
  readonly #validators: ReadonlyMap<string, Validator>;

  constructor() {
    this.#validators = new Map(Object.entries(METHODS).map(([name, method]) => [name, Compile(method.params)]));
  }

  /** Params are taken without the credential (`auth`, `signatures`), whose faults are not the schema's to tell. */
  isParams<Name extends MethodName>(name: Name, params: JsonObject): params is Params<Name> & JsonObject {
    return this.#validators.get(name)?.Check(params) === true;
  }

  /** The first thing wrong with params that {@link isParams} refused: path and what is expected there. */
  fault(name: MethodName, params: JsonObject): SupervisorError {
    const errors = this.#validators.get(name)?.Errors(params) ?? [];
    return new SupervisorError("invalidParams", { data: describe(errors) });
  }
}

/** `path` as in `params.job.timeout`. */
type Fault = { readonly path: string; readonly expected: string };

function describe(errors: readonly TLocalizedValidationError[]): Fault {
  const [first] = errors;
  if (first === undefined) return { path: "params", expected: "other parameters" };
  const path = toPath(first.instancePath);
  // An unknown member shows first as "schema is false" at its own path; an alternative as its first branch.
  if (first.keyword === "boolean") return { path, expected: "no such parameter" };
  const whole = errors.find(({ keyword, instancePath }) => keyword === "anyOf" && instancePath === first.instancePath);
  if (whole !== undefined) return { path, expected: alternatives(errors, first.instancePath) };
  if (first.keyword === "required") {
    return { path: [path, first.params.requiredProperties[0]?.slice(0, SHOWN_NAME)].join("."), expected: "required" };
  }
  return { path, expected: expectation(first) };
}

function expectation(error: TLocalizedValidationError): string {
  if (error.keyword === "const") return JSON.stringify(error.params.allowedValue);
  if (error.keyword === "enum")
    return `one of ${error.params.allowedValues.map((value) => JSON.stringify(value)).join(", ")}`;
  return error.message;
}

function alternatives(errors: readonly TLocalizedValidationError[], instancePath: string): string {
  const branches = errors.filter((error) => error.instancePath === instancePath && error.keyword !== "anyOf");
  return branches.map(expectation).join(" or ");
}

/** JSON Pointer (RFC 6901) to the dotted path that messages use. */
function toPath(pointer: string): string {
  const names = pointer.split("/").slice(1);
  return ["params", ...names.map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~").slice(0, SHOWN_NAME))].join(
    ".",
  );
}
