import { expect, test } from "vitest";

import { redactUrl } from "../../src/redact-url.ts";

test.each([
  ["redis://u:secret@host:6379", "redis://u:***@host:6379"],
  ["redis://:sec@ret@host", "redis://:***@host"],
  ["redis://u:sec/ret@host", "redis://u:***@host"],
  ["redis://u:sec/r@et@host", "redis://u:***@host"],
  ['"redis://u:secret@host"', '"redis://u:***@host"'],
  ["redis://host:6379/0", "redis://host:6379/0"],
])("%s is shown as %s", (url, shown) => {
  expect(redactUrl(url)).toBe(shown);
});
