/** One kept HTTP connection, one request at a time: as little of a client as can be, since it runs on the same cores. */
import { connect, type Socket } from "node:net";

interface Waiting {
  resolve(body: string): void;
  reject(error: Error): void;
}

export class HttpConnection {
  readonly #socket: Socket;
  #received = "";
  #waiting: Waiting | undefined;
  #isClosed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setEncoding("latin1");
    socket.on("data", (text: string) => this.#take(text));
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => {
      this.#isClosed = true;
      this.#fail(new Error("the server closed the connection"));
    });
  }

  static async open(host: string, port: number): Promise<HttpConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, host, () => resolve(new HttpConnection(socket)));
      socket.once("error", reject);
    });
  }

  /** Sends a whole request; resolves with the body of its answer. @throws Error for any status but 200, or when it is closed. */
  async exchange(request: Uint8Array): Promise<string> {
    if (this.#isClosed) throw new Error("the server has closed the connection");
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket.write(request);
    });
  }

  /** By either side. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  close(): void {
    this.#waiting = undefined;
    this.#socket.destroy();
  }

  /** Answers are ASCII with a declared length: a character is a byte. */
  #take(text: string): void {
    this.#received += text;
    const end = this.#received.indexOf("\r\n\r\n");
    if (end < 0) return;
    const head = this.#received.slice(0, end);
    const length = Number(/^content-length: (\d+)$/imu.exec(head)?.[1] ?? Number.NaN);
    if (!head.startsWith("HTTP/1.1 200 ") || Number.isNaN(length)) {
      this.#fail(new Error(`answered ${this.#received.slice(0, 500)}`));
      return;
    }
    if (this.#received.length < end + 4 + length) return;
    const body = this.#received.slice(end + 4, end + 4 + length);
    this.#received = this.#received.slice(end + 4 + length);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve(body);
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }
}
