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
    // Lengths are of bytes. Most commands are ASCII, a byte a character: counted once, as a whole.
    const text = this.#write((part) => part.length);
    return Buffer.byteLength(text) === text.length ? text : this.#write((part) => Buffer.byteLength(part));
  }

  #write(lengthOf: (part: string) => number): string {
    let text = `*${this.args.length + 1}\r\n$${lengthOf(this.name)}\r\n${this.name}\r\n`;
    for (const arg of this.args) {
      const part = String(arg);
      text += `$${lengthOf(part)}\r\n${part}\r\n`;
    }
    return text;
  }
}
