/** A number with its word: `1 key`, `2 keys`. */

/** `many` where an s is not enough: `entries`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
