/** The client's line to one supervisor, wherever that listens at present. */
import { type Dialer, SupervisorClient, type Signer } from "../../src/client/index.ts";
import { CarrierError } from "../../src/errors.ts";
import type { OutgoingCall } from "../../src/rpc/transport.ts";
import { dial } from "../../transports/dial.ts";
import type { Member } from "./member.ts";

export class Line {
  readonly name: string;
  readonly client: SupervisorClient;
  readonly #member: Member;
  #dialer: Dialer | undefined;

  constructor(member: Member, { supervisor, owner }: { readonly supervisor: string; readonly owner: Signer }) {
    this.name = member.name;
    this.#member = member;
    const dialer = this.#present();
    this.client = new SupervisorClient({
      supervisor,
      signer: owner,
      dialer: {
        url: dialer.url,
        validitySeconds: dialer.validitySeconds,
        maxWaitMs: dialer.maxWaitMs,
        call: async (call) => this.call(call),
        close: async () => this.close(),
      },
    });
  }

  /** Sends bytes as they are. @throws CarrierError when no answer came */
  async call(call: OutgoingCall): Promise<string> {
    return this.#present().call(call);
  }

  async close(): Promise<void> {
    await this.#dialer?.close();
  }

  #present(): Dialer {
    const url = this.#member.ready?.[1];
    if (url === undefined) throw new CarrierError(`${this.name} was never up`, "no");
    if (this.#dialer === undefined || this.#dialer.url !== new URL(url).href) this.#dialer = dial(url);
    return this.#dialer;
  }
}
