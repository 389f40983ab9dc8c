/** Random choices of one input: seed and number of the input alone decide them, whatever came before. */
import { type Arbitrary, sample } from "fast-check";

import { seededRandom } from "../support/signing.ts";

export class Random {
  readonly #next: () => number;

  constructor(seed: number, index: number) {
    // Neighbours must not look alike: two odd factors spread their bits.
    this.#next = seededRandom(Math.imul(seed + 1, 0x9e37_79b1) ^ Math.imul(index + 1, 0x85eb_ca6b));
  }

  /** A whole number from 0 on, below `end`. */
  below(end: number): number {
    return Math.floor(this.#next() * end);
  }

  chance(part: number): boolean {
    return this.#next() < part;
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new RangeError("Nothing to pick from.");
    return item;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }

  /** A seed for somebody else's generator. */
  seed(): number {
    return this.below(0x7fff_ffff);
  }

  /** What fast-check makes: it leans to what is small, empty and odd. */
  value<Value>(arbitrary: Arbitrary<Value>): Value {
    const [value] = sample(arbitrary, { numRuns: 1, seed: this.seed() });
    if (value === undefined) throw new RangeError("Nothing was generated.");
    return value;
  }
}
