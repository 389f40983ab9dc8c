/** A command as this store sends them: a name and plain arguments, made into Redis' protocol with as little as it takes. */
import { Command } from "ioredis";

/**
 * ioredis' own command flattens and looks over its arguments one by one, which for a script's dozens of keys and
 * arguments costs more than sending them. Ours are texts and numbers already, never nested.
 */
export class RedisCommand extends Command {
  constructor(name: string, args: readonly (string | number)[]) {
    super(name, [], { replyEncoding: "utf8" });
    this.args = args.map(String);
  }

  /** An array of bulk strings (RESP2). */
  override toWritable(): string {
    let text = `*${this.args.length + 1}\r\n${bulk(this.name)}`;
    for (const arg of this.args) text += bulk(String(arg));
    return text;
  }
}

/** Lengths are of bytes. */
function bulk(text: string): string {
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
}
