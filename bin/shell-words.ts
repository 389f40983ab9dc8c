/** Words for a command that somebody is told to give. */
import type { Flags } from "./command.ts";

/** As a shell takes it for one word. */
export function quoted(word: string): string {
  return /^[\w./:@%+=,~-]+$/u.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** Flags that say which supervisor, and by which key. */
const WAY = ["to", "key", "supervisor", "data-dir", "config", "mycelium-api", "mycelium-topic"];

/** A command's words, with the flags by which it reaches the same supervisor as the command that tells it. */
export function toTheSame(flags: Flags, words: string): string {
  return [words, ...retold(flags, WAY)].join(" ");
}

/** Those of the flags that were given, for a command that needs them as well. */
export function retold(flags: Flags, names: readonly string[]): readonly string[] {
  return names.flatMap((name) => {
    const value = flags.text(name);
    return value === undefined ? [] : [`--${name}`, quoted(value)];
  });
}
