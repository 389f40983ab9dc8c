/** Seeded damage to signed documents: each mutation is the document as bytes with one thing changed. */
import { isDeepStrictEqual } from "node:util";

import { seededRandom } from "./signing.ts";

export interface Mutation {
  /** What was done, for whoever reads a failure. */
  readonly name: string;
  readonly bytes: Buffer;
  /** A member stands there twice: whatever the values, readers may disagree. */
  readonly isAmbiguous: boolean;
}

type Json = string | number | boolean | null | Json[] | { [name: string]: Json };
type Members = { [name: string]: Json };
/** Where a value stands: its container and its name or index there. */
interface Place {
  readonly path: string;
  readonly container: Json[] | Members;
  readonly name: string;
}

/** Stands in a tree for text that `JSON.stringify` would never write. */
const RAW = "\u0001raw:";
const RAW_TEXT = /"\\u0001raw:((?:[^"\\]|\\.)*)"/gu;

/**
 * Endless mutations of a document. `donors` are other documents of the same making (by another key, for another audience
 * or purpose) whose parts are put in place of its own.
 */
function* mutations(document: object, donors: readonly object[], seed: number): Generator<Mutation, never> {
  const random = seededRandom(seed);
  const pick = <Item>(items: readonly Item[]): Item => {
    const item = items[Math.floor(random() * items.length)];
    if (item === undefined) throw new RangeError("Nothing to pick from.");
    return item;
  };
  for (;;) {
    const change = pick(CHANGES);
    const root = copy({ root: document });
    const place = pick(placesOf(root));
    const made = change({ place, root, donors, random, pick });
    if (made !== undefined) yield made;
  }
}

/** The first of them. */
export function someMutations(count: number, ...of: Parameters<typeof mutations>): readonly Mutation[] {
  const made: Mutation[] = [];
  for (const mutation of mutations(...of)) {
    if (made.push(mutation) === count) break;
  }
  return made;
}

/** The same document, member by member and number by number, whatever its spelling; -0 is not 0. */
export function isSame(bytes: Uint8Array, document: unknown): boolean {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return isDeepStrictEqual(JSON.parse(text), copy(document));
  } catch {
    return false;
  }
}

interface Chance {
  readonly place: Place;
  readonly root: Members;
  readonly donors: readonly object[];
  readonly random: () => number;
  readonly pick: <Item>(items: readonly Item[]) => Item;
}

type Change = (chance: Chance) => Mutation | undefined;

const NUMBERS: readonly ((text: string) => string)[] = [
  (text) => `${text}.0`,
  (text) => `${text}e0`,
  (text) => `${text}.5`,
  (text) => `-${text}`,
  (text) => `${text}0`,
  (text) => `${text}1`,
  (text) => `"${text}"`,
  () => "-0",
  () => "0",
  () => "9007199254740992",
  () => "1e400",
  () => "1e21",
];

const STRINGS: readonly ((text: string, random: () => number) => string)[] = [
  (text) => text.toUpperCase(),
  (text) => text.normalize("NFD"),
  (text) => `${text}\ud800`,
  (text) => `\ufeff${text}`,
  (text) => ` ${text}`,
  (text) => `${text}\n`,
  (text) => text.slice(0, -1),
  (text) => `${text}0`,
  (text) => `0x${text}`,
  (text) => text.replace("ed25519:", "Ed25519:"),
  (text) => text.replace("ed25519:", ""),
  (text) => Buffer.from(text, "utf8").toString("base64"),
  (text) => text.slice(text.length / 2) + text.slice(0, text.length / 2),
  (text, random) => {
    const at = Math.floor(random() * text.length);
    return text.slice(0, at) + (text[at] === "0" ? "1" : "0") + text.slice(at + 1);
  },
];

const CHANGES: readonly Change[] = [
  dropMember,
  addMember,
  renameMember,
  repeatMember,
  (chance) => replaceValue(chance, "type", chance.pick<Json>([null, true, "x", "", 0, [], {}, [{}]])),
  changeNumber,
  changeString,
  changeString,
  takeFromDonor,
  takeFromDonor,
  escapeString,
  reorder,
  space,
  flipBit,
  flipBit,
  mark,
];

function dropMember({ place, root }: Chance): Mutation {
  if (Array.isArray(place.container)) place.container.splice(Number(place.name), 1);
  else delete place.container[place.name];
  return written(`${place.path} dropped`, root);
}

function addMember({ place, root, pick }: Chance): Mutation | undefined {
  if (Array.isArray(place.container)) return undefined;
  const name = pick(["x", "admin", "__proto__", "constructor", "toJSON", "sig", "key", "v", "not_before"]);
  if (Object.hasOwn(place.container, name)) return undefined;
  Object.defineProperty(place.container, name, { value: pick<Json>([1, "x", {}, []]), enumerable: true });
  return written(`${name} added beside ${place.path}`, root);
}

