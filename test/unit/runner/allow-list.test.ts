import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { loadAllowList, parseAllowList } from "../../../src/runner/allow-list.ts";
import { VECTORS } from "../../support/signing.ts";

function table(principal: string, key: string): string {
  return `[[allow]]\nprincipal = "${principal}"\nkey = "${key}"\n`;
}

describe("parseAllowList", () => {
  test("maps keys to principals", () => {
    const text = table("alice", VECTORS.keys.caller) + table("alice", VECTORS.keys.approver);

    expect([...parseAllowList(text, "allow.toml")]).toEqual([
      [VECTORS.keys.caller, "alice"],
      [VECTORS.keys.approver, "alice"],
    ]);
  });

  test.each([
    { name: "no TOML", text: "[[allow", says: "not TOML" },
    { name: "nothing", text: "", says: "[[allow]]" },
    { name: "an unknown member", text: `${table("a", VECTORS.keys.caller)}role = "x"\n`, says: "[[allow]]" },
    { name: "an unknown table", text: `${table("a", VECTORS.keys.caller)}[other]\n`, says: "[[allow]]" },
    { name: "no principal", text: `[[allow]]\nkey = "${VECTORS.keys.caller}"\n`, says: "[[allow]]" },
    { name: "an empty principal", text: table("", VECTORS.keys.caller), says: "/allow/0/principal" },
    { name: "no key", text: table("a", "ed25519:abc"), says: "/allow/0/key" },
    { name: "another kind of key", text: table("a", `x25519:${"0".repeat(64)}`), says: "/allow/0/key" },
    { name: "a key of small order", text: table("a", `ed25519:01${"0".repeat(62)}`), says: "no sound Ed25519 key" },
    {
      name: "a key twice",
      text: table("a", VECTORS.keys.caller) + table("b", VECTORS.keys.caller),
      says: "stands there twice",
    },
  ])("refuses $name whole, naming the file", ({ text, says }) => {
    expect(() => parseAllowList(text, "allow.toml")).toThrow(says);
    expect(() => parseAllowList(text, "allow.toml")).toThrow("allow.toml");
  });

  test("is loaded from a file, unless others may write to it", async () => {
    const directory = await mkdtemp(join(tmpdir(), "horus-allow-test-"));
    const path = join(directory, "allow.toml");
    await writeFile(path, table("alice", VECTORS.keys.caller), { mode: 0o644 });

    expect((await loadAllowList(path)).size).toBe(1);
    await chmod(path, 0o664);
    await expect(loadAllowList(path)).rejects.toThrow(
      "others may write to it, and so say whom to trust. Run: chmod go-w",
    );
    await rm(directory, { recursive: true });
  });
});
