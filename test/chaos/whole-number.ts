/** A number on the command line. */

/** @throws RangeError where it is not a whole number from 0 up */
export function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new RangeError(`--${name} "${text}" is not a whole number.`);
}
