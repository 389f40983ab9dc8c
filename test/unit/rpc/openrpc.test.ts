import { validateOpenRPCDocument } from "@open-rpc/schema-utils-js";
import { Compile } from "typebox/compile";
import { describe, expect, test } from "vitest";

import { canonicalText } from "../../../src/auth/canonical-json.ts";
import { signingInput, verifySignature } from "../../../src/auth/signature.ts";
import { ERRORS } from "../../../src/errors.ts";
import { exampleAuth } from "../../../src/rpc/example-auths.ts";
import { METHODS } from "../../../src/rpc/methods.ts";
import { DEFAULT_SERVERS, openRpcDocument } from "../../../src/rpc/openrpc.ts";

const OPTIONS = { version: "1.2.3", servers: DEFAULT_SERVERS, limits: { max_body_bytes: 2_097_152 } };
const document = openRpcDocument(OPTIONS);
const { methods } = document;
const schemas = methods.flatMap(({ name, params, result }) =>
  [...params, result].flatMap((part) => subschemas(part.schema, `${name}.${part.name}`)),
);

/** A schema and all below it, each with the way to it. */
function subschemas(
  schema: unknown,
  path: string,
): { readonly path: string; readonly schema: Readonly<Record<string, unknown>> }[] {
  if (!isRecord(schema)) return [];
  const lists = ["anyOf", "oneOf", "allOf"].map((keyword) => schema[keyword]).filter(Array.isArray);
  const singles = ["items", "additionalProperties", "propertyNames"].map(
    (keyword) => [keyword, schema[keyword]] as const,
  );
  const named = isRecord(schema["properties"]) ? Object.entries(schema["properties"]) : [];
  const below = [
    ...singles,
    ...named,
    ...lists.flatMap((list: unknown[]) => list.map((each, index) => [String(index), each] as const)),
  ];
  return [{ path, schema }, ...below.flatMap(([name, each]) => subschemas(each, `${path}.${name}`))];
}

