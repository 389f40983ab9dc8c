/**
 * The last step of a build: typebox in a few files instead of its seven hundred modules, which took more than half of
 * the time of every short command to load. Nothing but the import's path changes in what the compiler wrote.
 */
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const built = resolve(process.argv[2] ?? join(root, "dist"));
const bundle = join(built, "typebox");
/** What is imported, and the file it is in. */
const entries = {
  typebox: "index",
  "typebox/compile": "compile",
  "typebox/error": "error",
  "typebox/schema": "schema",
};

await build({
  absWorkingDir: root,
  entryPoints: Object.fromEntries(Object.entries(entries).map(([name, file]) => [file, name])),
  outdir: bundle,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "neutral",
  target: "es2023",
  logLevel: "warning",
});
// Imports for their order alone: these files, like all of the package, do nothing by being loaded, and bundlers warn of such.
for (const file of await readdir(bundle)) {
  const path = join(bundle, file);
  await writeFile(path, (await readFile(path, "utf8")).replaceAll(/^import "\.\/[^"]+";\n/gmu, ""));
}
// Its licence asks to be where its code is.
await cp(join(root, "node_modules", "typebox", "license"), join(bundle, "LICENSE"));

for (const part of ["bin", "src", "transports", "test"]) {
  const files = await readdir(join(built, part), { recursive: true }).catch(() => []);
  for (const file of files.filter((name) => name.endsWith(".js"))) await redirect(join(built, part, file));
}

/** @param {string} path of a compiled module */
async function redirect(path) {
  const text = await readFile(path, "utf8");
  const redirected = text.replaceAll(/ from "(typebox(?:\/\w+)?)";/gu, (_, name) => ` from "${pathTo(name, path)}";`);
  if (redirected !== text) await writeFile(path, redirected);
}

/** @param {string} name @param {string} from */
function pathTo(name, from) {
  const file = Object.entries(entries).find(([known]) => known === name)?.[1];
  if (file === undefined) throw new Error(`${from} imports ${name}: add it to the entries of bin/bundle.mjs`);
  return relative(dirname(from), join(bundle, `${file}.js`))
    .split(sep)
    .join("/");
}
