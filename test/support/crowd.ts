/** A crowd at an HTTP port: connections that have had their answer and say no more, slow ones, and WebSockets without a call. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";

export interface CrowdOptions {
  readonly host: string;
  readonly port: number;
  /** Kept after one call, which was answered. */
  readonly idle: number;
  /** Send a body, byte by byte. */
  readonly slow: number;
  /** WebSockets on which nothing is asked. */
  readonly upgraded: number;
  /** Between two bytes of a slow one, in ms; 1,000 unless told. */
  readonly byteMs?: number;
}

const BODY = '{"jsonrpc":"2.0","id":1,"method":"get_info"}';
/** More than it will ever send. */
const SLOW_LENGTH = 100_000;
const BYTE_MS = 1000;

/** Who is cut off comes back, until the crowd is closed. */
export class Crowd implements AsyncDisposable {
  readonly #options: CrowdOptions;
  readonly #sockets = new Set<Socket>();
  #isClosed = false;

  private constructor(options: CrowdOptions) {
    this.#options = options;
  }

  /** Resolves when all of them are there. */
  static async gather(options: CrowdOptions): Promise<Crowd> {
    const crowd = new Crowd(options);
    await Promise.all([
      ...Array.from({ length: options.idle }, async () => crowd.#joinIdle()),
      ...Array.from({ length: options.slow }, async () => crowd.#joinSlow()),
      ...Array.from({ length: options.upgraded }, async () => crowd.#joinUpgraded()),
    ]);
    return crowd;
  }

  /** How many are connected now. */
  get size(): number {
    return this.#sockets.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  async #joinIdle(): Promise<void> {
    const socket = await this.#connect(async () => this.#joinIdle());
    socket.write(`${this.#head(BODY.length)}${BODY}`);
    await heard(socket, '"result"');
  }

  async #joinSlow(): Promise<void> {
    const socket = await this.#connect(async () => this.#joinSlow());
    socket.write(this.#head(SLOW_LENGTH));
    const timer = setInterval(() => socket.write(" "), this.#options.byteMs ?? BYTE_MS);
    socket.once("close", () => clearInterval(timer));
  }

  async #joinUpgraded(): Promise<void> {
    const { host, port } = this.#options;
    const socket = await this.#connect(async () => this.#joinUpgraded());
    const key = randomBytes(16).toString("base64");
    const upgrade = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}`;
    socket.write(`GET /ws HTTP/1.1\r\nHost: ${host}:${port}\r\n${upgrade}\r\n\r\n`);
    await heard(socket, " 101 ");
  }

  #head(length: number): string {
    const { host, port } = this.#options;
    return `POST / HTTP/1.1\r\nHost: ${host}:${port}\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;
  }

  async #connect(again: () => Promise<void>): Promise<Socket> {
    const { host, port } = this.#options;
    const socket = connect(port, host);
    // A reset is followed by the close, which brings it back.
    socket.on("error", () => undefined);
    await once(socket, "connect");
    this.#sockets.add(socket);
    socket.resume();
    socket.once("close", () => {
      this.#sockets.delete(socket);
      // Whoever does not come through is missing: the size tells.
      if (!this.#isClosed) again().catch(() => undefined);
    });
    return socket;
  }
}

async function heard(socket: Socket, text: string): Promise<void> {
  let received = "";
  await new Promise<void>((resolve, reject) => {
    const take = (data: Buffer): void => {
      received += data.toString("latin1");
      if (!received.includes(text)) return;
      socket.off("data", take);
      resolve();
    };
    socket.on("data", take);
    socket.once("close", () => reject(new Error(`closed without ${text}: ${received.slice(0, 200)}`)));
  });
}
