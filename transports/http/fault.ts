/** Faults of the carrier itself: a status, what was wrong and how to mend it. JSON-RPC errors are never among them. */

export interface Fault {
  readonly status: number;
  readonly error: string;
  readonly fix: string;
  /** Methods of the resource, for 405 (RFC 9110 §15.5.6). */
  readonly allow?: string;
}

/** The body of a fault's answer. */
export function faultBody({ error, fix }: Fault): string {
  return `${JSON.stringify({ error, fix })}\n`;
}

/** A caller's text as it may be repeated in an answer. */
export function shown(text: string): string {
  return JSON.stringify(text.slice(0, 128));
}
