/** A refusal of the supervisor, as an error. */

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
