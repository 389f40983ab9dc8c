import { assert, property, string } from "fast-check";
import { describe, expect, test } from "vitest";

import { addKey, type EditedKeyring, type NewKey, revokeKey } from "../../../src/auth/keyring-edit.ts";
import { createSigner } from "../../../src/auth/signature.ts";
import { VECTORS } from "../../support/signing.ts";

const { caller, approver, runner } = VECTORS.keys;
const NOW = Date.UTC(2026, 10, 23, 12, 0, 0, 500);

const FILE = `# The root of trust.

# Alice's laptop, lent by Bob
[[key]]
name = "alice"   # not her real name
principal = "alice"
key = "${caller}"
roles = [
  "submitter", # for now
]
# what she may
runners = ["build"]

[[key]] # the boss
  name = "boss"
  principal = "boss"
  cancel_running = false # let them end
  key = "${approver}"
  roles = []

[[require]]
runner = "prod"
principals = ["boss"]
at_least = 1
# the end`;

const aKey: NewKey = { name: "new", principal: "carol", key: runner, roles: ["submitter"], runners: ["gpu-*"] };

function textOf(edited: EditedKeyring): string {
  if (!edited.ok) throw new Error(edited.problem);
  return edited.text;
}

function problemOf(edited: EditedKeyring): string {
  return edited.ok ? "" : edited.problem;
}

describe("addKey", () => {
  test("puts a table at the end and leaves every other byte alone", () => {
    const edited = textOf(addKey(FILE, aKey));

    expect(edited).toBe(
      `${FILE}\n\n[[key]]\nname = "new"\nprincipal = "carol"\nkey = "${runner}"\nroles = ["submitter"]\nrunners = ["gpu-*"]\n`,
    );
  });

  test("writes every field the file knows", () => {
    const node = `x25519:${"ab".repeat(32)}`;
    const edited = addKey(`${FILE}\n`, { ...aKey, notAfter: "2030-01-01", rate: "2.5", overlay: [node] });

    expect(edited).toMatchObject({
      ok: true,
      contents: { keys: [{}, {}, { overlay: [node], rate: 2.5, notAfterMs: Date.UTC(2030, 0, 2) - 1 }] },
    });
  });

  test("keeps the file's ends of lines", () => {
    const edited = textOf(addKey(FILE.replaceAll("\n", "\r\n"), aKey));

    expect(edited.replaceAll("\r\n", "")).not.toContain("\n");
  });

  test.each<readonly [string, Partial<NewKey>, RegExp]>([
    ["a name that is taken", { name: "boss" }, /key "boss": two tables have this name/],
    ["a key that is taken", { key: caller }, /already/],
    ["a key that is none", { key: "ed25519:00" }, /key must be ed25519:/],
    ["a secret seed", { key: "11".repeat(32) }, /key must be ed25519:/],
    ["an unknown role", { roles: ["root"] }, /no role "root"/],
    ["a pattern that is none", { runners: ["a*b"] }, /can not hold "a\*b"/],
    ["a name that could end its line", { name: 'x"\nroles = ["admin"]\n#' }, /name must be/],
    ["a date that is none", { notAfter: "tomorrow" }, /not_after "tomorrow"/],
    ["a date with a table behind it", { notAfter: "2030-01-01\n[[key]]" }, /not_after/],
    ["a day that is none", { notAfter: "2030-02-31" }, /^not_after 2030-02-31 is no day of the calendar/],
    ["a month that is none", { notAfter: "2030-13-01T00:00:00Z" }, /^not_after 2030-13-01T00:00:00Z is no day/],
    ["a rate that is none", { rate: "5\nroles = []" }, /rate/],
    ["a rate of 0", { rate: "0" }, /rate must be a number above 0/],
  ])("refuses %s", (_title, wanted, problem) => {
    expect(problemOf(addKey(FILE, { ...aKey, ...wanted }))).toMatch(problem);
  });

  test("changes nothing of a file that is refused already", () => {
    expect(problemOf(addKey(`${FILE}\nx = 1`, aKey))).not.toBe("");
    expect(problemOf(addKey("", aKey))).toMatch(/no \[\[key\]\] table/);
  });

  test("refuses where the table would become part of something else", () => {
    expect(problemOf(addKey(`${FILE}\n[[require]]\nrunner = """a`, aKey))).not.toBe("");
  });

  test("adds whatever name the parser takes, and nothing beside it", () => {
    const key = createSigner("77".repeat(32)).publicKey;
    assert(
      property(string({ unit: "grapheme", maxLength: 40 }), (name) => {
        const edited = addKey(FILE, { name, principal: name, key, roles: [], runners: [] });
        if (!edited.ok) return;
        expect(edited.contents.keys.at(-1)).toMatchObject({ name, principal: name, key, roles: [] });
        expect(edited.contents.keys).toHaveLength(3);
      }),
    );
  });
});

