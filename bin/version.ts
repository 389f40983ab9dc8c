/** The program's version and place, from its package.json. */
import { createRequire } from "node:module";
import { dirname } from "node:path";

/** The folder that holds package.json, of a checkout or of the installed package. */
export function packageDirectory(): string {
  return dirname(createRequire(import.meta.url).resolve("horus-supervisor/package.json"));
}

/** Version as published, the same from source and from dist. */
export function programVersion(): string {
  const manifest: unknown = createRequire(import.meta.url)("horus-supervisor/package.json");
  if (typeof manifest === "object" && manifest !== null && "version" in manifest) return String(manifest.version);
  throw new Error("package.json has no version.");
}
