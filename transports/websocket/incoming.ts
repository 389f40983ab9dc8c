/** What came in on a client's connection: an answer to one of its calls, or something pushed. */

export type Incoming =
  | { readonly kind: "answer"; readonly id: string | undefined }
  | { readonly kind: "notification" }
  | { readonly kind: "other" };

/** Reads no more than it takes to hand a message on; whether it is good is for those who get it. */
export function readIncoming(text: string): Incoming {
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    // Not JSON: nobody's.
    return { kind: "other" };
  }
  if (typeof message !== "object" || message === null) return { kind: "other" };
  const { id, method }: { id?: unknown; method?: unknown } = message;
  if (typeof id === "string") return { kind: "answer", id };
  if (id === null) return { kind: "answer", id: undefined };
  return { kind: id === undefined && typeof method === "string" ? "notification" : "other" };
}