/** Whether it is one is what is being tested. */
function isTheirs(value: unknown): value is Parameters<typeof validateOpenRPCDocument>[0] {
  return isRecord(value);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isTitled({ schema: { title } }: { readonly schema: Readonly<Record<string, unknown>> }): boolean {
  return typeof title === "string" && /^[A-Za-z]\w*$/.test(title);
}

describe("openRpcDocument", () => {
  test("is an OpenRPC document to the reference validator", () => {
    const published: unknown = JSON.parse(JSON.stringify(document));

    expect(isTheirs(published) && validateOpenRPCDocument(published)).toBe(true);
  });

  test("says version, absolute URL and limits", () => {
    expect(document).toMatchObject({
      openrpc: "1.3.2",
      info: { title: "Horus supervisor", version: "1.2.3", license: { name: "Apache-2.0" } },
      servers: [{ url: "http://localhost:8080/" }],
      "x-limits": { max_body_bytes: 2_097_152 },
    });
  });

  test("holds every method of the table but rpc.discover, each once", () => {
    expect(methods.map(({ name }) => name)).toStrictEqual(
      Object.keys(METHODS).filter((name) => name !== "rpc.discover"),
    );
    expect(methods.map(({ name }) => name)).toContain("get_info");
  });

  test("is the same text every time", () => {
    expect(JSON.stringify(openRpcDocument(OPTIONS))).toBe(JSON.stringify(document));
  });

  test("gives every schema a title that generators can name a type by", () => {
    expect(schemas.length).toBeGreaterThan(300);
    expect(schemas.filter((each) => !isTitled(each)).map(({ path }) => path)).toStrictEqual([]);
  });

  test("keeps to draft-07: nothing that later drafts or other dialects brought", () => {
    const foreign = [
      "$id",
      "$defs",
      "$ref",
      "patternProperties",
      "prefixItems",
      "unevaluatedProperties",
      "dependentRequired",
      "nullable",
    ];
    expect(schemas.filter(({ schema }) => foreign.some((keyword) => keyword in schema))).toStrictEqual([]);
    expect(JSON.stringify(document)).not.toMatch(/"\$(id|defs)"/);
  });

  test("enforces what it publishes: closed objects, but for maps and the open document", () => {
    const open = schemas.filter(
      ({ schema }) => schema["type"] === "object" && schema["additionalProperties"] === undefined,
    );
    expect(new Set(open.map(({ schema }) => schema["title"]))).toStrictEqual(new Set(["JobDocumentShown"]));
  });

  test("names every error it refers to, once a method, by its code in the reserved ranges", () => {
    expect(document.components.errors).toStrictEqual(JSON.parse(JSON.stringify(ERRORS)));
    const codes = Object.values(ERRORS).map(({ code }) => code);
    expect(new Set(codes).size).toBe(codes.length);
    const named = new Set<number>([-32_700, -32_600, -32_601, -32_602, -32_603]);
    expect(codes.filter((code) => !named.has(code) && (code > -32_000 || code < -32_099))).toStrictEqual([]);
    for (const { errors } of methods) {
      const names = errors.map(({ $ref }) => $ref.replace("#/components/errors/", ""));
      expect(Object.keys(ERRORS)).toStrictEqual(expect.arrayContaining(names));
      expect(new Set(names).size).toBe(names.length);
    }
  });
});

describe.each(methods)(
  "openRpcDocument: $name",
  ({ name, params, result, errors, examples, paramStructure, summary }) => {
    const [example] = examples;

    test("takes its parameters by name, each once, required ones first", () => {
      expect(paramStructure).toBe("by-name");
      expect(new Set(params.map((param) => param.name)).size).toBe(params.length);
      const required = params.map((param) => param.required);
      expect(required).toStrictEqual(required.toSorted((a, b) => Number(b) - Number(a)));
      expect(summary).not.toMatch(/\.$/);
    });

    test("publishes the credential and what can be wrong with it", () => {
      const credential = params.find((param) => param.name === "auth" || param.name === "signatures");
      const refs = errors.map(({ $ref }) => $ref);

      expect(credential?.name).toBe(
        { none: undefined, call: "auth", signatures: "signatures", login: "auth" }[methodOf(name).credential],
      );
      expect(refs.includes("#/components/errors/unauthenticated")).toBe(credential !== undefined);
      expect(credential?.required ?? true).toBe(true);
    });

    test("has one example, which its schemas take", () => {
      expect(examples).toHaveLength(1);
      const values = new Map(example?.params.map((each) => [each.name, each.value]));
      expect([...values.keys()].filter((key) => !params.some((param) => param.name === key))).toStrictEqual([]);
      expect(params.filter((param) => param.required && !values.has(param.name))).toStrictEqual([]);
      for (const param of params) {
        expect(values.has(param.name) ? Compile(param.schema).Errors(values.get(param.name)) : []).toStrictEqual([]);
      }
      expect(Compile(result.schema).Errors(example?.result.value)).toStrictEqual([]);
    });

    test("has an example that is really signed", () => {
      const auth = exampleAuth(name);
      const { credential } = methodOf(name);
      expect(auth !== undefined).toBe(credential === "call" || credential === "login");
      const { sig, ...signed } = auth ?? { sig: "", key: "" };
      const called = credential === "call" ? { method: name, params: methodOf(name).example.params } : {};
      const canonical = canonicalText({ ...signed, ...called });

      const text = canonical.ok ? canonical.text : "";
      const input = signingInput(credential === "login" ? "login" : "call", text);
      expect(auth === undefined || verifySignature(signed.key, sig, input)).toBe(true);
    });
  },
);

function methodOf(name: string): (typeof METHODS)[keyof typeof METHODS] {
  const method = Object.entries(METHODS).find(([each]) => each === name)?.[1];
  if (method === undefined) throw new Error(`no method ${name}`);
  return method;
}
