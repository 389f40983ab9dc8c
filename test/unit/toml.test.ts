import { describe, expect, test } from "vitest";

import { parseToml } from "../../src/toml.ts";

function faultOf(text: string): string {
  const parsed = parseToml(text);
  return parsed.ok ? "" : parsed.fault;
}

describe("What is no TOML", () => {
  test.each<[string, string]>([
    ["[http]\nhost = localhost", 'line 2, column 8 (host = localhost): a text needs quotes around it: "…"'],
    ["[http]\nport = # later", "line 2, column 8 (port = # later): the value is missing"],
    ["name = “alice”", 'line 1, column 8 (name = “alice”): quotes are straight ones: "…"'],
    ["x = True", "line 1, column 5 (x = True): true and false are written in small letters"],
    ["[http\nport = 80", "line 1, column 6 ([http): the brackets of the table's name are not closed"],
    ["[[allow]\n", "line 1, column 9 ([[allow]): the brackets of the table's name are not closed"],
    ["port 80", "line 1, column 6 (port 80): a line is NAME = VALUE, or the [NAME] of a table"],
    ["= 3", "line 1, column 1 (= 3): a line is NAME = VALUE, or the [NAME] of a table"],
    ["port = 1\nport = 2", "line 2, column 1 (port = 2): it stands there before already; leave one of the two"],
    ['a = "b\nc = 1', 'line 1, column 7 (a = "b): the quotes are not closed on this line'],
    ["a = 'b", "line 1, column 5 (a = 'b): the quotes are not closed on this line"],
    ["a = [1, 2\nb = 3", "line 2, column 1 (b = 3): a comma or a closing bracket is missing before this"],
    ["a = 007", "line 1, column 5 (a = 007): a number has no leading zero, a text needs quotes around it"],
    ['a = "\\q"', "line 1, column 7 (a = \"\\q\"): a backslash is written twice, or stands in 'single quotes'"],
    ["a = 1 b = 2", "line 1, column 7 (a = 1 b = 2): one setting a line; a text needs quotes around all of it"],
    ["a = 2027-1-1", "line 1, column 9 (a = 2027-1-1): a number has digits alone, a date is written 2027-01-31"],
  ])("%j is told by its place, its line and the fix", (text, says) => {
    expect(faultOf(text)).toContain(`not TOML at ${says}`);
    expect(faultOf(text)).toMatch(/[^.]\.$/u);
  });

  test.each([
    "url = redis://:secret@host",
    '"url" "redis://u:se/cret@host',
    "url = :secret@host",
    "url = redis//:secret",
    "url = redis:secret",
    'url = """redis://:\\\nsecret\\q@host"""',
    "secret@host",
  ])("%j shows no password", (line) => {
    expect(faultOf(line)).toMatch(/line \d, column \d+ \((?:url)? …\)/u);
    expect(faultOf(line)).not.toMatch(/cret/u);
  });

  test("shows nothing that a terminal would obey, and not all of a long line", () => {
    expect(faultOf("a = \u001b[2J")).toContain("(a = ?[2J)");
    expect(faultOf(`a = ${"b".repeat(500)}`).length).toBeLessThan(200);
  });
});
