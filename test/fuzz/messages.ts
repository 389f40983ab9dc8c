/** Malformed messages, whatever carries them: bytes, JSON, JSON-RPC and params. None of them may change anything. */
import {
  constant,
  constantFrom,
  dictionary,
  integer,
  json,
  jsonValue,
  oneof,
  record,
  string,
  uint8Array,
} from "fast-check";

import { isSame, type Mutation, someMutations } from "../support/mutations.ts";
import type { Material, Request } from "./material.ts";
import type { Random } from "./random.ts";

/** What was done, and the bytes that came of it. */
export interface Message {
  readonly name: string;
  readonly bytes: Buffer;
}

interface Chance {
  readonly random: Random;
  readonly material: Material;
  /** Largest body that is taken: some are made to be larger. */
  readonly maxBodyBytes: number;
}

type Maker = (chance: Chance) => Message;

/** More often what reaches deeper. */
const MAKERS: readonly Maker[] = [
  noise,
  damagedBytes,
  damagedBytes,
  anyJson,
  hostileJson,
  anyRequest,
  anyRequest,
  anyParams,
  anyParams,
  damagedExample,
  damagedExample,
  damagedSigned,
  damagedSigned,
  damagedSigned,
  damagedEnvelope,
  damagedEnvelope,
  damagedEnvelope,
  batch,
];

export function aMessage(chance: Chance): Message {
  return chance.random.pick(MAKERS)(chance);
}

/** A job that nobody may send, as bytes. */
export function aStrangersJob({ random, material }: Pick<Chance, "random" | "material">): Buffer {
  return Buffer.from(JSON.stringify(random.pick(material.strangers)));
}

/** Bits, cuts and repeats anywhere. */
export function damaged(bytes: Buffer, random: Random): Message {
  const at = random.below(bytes.length);
  const length = 1 + random.below(random.pick([1, 8, 200]));
  const [before, piece, after] = [bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at + length)];
  const name = random.pick(["bit", "cut", "dropped", "repeated", "noise", "zeros", "moved"]);
  switch (name) {
    case "bit": {
      const flipped = Buffer.from(bytes);
      for (let count = random.pick([1, 1, 2, 8]); count > 0; count -= 1) {
        const place = random.below(flipped.length);
        flipped[place] = (flipped[place] ?? 0) ^ (1 << random.below(8));
      }
      return { name, bytes: flipped };
    }
    case "cut":
      return { name, bytes: before };
    case "dropped":
      return { name, bytes: Buffer.concat([before, after]) };
    case "repeated":
      return {
        name,
        bytes: Buffer.concat([before, ...Array.from({ length: 1 + random.below(20) }, () => piece), after]),
      };
    case "noise":
      return { name, bytes: Buffer.concat([before, random.bytes(length), after]) };
    case "zeros":
      return { name, bytes: Buffer.concat([before, Buffer.alloc(length), after]) };
    default:
      return { name, bytes: Buffer.concat([after, piece, before]) };
  }
}

function noise({ random }: Chance): Message {
  return { name: "noise", bytes: Buffer.from(random.value(uint8Array({ maxLength: 300 }))) };
}

/** Of a stranger's job: a bit that falls into white space or an id would leave a good one good. */
function damagedBytes(chance: Chance): Message {
  const { name, bytes } = damaged(aStrangersJob(chance), chance.random);
  return { name: `bytes: ${name}`, bytes };
}

function anyJson({ random }: Chance): Message {
  const text = random.value(json({ maxDepth: random.below(6), stringUnit: "binary" }));
  return { name: "any JSON", bytes: Buffer.from(text) };
}

