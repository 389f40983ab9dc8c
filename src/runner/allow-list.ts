/** A runner's own allow-list: a file beside the runner, never Redis or the ticket, says whose jobs it runs. */
import { Type } from "typebox";
import { Compile } from "typebox/compile";

import { isCheckedKey } from "../auth/signature.ts";
import { readTrustedText } from "../auth/trusted-file.ts";
import { PublicKey } from "../rpc/schema.ts";
import { parseToml } from "../toml.ts";

/** Keys that may own a job here, each with its principal. */
export type AllowList = ReadonlyMap<string, string>;

const closed = { additionalProperties: false } as const;
const AllowFile = Compile(
  Type.Object(
    {
      allow: Type.Array(
        Type.Object({ principal: Type.String({ minLength: 1, maxLength: 128 }), key: PublicKey }, closed),
      ),
    },
    closed,
  ),
);

/**
 * Parses `[[allow]]` tables of `principal` and `key`. A file with a fault is refused whole: half a list is another list.
 * @throws Error naming the origin, what is wrong, and the fix.
 */
export function parseAllowList(text: string, origin: string): AllowList {
  const file = readTables(text, origin);
  if (!AllowFile.Check(file)) {
    const [error] = AllowFile.Errors(file);
    throw new Error(
      `${origin}: ${error?.instancePath ?? ""} ${error?.message ?? "is wrong"}. ` +
        'Write one table a key: [[allow]], principal = "alice", key = "ed25519:…".',
    );
  }
  const list = new Map<string, string>();
  for (const { principal, key } of file.allow) {
    if (list.has(key)) throw new Error(`${origin}: ${key} stands there twice. Remove one of the two.`);
    if (!isCheckedKey(key)) throw new Error(`${origin}: ${key} is no sound Ed25519 key. Copy it from its owner again.`);
    list.set(key, principal);
  }
  return list;
}

/** Reads and parses the file. @throws Error as {@link parseAllowList}, or when it can not be read, or others may write to it. */
export async function loadAllowList(path: string): Promise<AllowList> {
  return parseAllowList(await readTrustedText(path), path);
}

function readTables(text: string, origin: string): unknown {
  const parsed = parseToml(text);
  if (parsed.ok) return parsed.table;
  throw new Error(`${origin}: ${parsed.fault}`, { cause: parsed.cause });
}
