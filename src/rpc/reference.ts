/** The API as a page for people (Markdown): the OpenRPC document, and what of the method table has no place in it. */
import { ERRORS } from "../errors.ts";
import type { Credential, Method } from "./method.ts";
import { METHODS } from "./methods.ts";
import type { OpenRpcDocument, OpenRpcMethod } from "./openrpc.ts";
import { isObjectType, type Json, ReferenceTypes, table, textOf, typeText } from "./reference-types.ts";

const CREDENTIALS: Readonly<Record<Credential, string>> = {
  none: "none, anybody may",
  call: "`auth`, a signature of this call",
  signatures: "`signatures`, of the job itself",
  login: "`auth`, a signature of the connection's challenge",
};

const REACH = {
  own: "their own",
  redacted: "everybody's, without content",
  all: "everybody's",
} as const;

/** The whole page; ends with a line feed. */
export function referencePage(document: OpenRpcDocument): string {
  const types = new ReferenceTypes(document.methods);
  const index = document.methods.map(({ name, summary }) => [`[${name}](#${name})`, summary]);
  const parts = [
    "# The API",
    "<!-- Made by `npm run reference` from the method table (methods.ts); a gate compares. -->",
    String(document.info["description"]),
    "The same for programs is [openrpc.json](../../openrpc.json), also served at `GET /openrpc.json` and by the method " +
      "`rpc.discover`. What is signed, byte for byte, is in [signature.ts](../auth/signature.ts); the client of this package does it. " +
      "Every example is really signed, for the moment, the supervisor and the keys of [signing.json](../../test/vectors/signing.json).",
    table(["method", ""], index),
    "## Methods",
    ...document.methods.map((method) => methodSection(method, types)),
    "## Types",
    ...types.sections(),
    "### Texts",
    textsTable(types),
    "## Errors",
    errorsTable(),
    "## Limits",
    "Every one a setting; those of a running supervisor are in `get_info` and in `x-limits` of its document.",
    limitsTable(document["x-limits"]),
  ];
  return `${parts.join("\n\n")}\n`;
}

function methodSection(published: OpenRpcMethod, types: ReferenceTypes): string {
  const { name, summary, description, params, result, errors } = published;
  const facts = factsOf(name);
  const parts = [
    `### ${name}`,
    `**${summary}.** ${description}`,
    facts.map((fact) => `- ${fact}`).join("\n"),
    params.length === 0
      ? "No parameters."
      : table(
          ["parameter", "type", "", "meaning"],
          params.map((param) => [
            `\`${param.name}\``,
            typeText(param.schema),
            param.required ? "required" : "",
            param.description ?? "",
          ]),
        ),
    resultText(result.schema, types),
    `Errors: ${errors.map(({ $ref }) => errorLink($ref.replace("#/components/errors/", ""))).join(", ")}.`,
    exampleText(published),
  ];
  return parts.join("\n\n");
}

/** Who may, and how it behaves: what OpenRPC has no words for. */
function factsOf(name: string): readonly string[] {
  const method = methodOf(name);
  const { credential, effect, waits, access } = method;
  const roles = Object.entries(access).map(([role, reach]) => `${role} (${REACH[reach]})`);
  return [
    `Credential: ${CREDENTIALS[credential]}.`,
    ...(roles.length === 0 ? [] : [`Roles: ${roles.join(", ")}.`]),
    effect === "change" ? "Changes something: refused as a notification; safe to repeat." : "Reads.",
    ...(waits === undefined ? [] : [`Holds the call open for up to \`${waits}\`.`]),
  ];
}

function methodOf(name: string): Method {
  const method: Method | undefined = new Map<string, Method>(Object.entries(METHODS)).get(name);
  if (method === undefined) throw new Error(`${name} is not in the method table.`);
  return method;
}

function resultText(schema: Json, types: ReferenceTypes): string {
  if (!isObjectType(schema)) return `Result: ${typeText(schema)}.`;
  return types.isInline(schema) ? `Result:\n\n${types.membersTable(schema)}` : `Result: ${typeText(schema)}.`;
}

/** The request as it travels, what comes back, and the same by the client, which signs it anew. */
function exampleText({ name, examples: [example] }: OpenRpcMethod): string {
  if (example === undefined) throw new Error(`${name} has no example.`);
  const params = Object.fromEntries(example.params.map((param) => [param.name, param.value]));
  const request = { jsonrpc: "2.0", id: 1, method: name, ...(Object.keys(params).length === 0 ? {} : { params }) };
  const answer = { jsonrpc: "2.0", result: example.result.value, id: 1 };
  return [
    `\`\`\`ts\n${clientText(name, params)}\n\`\`\``,
    `<details><summary>On the wire</summary>\n\n\`\`\`json\n${pretty(request)}\n\`\`\`\n\n\`\`\`json\n${pretty(answer)}\n\`\`\`\n\n</details>`,
  ].join("\n\n");
}

/** In the client's words, which signs for itself; a login binds a connection, which the client never needs. */
function clientText(name: string, { auth: _auth, ...params }: Json): string {
  switch (methodOf(name).credential) {
    case "signatures":
      return "await client.submitJob(await signJob(signer, buildJob({ supervisor, caller: signer.publicKey, runner, payload })));";
    case "login":
      return "// The client signs each call instead.";
    case "call":
    case "none":
      return `await client.call("${name}", ${JSON.stringify(params, undefined, 2)});`;
  }
}

function pretty(value: unknown): string {
  return JSON.stringify(value, undefined, 2);
}

function errorLink(name: string): string {
  const { code } = Object.entries(ERRORS).find(([each]) => each === name)?.[1] ?? { code: name };
  return `[${code} ${name}](#errors)`;
}

function errorsTable(): string {
  return table(
    ["code", "name", "message"],
    Object.entries(ERRORS).map(([name, { code, message }]) => [String(code), name, message]),
  );
}

function limitsTable(limits: Readonly<Record<string, number>>): string {
  return table(
    ["limit", "default"],
    Object.entries(limits).map(([name, value]) => [`\`${name}\``, String(value)]),
  );
}

function textsTable(types: ReferenceTypes): string {
  return table(
    ["text", "meaning", "form"],
    types
      .texts()
      .map((schema) => [textOf(schema["title"]), textOf(schema["description"]), `\`${textOf(schema["pattern"])}\``]),
  );
}
