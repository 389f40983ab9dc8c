/** The OpenRPC document: the method table as its readers want it, in a stable order so that it can be committed. */
import { Type } from "typebox";

import { ERRORS, type ErrorName } from "../errors.ts";
import { exampleAuth } from "./example-auths.ts";
import type { Example, Method } from "./method.ts";
import { METHODS } from "./methods.ts";
import { CallAuth, LoginAuth, SignatureEntry } from "./schema.ts";

type Json = Readonly<Record<string, unknown>>;

interface Reference {
  readonly $ref: string;
}

type ContentDescriptor = {
  readonly name: string;
  readonly description?: string;
  readonly required: boolean;
  /** JSON Schema draft-07. */
  readonly schema: Json;
};

type ExamplePairing = {
  readonly name: string;
  readonly params: readonly { readonly name: string; readonly value: unknown }[];
  readonly result: { readonly name: string; readonly value: unknown };
};

export type OpenRpcMethod = {
  readonly name: string;
  readonly summary: string;
  readonly description: string;
  readonly paramStructure: "by-name";
  readonly params: readonly ContentDescriptor[];
  readonly result: ContentDescriptor;
  readonly errors: readonly Reference[];
  readonly examples: readonly ExamplePairing[];
};

/** OpenRPC 1.3.2, the parts that are used here. */
export type OpenRpcDocument = {
  readonly openrpc: "1.3.2";
  readonly info: Json;
  readonly servers: readonly OpenRpcServer[];
  readonly methods: readonly OpenRpcMethod[];
  readonly components: { readonly errors: Readonly<Record<string, Json>> };
  readonly "x-limits": Readonly<Record<string, number>>;
};

/** Where the API is served by a supervisor that has its defaults. */
export const DEFAULT_SERVERS: readonly OpenRpcServer[] = [{ name: "http", url: "http://localhost:8080/" }];

export type OpenRpcServer = {
  readonly name: string;
  /** Absolute. */
  readonly url: string;
};

interface DocumentOptions {
  /** The program's. */
  readonly version: string;
  /** Where the API is served. */
  readonly servers: readonly OpenRpcServer[];
  /** Every limit by its setting's name. */
  readonly limits: Readonly<Record<string, number>>;
}

const DESCRIPTION =
  "Signed jobs over JSON-RPC 2.0 into runner queues, the same on HTTP, WebSocket and Mycelium. Parameters go by name. " +
  "Methods with `auth` sign each call with an enrolled Ed25519 key; a job carries its own signatures. Every fault of a " +
  "credential, its absence included, is -32001. A signature is plain Ed25519 over DSSE v1's encoding, " +
  "`DSSEv1 <length of type> <type> <length of body> <body>`, lengths in bytes. The type is `application/vnd.horus.call.v1+json` " +
  "(`job` or `login` instead of `call`), the body canonical JSON, keys sorted and without spaces: of a call `auth` less `sig`, " +
  "with `method` and `params` less `auth` added; of a login `auth` less `sig`; of a job the document.";

/** What every method can answer; beside it whatever its credential can go wrong with. */
const SHARED: readonly ErrorName[] = ["invalidParams", "internal", "tooLarge", "tooMany", "unavailable"];
const SIGNED: readonly ErrorName[] = ["unauthenticated", "stale", "forbidden", "replay", "wrongAudience"];

const Signatures = Type.Array(SignatureEntry, {
  title: "Signatures",
  description:
    "Over the job document, by 1 to 16 distinct keys, the caller's own among them; any fault in it is -32001",
  minItems: 1,
  maxItems: 16,
});

