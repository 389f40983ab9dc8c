/** Faults of the carrier itself: a status, what was wrong and how to mend it. JSON-RPC errors are never among them. */

export interface Fault {
  readonly status: number;
  readonly error: string;
  readonly fix: string;
  /** Methods of the resource, for 405 (RFC 9110 §15.5.6). */
  readonly allow?: string;
  /** The setting that was met, as `x-limits` names it. */
  readonly limit?: string;
  /** When another try may go better, for 503 (RFC 9110 §10.2.3). */
  readonly retryAfterSeconds?: number;
}

/** The body of a fault's answer. */
export function faultBody({ error, fix, limit }: Fault): string {
  return `${JSON.stringify({ error, fix, ...(limit === undefined ? {} : { limit }) })}\n`;
}

/** What its status adds to the head. */
export function faultHeaders({ allow, retryAfterSeconds }: Fault): readonly (readonly [string, string])[] {
  return [
    ...(allow === undefined ? [] : [["Allow", allow] as const]),
    ...(retryAfterSeconds === undefined ? [] : [["Retry-After", String(retryAfterSeconds)] as const]),
  ];
}

/** A caller's text as it may be repeated in an answer. */
export function shown(text: string): string {
  return JSON.stringify(text.slice(0, 128));
}