function renameMember({ place, root, pick }: Chance): Mutation | undefined {
  const { container, name, path } = place;
  if (Array.isArray(container) || place.container === root) return undefined;
  const value = container[name];
  if (value === undefined) return undefined;
  delete container[name];
  container[pick([`${name}_`, name.toUpperCase(), ` ${name}`, `${name}\u0000`, name.slice(1)])] = value;
  return written(`${path} renamed`, root);
}

/** The same member twice, with the same value or another. */
function repeatMember({ place, root, random }: Chance): Mutation | undefined {
  const { container, name, path } = place;
  if (Array.isArray(container) || container === root) return undefined;
  const value = JSON.stringify(container[name]);
  const first = random() < 0.5 ? value : '"x"';
  container[name] = `${RAW}${first},${JSON.stringify(name)}:${value}`;
  return { ...written(`${path} twice`, root), isAmbiguous: true };
}

function changeNumber({ place, root, pick }: Chance): Mutation | undefined {
  const value = valueAt(place);
  if (typeof value !== "number") return undefined;
  return replaceValue({ place, root }, "number", RAW + pick(NUMBERS)(String(value)));
}

function changeString({ place, root, pick, random }: Chance): Mutation | undefined {
  const value = valueAt(place);
  return typeof value === "string" ? replaceValue({ place, root }, "text", pick(STRINGS)(value, random)) : undefined;
}

/** Part of another document in the place of the same part, or of any. */
function takeFromDonor({ place, root, donors, pick, random }: Chance): Mutation | undefined {
  // The whole of another document is no mutation of this one.
  if (place.container === root) return undefined;
  const places = placesOf(copy({ root: pick(donors) }));
  const alike = places.filter(({ path }) => path === place.path);
  const source = alike.length > 0 && random() < 0.8 ? pick(alike) : pick(places);
  const value = valueAt(source);
  return value === undefined ? undefined : replaceValue({ place, root }, `another's ${source.path}`, value);
}

/** The same text, spelled with an escape. */
function escapeString({ place, root, random }: Chance): Mutation | undefined {
  const value = valueAt(place);
  if (typeof value !== "string" || value === "") return undefined;
  const at = Math.floor(random() * value.length);
  const unit = value.charCodeAt(at).toString(16).padStart(4, "0");
  const [before, after] = [value.slice(0, at), value.slice(at + 1)].map((part) => JSON.stringify(part).slice(1, -1));
  return replaceValue({ place, root }, "an escape", `${RAW}"${before}\\u${unit}${after}"`);
}

function reorder({ place, root }: Chance): Mutation | undefined {
  const value = valueAt(place);
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return replaceValue({ place, root }, "order", Object.fromEntries(Object.entries(value).toReversed()));
}

function space({ root, pick }: Chance): Mutation {
  return { ...written("spaces", root), bytes: Buffer.from(JSON.stringify(root["root"], null, pick([1, 2, "\t"]))) };
}

function flipBit({ root, random }: Chance): Mutation {
  const { bytes } = written("", root);
  const at = Math.floor(random() * bytes.length);
  const bit = Math.floor(random() * 8);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
  return { name: `bit ${bit} of byte ${at}`, bytes, isAmbiguous: false };
}

function mark({ root }: Chance): Mutation {
  const { bytes } = written("", root);
  return { name: "a byte order mark", bytes: Buffer.concat([Buffer.from("\ufeff"), bytes]), isAmbiguous: false };
}

function replaceValue({ place, root }: Pick<Chance, "place" | "root">, how: string, value: Json): Mutation {
  if (Array.isArray(place.container)) place.container[Number(place.name)] = value;
  else place.container[place.name] = value;
  return written(`${place.path}: ${how}`, root);
}

function written(name: string, root: Members): Mutation {
  const text = JSON.stringify(root["root"] ?? null).replaceAll(RAW_TEXT, (_all, raw: string) => {
    const decoded: unknown = JSON.parse(`"${raw}"`);
    return String(decoded);
  });
  return { name, bytes: Buffer.from(text), isAmbiguous: false };
}

function valueAt({ container, name }: Place): Json | undefined {
  return Array.isArray(container) ? container[Number(name)] : container[name];
}

/** Every value of the tree, the document itself among them. */
function placesOf(container: Json[] | Members, path = ""): readonly Place[] {
  const places: Place[] = [];
  for (const [name, value] of Object.entries(container)) {
    const here = { path: path === "" ? name : `${path}.${name}`, container, name };
    places.push(here);
    if (typeof value === "object" && value !== null) places.push(...placesOf(value, here.path));
  }
  return places;
}

function copy(document: unknown): Members {
  const value: unknown = JSON.parse(JSON.stringify(document));
  if (!isTree(value)) throw new TypeError("A document is an object.");
  return value;
}

/** What `JSON.parse` gives for an object is nothing else. */
function isTree(value: unknown): value is Members {
  return typeof value === "object" && value !== null;
}
