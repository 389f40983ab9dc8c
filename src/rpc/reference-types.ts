/** Schemas of the OpenRPC document in words: types by their titles, each object type described once. */
import type { OpenRpcMethod } from "./openrpc.ts";

export type Json = Readonly<Record<string, unknown>>;

/** Object types and patterned texts of all methods, in the order of their first use. */
export class ReferenceTypes {
  readonly #objects = new Map<string, Json>();
  readonly #texts = new Map<string, Json>();
  readonly #uses = new Map<string, number>();
  /** Titles of the results of methods. */
  readonly #results = new Set<string>();

  constructor(methods: readonly OpenRpcMethod[]) {
    for (const { params, result } of methods) {
      for (const { schema } of params) this.#add(schema);
      this.#results.add(titleOf(result.schema));
      this.#add(result.schema);
    }
  }

  /** The result of one method and of nothing else: described there. */
  isInline(schema: Json): boolean {
    const title = titleOf(schema);
    return this.#results.has(title) && this.#uses.get(title) === 1;
  }

  /** A heading and a table for each object type that stands in more than one place or inside of another. */
  sections(): readonly string[] {
    const shown = [...this.#objects.values()].filter((schema) => !this.isInline(schema));
    return shown.map((schema) => {
      const description = textOf(schema["description"]);
      return [
        `### ${titleOf(schema)}`,
        ...(description === "" ? [] : [`${description}.`]),
        this.membersTable(schema),
      ].join("\n\n");
    });
  }

  /** Strings with a pattern. */
  texts(): readonly Json[] {
    return [...this.#texts.values()];
  }

  membersTable(schema: Json): string {
    const required = new Set(Array.isArray(schema["required"]) ? schema["required"] : []);
    const rows = Object.entries(asJson(schema["properties"])).map(([name, value]) => {
      const member = asJson(value);
      return [`\`${name}\``, typeText(member), required.has(name) ? "" : "optional", textOf(member["description"])];
    });
    return table(["member", "type", "", "meaning"], rows);
  }

  #add(schema: Json): void {
    const title = titleOf(schema);
    this.#uses.set(title, (this.#uses.get(title) ?? 0) + 1);
    if (typeof schema["pattern"] === "string") this.#texts.set(title, this.#texts.get(title) ?? schema);
    if (isObjectType(schema) && !this.#objects.has(title)) this.#objects.set(title, schema);
    for (const below of partsOf(schema)) this.#add(below);
  }
}

/** The schemas right below one. */
function partsOf(schema: Json): readonly Json[] {
  const { properties, items, additionalProperties, propertyNames, anyOf } = schema as Readonly<
    Record<"properties" | "items" | "additionalProperties" | "propertyNames" | "anyOf", unknown>
  >;
  const alternatives: readonly unknown[] = Array.isArray(anyOf) ? anyOf : [];
  return [...Object.values(asJson(properties)), items, additionalProperties, propertyNames, ...alternatives]
    .filter((part) => typeof part === "object")
    .map(asJson)
    .filter((part) => Object.keys(part).length > 0);
}

/** With members of its own; a map or an open object has none. */
export function isObjectType(schema: Json): boolean {
  return schema["type"] === "object" && schema["properties"] !== undefined;
}

/** A type as it stands in a cell. */
export function typeText(schema: Json): string {
  const { anyOf, enum: words, type } = schema as Readonly<Record<"anyOf" | "enum" | "type", unknown>>;
  if (Array.isArray(anyOf)) return anyOf.map((each: unknown) => typeText(asJson(each))).join(" or ");
  if (schema["const"] !== undefined) return code(schema["const"]);
  if (Array.isArray(words)) return words.map(code).join(", ");
  if (type === "array") return `list of ${typeText(asJson(schema["items"]))}${bounds(schema, "minItems", "maxItems")}`;
  if (isObjectType(schema)) return `[${titleOf(schema)}](#${titleOf(schema).toLowerCase()})`;
  if (type === "object") return mapText(schema);
  if (typeof schema["pattern"] === "string") return `[${titleOf(schema)}](#texts)`;
  if (type === "string") return `string${bounds(schema, "minLength", "maxLength")}`;
  return `${textOf(type)}${bounds(schema, "minimum", "maximum")}`;
}

function mapText({ additionalProperties }: Json): string {
  return typeof additionalProperties === "object" ? `map of ${typeText(asJson(additionalProperties))}` : "object";
}

/** Largest integer that JSON's readers agree on: no bound worth a word. */
const NO_BOUND = Number.MAX_SAFE_INTEGER;

function bounds(schema: Json, least: string, most: string): string {
  const { [least]: low, [most]: high } = schema;
  const hasHigh = typeof high === "number" && high !== NO_BOUND;
  if (typeof low === "number" && hasHigh) return `, ${low} to ${high}`;
  if (hasHigh) return `, at most ${high}`;
  return typeof low === "number" ? `, at least ${low}` : "";
}

function code(value: unknown): string {
  return `\`${JSON.stringify(value)}\``;
}

function titleOf(schema: Json): string {
  return textOf(schema["title"]);
}

export function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function asJson(value: unknown): Json {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, head.map(() => "---"), ...rows].map(
    (cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`,
  );
  return lines.join("\n");
}
