/** The built client in an application's bundle. */
import { build } from "esbuild";
import { expect, test } from "vitest";

import { CHECKOUT } from "../support/checkout.ts";

test.each(["browser", "node"] as const)(
  "a bundler for %s takes the built client without a warning",
  async (platform) => {
    const { warnings, outputFiles } = await build({
      stdin: {
        contents: 'import { verifyReceipt } from "horus-supervisor/client"; console.log(verifyReceipt);',
        resolveDir: CHECKOUT,
      },
      bundle: true,
      minify: true,
      format: "esm",
      platform,
      write: false,
      logLevel: "silent",
    });

    expect(warnings.map(({ text }) => text)).toEqual([]);
    expect(outputFiles[0]?.text).toContain("console.log");
  },
);
