/**
 * The program's source as modules that can be had again with one file changed: what does not import that file, however
 * indirectly, is shared. Bundling or importing a whole copy costs some twenty times as much.
 */
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { compileFunction } from "node:vm";

import { transform } from "esbuild";

const SOURCE = fileURLToPath(new URL("../../src/", import.meta.url));
/** Reads the scripts, so that it is what a changed script changes. */
const SCRIPTS = `${SOURCE}store/redis-scripts.ts`;
const REQUIRED = /\brequire\("([^"]+)"\)/gu;

export interface Change {
  /** In `src/`; a script of Redis, too. */
  readonly file: string;
  /** Stands there once. */
  readonly from: string;
  readonly to: string;
}

interface Module {
  readonly code: string;
  /** As written → path of a file, or the name of a package. */
  readonly imports: ReadonlyMap<string, string>;
}

type Exports = Record<string, unknown>;

export class SourceModules {
  readonly #entry: string;
  readonly #modules = new Map<string, Promise<Module>>();
  /** By name, or by path where nothing is changed. */
  readonly #loaded = new Map<string, Exports>();

  /** @param entry the file whose exports {@link load} gives */
  constructor(entry: URL) {
    this.#entry = fileURLToPath(entry);
  }

  /** The entry's exports, of a program with that change. @throws Error where the text does not stand there once */
  async load(change: Change): Promise<unknown> {
    const all = await this.#reach(this.#entry, new Map());
    evaluate(this.#entry, { modules: all, loaded: this.#loaded });
    const path = SOURCE + change.file;
    const text = changed(await readFile(path, "utf8"), change);
    const modules = new Map(all);
    const loaded = new Map(this.#loaded);
    if (path.endsWith(".lua")) {
      drop(SCRIPTS, { modules, loaded });
      loaded.set("node:fs", { ...loaded.get("node:fs"), readFileSync: readingAs(path, text) });
    } else {
      drop(path, { modules, loaded });
      modules.set(path, await compiled(path, text));
    }
    return evaluate(this.#entry, { modules, loaded });
  }

  /** Whatever a file imports, and packages loaded. */
  async #reach(path: string, found: Map<string, Module>): Promise<Map<string, Module>> {
    if (found.has(path)) return found;
    const reading = this.#modules.get(path) ?? readFile(path, "utf8").then(async (text) => compiled(path, text));
    this.#modules.set(path, reading);
    const module = await reading;
    found.set(path, module);
    for (const needed of module.imports.values()) {
      if (needed.startsWith("/")) await this.#reach(needed, found);
      else if (!this.#loaded.has(needed)) this.#loaded.set(needed, exportsOf(await import(needed)));
    }
    return found;
  }
}

interface Program {
  readonly modules: ReadonlyMap<string, Module>;
  readonly loaded: Map<string, Exports>;
}

async function compiled(path: string, text: string): Promise<Module> {
  const { code } = await transform(text, {
    loader: "ts",
    format: "cjs",
    target: "node20",
    define: { "import.meta.url": JSON.stringify(pathToFileURL(path).href) },
  });
  const names = [...code.matchAll(REQUIRED)].flatMap(([, name]) => name ?? []);
  return {
    code,
    imports: new Map(names.map((name) => [name, name.startsWith(".") ? resolve(dirname(path), name) : name])),
  };
}

function evaluate(path: string, program: Program): Exports {
  const before = program.loaded.get(path);
  if (before !== undefined) return before;
  const module = program.modules.get(path);
  if (module === undefined) throw new Error(`${path} is no module of the program.`);
  const own: { exports: Exports } = { exports: {} };
  // Of another name than the file, which it is not: coverage would count it.
  const run = compileFunction(module.code, ["module", "exports", "require"], { filename: `changed:${path}` });
  const require = (name: string): Exports => evaluate(module.imports.get(name) ?? name, program);
  Reflect.apply(run, undefined, [own, own.exports, require]);
  program.loaded.set(path, own.exports);
  return own.exports;
}

/** What imports a module must be made anew with it. */
function drop(path: string, { modules, loaded }: Program): void {
  if (!loaded.delete(path)) return;
  for (const [importer, { imports }] of modules) {
    if ([...imports.values()].includes(path)) drop(importer, { modules, loaded });
  }
}

function readingAs(path: string, text: string) {
  return (file: URL, encoding: "utf8"): string => (fileURLToPath(file) === path ? text : readFileSync(file, encoding));
}

function changed(text: string, { file, from, to }: Change): string {
  const [before, after, ...more] = text.split(from);
  if (before === undefined || after === undefined || more.length > 0) {
    throw new Error(`src/${file} does not hold this text once: ${from}`);
  }
  return before + to + after;
}

/** As esbuild's `require` takes them for those of a module, with its default. */
function exportsOf(namespace: unknown): Exports {
  return { ...(typeof namespace === "object" ? namespace : {}), __esModule: true };
}