/** Makes the document. `rpc.discover` gives it and is itself not in it (OpenRPC 1.3.2, "Service Discovery Method"). */
export function openRpcDocument({ version, servers, limits }: DocumentOptions): OpenRpcDocument {
  const methods = Object.entries(METHODS).filter(([name]) => !name.startsWith("rpc."));
  return {
    openrpc: "1.3.2",
    info: {
      title: "Horus supervisor",
      version,
      description: DESCRIPTION,
      license: { name: "Apache-2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
    },
    servers,
    methods: methods.map(([name, method]) => toMethod(name, method)),
    components: {
      errors: { ...ERRORS },
    },
    "x-limits": limits,
  };
}

function toMethod(name: string, method: Method): OpenRpcMethod {
  const params = toParams(method);
  return {
    name,
    summary: method.summary,
    description: method.description,
    paramStructure: "by-name",
    params,
    result: toDescriptor(`${name}_result`, method.result, true),
    errors: toErrors(method),
    examples: [toExample(name, params, method.example)],
  };
}

/** Required ones first: by position, which some generators think in, none may follow an optional one. */
function toParams({ params, credential }: Method): ContentDescriptor[] {
  const required = new Set(params.required ?? []);
  const descriptors = Object.entries(params.properties).map(([name, schema]) =>
    toDescriptor(name, schema, required.has(name)),
  );
  if (credential === "call") descriptors.push(toDescriptor("auth", CallAuth, true));
  if (credential === "login") descriptors.push(toDescriptor("auth", LoginAuth, true));
  if (credential === "signatures") descriptors.push(toDescriptor("signatures", Signatures, true));
  return [...descriptors.filter((param) => param.required), ...descriptors.filter((param) => !param.required)];
}

function toDescriptor(name: string, typeSchema: object, required: boolean): ContentDescriptor {
  const schema = toPublished({ ...typeSchema }, capital(name));
  const { description } = schema;
  return { name, ...(typeof description === "string" ? { description } : {}), required, schema };
}

function toErrors({ credential, errors }: Method): Reference[] {
  const isSigned = credential === "call" || credential === "login";
  const names = new Set<string>([...SHARED, ...(isSigned ? SIGNED : []), ...errors]);
  // In the order of the table of errors.
  return Object.keys(ERRORS)
    .filter((name) => names.has(name))
    .map((name) => ({ $ref: `#/components/errors/${name}` }));
}

function toExample(
  name: string,
  params: readonly ContentDescriptor[],
  { params: given, result }: Example,
): ExamplePairing {
  const values: Json = { ...given, auth: exampleAuth(name) };
  return {
    name: `${name}_example`,
    params: params
      .filter((param) => values[param.name] !== undefined)
      .map((param) => ({ name: param.name, value: values[param.name] })),
    result: { name: `${name}_result`, value: result },
  };
}

const ALTERNATIVES = "anyOf";
/** Keywords that hold one schema, and what it is called after the one it belongs to. */
const SUFFIXES: Readonly<Record<string, string>> = {
  items: "Item",
  additionalProperties: "Value",
  propertyNames: "Name",
};

/** A schema as it is enforced, with a title wherever it has none: generators name types by it. */
function toPublished(schema: Json, fallback: string): Json {
  const title = typeof schema["title"] === "string" ? schema["title"] : fallback;
  const members: Json = Object.fromEntries(
    Object.entries(schema).map(([keyword, value]) => [keyword, toPublishedMember(keyword, value, title)]),
  );
  return { title, ...members };
}

function toPublishedMember(keyword: string, value: unknown, title: string): unknown {
  if (keyword === ALTERNATIVES && Array.isArray(value)) {
    return value.map((each: unknown) =>
      isJson(each) ? toPublished(each, title + capital(String(each["const"]))) : each,
    );
  }
  if (!isJson(value)) return value;
  if (keyword === "properties") {
    const properties = Object.entries(value);
    return Object.fromEntries(
      properties.map(([name, each]) => [name, isJson(each) ? toPublished(each, capital(name)) : each]),
    );
  }
  const suffix = SUFFIXES[keyword];
  return suffix === undefined ? value : toPublished(value, title + suffix);
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

function isJson(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