/** What parsers stumble over. */
function hostileJson({ random, maxBodyBytes }: Chance): Message {
  const depth = random.pick([31, 32, 33, 1000, 20_000]);
  const many = random.pick([1023, 1024, 1025, 5000]);
  const text = random.pick<() => string>([
    () => "[".repeat(depth) + "]".repeat(depth),
    () => "[".repeat(depth),
    () => '{"a":'.repeat(depth) + "1" + "}".repeat(depth),
    () => `{"jsonrpc":"2.0","id":1,"method":"get_info","params":{"x":${"[".repeat(depth)}${"]".repeat(depth)}}}`,
    () => `{${Array.from({ length: many }, (_, index) => `"k${index}":${index}`).join(",")}}`,
    () => `[[${"0,".repeat(many)}0]]`,
    () =>
      `{"jsonrpc":"2.0","id":${random.pick(["1e400", "-0", "9007199254740993", `1${"0".repeat(5000)}`, "1.5e-300"])},"method":"get_info"}`,
    () => `{"jsonrpc":"2.0","id":"${random.pick(["\\ud800", "\\u0000", "é", "x".repeat(5000)])}","method":"get_info"}`,
    () =>
      `{"jsonrpc":"2.0","id":1,"method":"${random.pick(["__proto__", "constructor", "toString", "hasOwnProperty", "rpc.discover ", "rpc.x", "\\u0000"])}"}`,
    () => '{"jsonrpc":"2.0","id":1,"method":"get_info","params":{"__proto__":{"x":1}}}',
    () => '{"jsonrpc":"2.0","id":1,"\\u006dethod":"get_info","method":"whoami"}',
    () => `"${"\\".repeat(20_000)}`,
    () => " ".repeat(maxBodyBytes + random.pick([-1, 0, 1, 1000])),
    () => `{"jsonrpc":"2.0","id":1,"method":"${"x".repeat(maxBodyBytes)}"}`,
    () => "\ufeff{}",
    () => "NaN",
    () => "",
    () => "\u0000",
  ])();
  const encoded = random.chance(0.05) ? Buffer.from(text, "utf16le") : Buffer.from(text);
  return { name: "hostile JSON", bytes: encoded };
}

const ANY_VALUE = jsonValue({ maxDepth: 2, stringUnit: "binary" });

function anyRequest({ random, material }: Chance): Message {
  const names = material.examples.map(({ method }) => method);
  const request = record(
    {
      jsonrpc: oneof({ weight: 4, arbitrary: constant("2.0") }, ANY_VALUE),
      id: oneof(integer(), string({ unit: "binary" }), ANY_VALUE),
      method: oneof({ weight: 4, arbitrary: constantFrom(...names) }, string({ unit: "binary" }), ANY_VALUE),
      params: oneof(constant({}), ANY_VALUE),
      extra: ANY_VALUE,
    },
    { requiredKeys: [] },
  );
  return { name: "any request", bytes: Buffer.from(JSON.stringify(random.value(request))) };
}

/** A method's own names of params with values that are none. */
function anyParams({ random, material }: Chance): Message {
  const { method, params } = random.pick(material.examples);
  const names = [...Object.keys(params), "auth", "signatures", "x"];
  const any = dictionary(constantFrom(...names), ANY_VALUE, { maxKeys: names.length });
  const mixed = random.chance(0.5) ? { ...params, ...random.value(any) } : random.value(any);
  return { name: `any params of ${method}`, bytes: Buffer.from(JSON.stringify(rpc(method, mixed))) };
}

function damagedExample({ random, material }: Chance): Message {
  const example = random.pick(material.examples);
  const [mutation] = someMutations(1, example, material.examples, random.seed());
  return { name: `example: ${mutation?.name}`, bytes: mutation?.bytes ?? Buffer.alloc(0) };
}

/** Of what an enrolled key has signed: anything but the same document is to be refused. */
function damagedSigned({ random, material }: Chance): Message {
  const { method, params } = random.pick(material.signed);
  const donors = [...material.signed, ...material.strangers].map((request) => request.params);
  const mutation = firstOther(params, donors, random);
  const head = Buffer.from(`{"jsonrpc":"2.0","id":1,"method":"${method}","params":`);
  return { name: `${method}: ${mutation.name}`, bytes: Buffer.concat([head, mutation.bytes, Buffer.from("}")]) };
}

function firstOther(params: object, donors: readonly object[], random: Random): Mutation {
  for (;;) {
    const found = someMutations(8, params, donors, random.seed()).find(
      (mutation) => mutation.isAmbiguous || !isSame(mutation.bytes, params),
    );
    if (found !== undefined) return found;
  }
}