describe("revokeKey", () => {
  test("sets revoked_at beside the key, and nothing else", () => {
    const edited = textOf(revokeKey(FILE, { which: "alice", now: NOW, cancelRunning: false }));

    expect(edited).toBe(FILE.replace(`"${caller}"\n`, `"${caller}"\nrevoked_at = 2026-11-23T12:00:00Z\n`));
  });

  test("finds a key by itself, and puts cancel_running in the place of what is there", () => {
    const edited = revokeKey(FILE, { which: approver, now: NOW, cancelRunning: true });

    expect(textOf(edited).split("\n").slice(13, 21)).toEqual([
      "[[key]] # the boss",
      '  name = "boss"',
      '  principal = "boss"',
      `  key = "${approver}"`,
      "revoked_at = 2026-11-23T12:00:00Z",
      "cancel_running = true",
      "  roles = []",
      "",
    ]);
    expect(edited).toMatchObject({
      contents: { keys: [{}, { cancelRunning: true, revokedAtMs: Date.UTC(2026, 10, 23, 12) }] },
    });
  });

  test("changes nothing when it is repeated, but takes cancel_running later", () => {
    const once = textOf(revokeKey(FILE, { which: "alice", now: NOW, cancelRunning: false }));
    const twice = textOf(revokeKey(once, { which: "alice", now: NOW + 60_000, cancelRunning: false }));
    const harder = revokeKey(twice, { which: "alice", now: NOW + 60_000, cancelRunning: true });

    expect(twice).toBe(once);
    expect(harder).toMatchObject({
      contents: { keys: [{ cancelRunning: true, revokedAtMs: Date.UTC(2026, 10, 23, 12) }, {}] },
    });
    expect(textOf(revokeKey(textOf(harder), { which: "alice", now: NOW, cancelRunning: false }))).toBe(textOf(harder));
  });

  test("keeps the file's ends of lines", () => {
    const edited = textOf(revokeKey(FILE.replaceAll("\n", "\r\n"), { which: "alice", now: NOW, cancelRunning: true }));

    expect(edited.replaceAll("\r\n", "")).not.toContain("\n");
    expect(edited).toContain("revoked_at = 2026-11-23T12:00:00Z\r\ncancel_running = true\r\n");
  });

  test("names the keys there are when it finds none", () => {
    expect(problemOf(revokeKey(FILE, { which: "bob", now: NOW, cancelRunning: false }))).toBe(
      'no key "bob" in it. There are: "alice", "boss". Nothing was changed; the file can be edited by hand.',
    );
    expect(problemOf(revokeKey("x", { which: "bob", now: NOW, cancelRunning: false }))).toMatch(/not TOML/);
  });

  test.each([
    ["keys are one list of inline tables", `key = [{ name = "a", principal = "a", key = "${caller}", roles = [] }]\n`],
    ["its key is spelt another way", `[[key]]\nname = "a"\nprincipal = "a"\n"key" = "${caller}"\nroles = []\n`],
  ])("leaves a file alone in which %s", (_title, text) => {
    expect(problemOf(revokeKey(text, { which: "a", now: NOW, cancelRunning: false }))).toMatch(/edited by hand/);
  });

  test("leaves a file alone where a text in several lines looks like a table", () => {
    const tricky = `[[key]]\nname = "a"\nprincipal = "a"\nkey = "${caller}"\nroles = []\n[[require]]\nrunner = "r"\nat_least = 1\nprincipals = ['''\n[[key]]\n''']\n`;

    expect(problemOf(revokeKey(tricky, { which: "a", now: NOW, cancelRunning: false }))).not.toBe("");
  });

  test("leaves a file alone where a text in several lines looks like the field it replaces", () => {
    const text = `[[key]]\nname = "a"\nkey = "${caller}"\nroles = []\nprincipal = """\\\n cancel_running = x\\\ny"""\n`;

    expect(problemOf(revokeKey(text, { which: "a", now: NOW, cancelRunning: true }))).toMatch(/touch other tables/);
    expect(revokeKey(text, { which: "a", now: NOW, cancelRunning: false })).toMatchObject({ ok: true });
  });
});
