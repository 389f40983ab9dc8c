/** Ends what the demo started where the demo itself was killed and could not: a shell that waits for its end. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

/** Lines on standard input are process groups; its end without a last word means that the demo is gone. */
const SCRIPT = `groups=""
while read -r word; do
  if [ "$word" = done ]; then exit 0; fi
  groups="$groups $word"
done
for group in $groups; do kill -s TERM -- "-$group"; done
for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  alive=""
  for group in $groups; do if kill -s 0 -- "-$group"; then alive=yes; fi; done
  if [ -z "$alive" ]; then break; fi
  sleep 0.2
done
for group in $groups; do kill -s KILL -- "-$group"; done
rm -rf -- "$1"
`;

export class Guard {
  readonly #shell: ChildProcess;

  /** `directory` goes with the processes. */
  constructor(directory: string) {
    // A session of its own: what kills the demo's group (a closed terminal, a watcher) must not kill its guard.
    this.#shell = spawn("/bin/sh", ["-c", SCRIPT, "guard", directory], {
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
    });
    this.#shell.stdin?.on("error", () => undefined);
    this.#shell.on("error", () => undefined);
  }

  /** Guards a process group from now on. */
  watch(group: number | undefined): void {
    if (group !== undefined) this.#shell.stdin?.write(`${group}\n`);
  }

  /** All is stopped: nothing is left to do. */
  async dismiss(): Promise<void> {
    if (this.#shell.pid === undefined || this.#shell.exitCode !== null) return;
    const exited = once(this.#shell, "exit");
    this.#shell.stdin?.end("done\n");
    await exited;
  }
}
