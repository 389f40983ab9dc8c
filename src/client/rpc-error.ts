/** A refusal of the supervisor, as an error. */
import { ERRORS } from "../errors.ts";

/** The supervisor answered with an error object (JSON-RPC 2.0 §5.1): it decided, and repeating the same is of no use. */
export class RpcError extends Error {
  override readonly name = "RpcError";
  /** A code of the error table, or any integer another server uses. */
  readonly code: number;
  /** What the error table promises for the code (`now`, `limit`, `path`, …); unchecked JSON. */
  readonly data: unknown;

  constructor(code: number, message: string, data?: unknown) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

/** How long a call that came too soon should wait, in ms; undefined for every other error, and where no time is named. */
export function retryAfterMs(error: unknown): number | undefined {
  if (!(error instanceof RpcError) || error.code !== ERRORS.tooMany.code) return undefined;
  const { retry_after_ms: ms }: { readonly retry_after_ms?: unknown } =
    typeof error.data === "object" ? { ...error.data } : {};
  return typeof ms === "number" && ms >= 0 ? ms : undefined;
}
