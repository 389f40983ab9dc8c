/** A client of the daemon in a process that dies at a chosen step: from then on nothing it does has an effect. */
import type { OverlayMessage } from "../../transports/mycelium/daemon-answers.ts";
import { MyceliumDaemon } from "../../transports/mycelium/daemon.ts";

/** Where a listener can die; `handle` is for the handler behind it, see {@link DyingDaemon.dieIn}. */
export const STEPS = ["peek", "handle", "before reply", "after reply", "before take", "after take"] as const;
export type Step = (typeof STEPS)[number];

/** As the operating system ends a killed process: connections close, and nobody is there to notice. */
export class DyingDaemon extends MyceliumDaemon {
  /** The next time this step is reached is the end. */
  dieAt: Step | undefined;
  #isDead = false;

  get isDead(): boolean {
    return this.#isDead;
  }

  /** Never resolves. */
  async die(): Promise<never> {
    this.#isDead = true;
    this.close();
    return new Promise(() => undefined);
  }

  /** What the handler did, unless the process dies there: then it is done, and nobody learns of it. */
  async dieIn<Value>(step: Step, value: Value): Promise<Value> {
    return this.#isDead || this.dieAt === step ? this.die() : value;
  }

  override async admin(...args: Parameters<MyceliumDaemon["admin"]>): ReturnType<MyceliumDaemon["admin"]> {
    return this.#alive(async () => super.admin(...args));
  }

  override async discard(...args: Parameters<MyceliumDaemon["discard"]>): Promise<boolean> {
    return this.#alive(async () => super.discard(...args));
  }

  override async peek(...args: Parameters<MyceliumDaemon["peek"]>): Promise<OverlayMessage | undefined> {
    const message = await this.#alive(async () => super.peek(...args));
    return message === undefined ? undefined : this.dieIn("peek", message);
  }

  override async take(...args: Parameters<MyceliumDaemon["take"]>): Promise<OverlayMessage | undefined> {
    await this.dieIn("before take", undefined);
    return this.dieIn("after take", await this.#alive(async () => super.take(...args)));
  }

  override async reply(...args: Parameters<MyceliumDaemon["reply"]>): Promise<void> {
    await this.dieIn("before reply", undefined);
    await this.dieIn("after reply", await this.#alive(async () => super.reply(...args)));
  }

  async #alive<Value>(run: () => Promise<Value>): Promise<Value> {
    if (this.#isDead) return this.die();
    try {
      const value = await run();
      return this.#isDead ? await this.die() : value;
    } catch (error) {
      if (this.#isDead) return this.die();
      throw error;
    }
  }
}