type Envelope = (request: Request, text: string) => unknown;

/** Around params that are good: JSON-RPC 2.0 §4 refuses every one of them, or no answer would reach who sent it. */
const ENVELOPES: Readonly<Record<string, Envelope>> = {
  "no jsonrpc": (request) => ({ ...request, jsonrpc: undefined }),
  "jsonrpc 1.0": (request) => ({ ...request, jsonrpc: "1.0" }),
  "jsonrpc as a number": (request) => ({ ...request, jsonrpc: 2 }),
  "jsonrpc null": (request) => ({ ...request, jsonrpc: null }),
  "a notification": (request) => ({ ...request, id: undefined }),
  "an id that is an object": (request) => ({ ...request, id: {} }),
  "an id that is an array": (request) => ({ ...request, id: [1] }),
  "an id that is a boolean": (request) => ({ ...request, id: true }),
  "an id that is no number any more": (_request, text) => text.replace('"id":1', '"id":1e400'),
  "a method in capitals": (request) => ({ ...request, method: request.method.toUpperCase() }),
  "a method with a space": (request) => ({ ...request, method: `${request.method} ` }),
  "a method in an array": (request) => ({ ...request, method: [request.method] }),
  "no method": (request) => ({ ...request, method: undefined }),
  "params in an array": (request) => ({ ...request, params: [request.params] }),
  "params by position": (request) => ({ ...request, params: Object.values(request.params) }),
  "params as text": (request) => ({ ...request, params: JSON.stringify(request.params) }),
  "params null": (request) => ({ ...request, params: null }),
  "one param more": (request) => ({ ...request, params: { ...request.params, x: 1 } }),
  "a batch in a batch": (request) => [[request]],
  "the method twice": (_request, text) => text.replace('"method":', '"method":"get_info","method":'),
  "the params twice": (_request, text) => text.replace('"params":', '"params":{},"params":'),
  "a byte order mark": (_request, text) => `\ufeff${text}`,
  "UTF-16": (_request, text) => Buffer.from(text, "utf16le"),
  "not UTF-8": (_request, text) => Buffer.concat([Buffer.from(text.slice(0, -1)), Buffer.of(0xff), Buffer.from("}")]),
  "something behind it": (_request, text) => `${text}x`,
  "itself behind it": (_request, text) => text + text,
  "a comma too many": (_request, text) => `${text.slice(0, -1)},}`,
  "a comment": (_request, text) => `/**/${text}`,
  "single quotes": (_request, text) => text.replaceAll('"', "'"),
  "a zero byte": (_request, text) => `${text}\u0000`,
  "no end": (_request, text) => text.slice(0, -1),
};

function damagedEnvelope({ random, material, maxBodyBytes }: Chance): Message {
  const request = random.pick(material.signed);
  const text = JSON.stringify(request);
  if (random.chance(0.05)) return { name: "too long", bytes: Buffer.from(text.padEnd(maxBodyBytes + 1)) };
  const name = random.pick(Object.keys(ENVELOPES));
  return { name: `envelope: ${name}`, bytes: toBytes(ENVELOPES[name]?.(request, text)) };
}

function toBytes(value: unknown): Buffer {
  if (Buffer.isBuffer(value)) return value;
  return Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
}

/** Entries of every kind that are JSON, some of them too many. */
function batch(chance: Chance): Message {
  const { random, material } = chance;
  const count = random.pick([0, 1, 2, 5, 30, 101]);
  const entries = Array.from({ length: count }, () =>
    random.pick([
      () => JSON.stringify(random.value(ANY_VALUE)),
      () => JSON.stringify(random.pick(material.strangers)),
      () => JSON.stringify(random.pick(material.examples)),
      () => JSON.stringify({ ...random.pick(material.signed), id: undefined }),
      () => '{"jsonrpc":"2.0","method":"get_info"}',
    ])(),
  );
  return { name: `batch of ${count}`, bytes: Buffer.from(`[${entries.join(random.chance(0.95) ? "," : ",,")}]`) };
}

function rpc(method: string, params: object): Request {
  return { jsonrpc: "2.0", id: 1, method, params };
}
