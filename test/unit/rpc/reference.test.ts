import { readFileSync } from "node:fs";

import { describe, expect, test } from "vitest";

import { buildConfig } from "../../../src/config.ts";
import { METHODS } from "../../../src/rpc/methods.ts";
import { DEFAULT_SERVERS, openRpcDocument } from "../../../src/rpc/openrpc.ts";
import { referencePage } from "../../../src/rpc/reference.ts";
import { limitsOf } from "../../../src/supervisor.ts";

const document = openRpcDocument({
  version: "1.2.3",
  servers: DEFAULT_SERVERS,
  limits: limitsOf(buildConfig({})),
});
const page = referencePage(document);

/** Text between the heading of this name and the next of its kind. */
function sectionOf(name: string): string {
  const [, section = ""] = new RegExp(`^### ${name}\\n([\\s\\S]*?)(?=^##|$(?![\\s\\S]))`, "mu").exec(page) ?? [];
  return section;
}

/** As GitHub makes them. */
function anchorsOf(text: string): ReadonlySet<string> {
  return new Set(
    [...text.matchAll(/^#+ (.+)$/gmu)].map(([, heading = ""]) => heading.toLowerCase().replaceAll(" ", "-")),
  );
}

describe("the API reference", () => {
  test("is the committed page", () => {
    const committed = readFileSync(new URL("../../../src/rpc/README.md", import.meta.url), "utf8");

    expect(committed).toBe(page);
  });

  test("links to nothing that is not there, and describes no type twice", () => {
    const headings = [...page.matchAll(/^### (.+)$/gmu)].map(([, heading]) => heading);
    const linked = [...page.matchAll(/\]\(#([^)]+)\)/gu)].map(([, anchor = ""]) => anchor);

    expect(new Set(headings).size).toBe(headings.length);
    expect(linked.length).toBeGreaterThan(300);
    expect(linked.filter((anchor) => !anchorsOf(page).has(anchor))).toStrictEqual([]);
  });

  test("has words for every type", () => {
    expect(page).not.toMatch(/undefined|\[object|\[\]\(|\| {2}\| {2}\| {2}\|/u);
    expect(page).toContain("| `env_vars` | map of string");
    expect(page).toContain("| `limit` | integer, 1 to 200 |");
    expect(page).toContain("| PublicKey | Ed25519 public key | `^ed25519:");
  });

  test("tells every limit with its default", () => {
    for (const [name, value] of Object.entries(document["x-limits"])) {
      expect(page).toContain(`| \`${name}\` | ${value} |`);
    }
  });
});

describe.each(document.methods)(
  "the API reference: $name",
  ({ name, summary, description, params, errors, examples }) => {
    const section = sectionOf(name);
    const [example] = examples;

    test("tells what it does, with which parameters, and what can go wrong", () => {
      expect(section).toContain(`**${summary}.** ${description}`);
      for (const param of params) expect(section).toMatch(new RegExp(`^\\| \`${param.name}\` \\|`, "mu"));
      for (const { $ref } of errors)
        expect(section).toContain(` ${$ref.replace("#/components/errors/", "")}](#errors)`);
      expect(section).toMatch(/^Result:/mu);
    });

    test("tells who may call it", () => {
      const { access } = Object.entries(METHODS).find(([each]) => each === name)?.[1] ?? { access: {} };

      expect(section).toContain("- Credential: ");
      for (const role of Object.keys(access)) expect(section).toMatch(new RegExp(`^- Roles: .*${role} \\(`, "mu"));
    });

    test("has the document's example as it travels", () => {
      const [request, answer] = [...section.matchAll(/^```json\n([\s\S]*?)^```$/gmu)].map(
        ([, text = ""]) => JSON.parse(text) as unknown,
      );

      const sent = Object.fromEntries(example?.params.map((param) => [param.name, param.value]) ?? []);
      expect(request).toStrictEqual({
        jsonrpc: "2.0",
        id: 1,
        method: name,
        ...(params.length === 0 ? {} : { params: sent }),
      });
      expect(answer).toStrictEqual({ jsonrpc: "2.0", result: example?.result.value, id: 1 });
    });
  },
);
