/** What every carrier must do alike: the same bytes in answer to the same bytes. */
import { describe, expect, test } from "vitest";

import type { OutgoingCall, Peer } from "../../src/rpc/transport.ts";
import { loadCorpora } from "../support/corpus.ts";
import { aDispatcher } from "../support/dispatcher.ts";
import { describeTransports } from "../support/transports.ts";

function aCall(id: string, wanted: Partial<OutgoingCall> = {}): OutgoingCall {
  return {
    id,
    text: JSON.stringify({ jsonrpc: "2.0", id, method: "whoami" }),
    waitMs: 0,
    deadlineMs: 10_000,
    ...wanted,
  };
}

function aSignedCall(id: string, wanted: Partial<OutgoingCall> = {}): OutgoingCall {
  return aCall(id, {
    text: JSON.stringify({ jsonrpc: "2.0", id, method: "whoami", params: { auth: "alice" } }),
    ...wanted,
  });
}

describeTransports("A transport", ({ name, open }) => {
  describe.each(loadCorpora())("answers the corpus: $name", ({ conversations }) => {
    test.each(conversations.map((conversation) => [conversation.title, conversation] as const))(
      "%s",
      async (_title, conversation) => {
        await using link = await open(aDispatcher({ handlers: { get_runner_status: crash } }));

        expect(await link.send(conversation.request)).toBe(conversation.answer);
      },
    );
  });

  test("gives every one of many calls its own answer", async () => {
    await using link = await open(aDispatcher());
    const ids = Array.from({ length: 100 }, (_, index) => `call-${index}`);

    const answers = await Promise.all(ids.map(async (id) => link.dialer.call(aSignedCall(id))));

    expect(answers.map((answer) => idOf(answer))).toStrictEqual(ids);
  });

  test("carries a large answer whole", async () => {
    const text = "é\u{1f600}".repeat(50_000);
    const entries = [{ attempt: 1, seq: 1, time_ms: 0, stream: "stdout" as const, text }];
    await using link = await open(
      aDispatcher({ handlers: { get_job_logs: async () => ({ entries, next: 1, done: true }) } }),
    );
    const params = { id: "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b", auth: "alice" };

    const answer = await link.dialer.call(
      aCall("1", { text: JSON.stringify({ jsonrpc: "2.0", id: "1", method: "get_job_logs", params }) }),
    );

    expect(JSON.parse(answer)).toStrictEqual({ jsonrpc: "2.0", result: { entries, next: 1, done: true }, id: "1" });
  });

  test("tells the dispatcher who carried the call, and over what", async () => {
    const peers: Peer[] = [];
    const addressLimit = (peer: Peer): number => {
      peers.push(peer);
      return 0;
    };
    await using link = await open(aDispatcher({ addressLimit }));

    await link.dialer.call(aSignedCall("1"));

    expect(peers.map((peer) => peer.transport)).toStrictEqual([name]);
  });

  test("gives up at the deadline without knowing what became of the call", async () => {
    await using link = await open(aDispatcher({ handlers: { whoami: async () => new Promise(() => undefined) } }));

    // Long enough for a connection to be there, whatever else the machine does: before that nothing can have been applied.
    const call = link.dialer.call(aSignedCall("1", { deadlineMs: 1500 }));

    await expect(call).rejects.toMatchObject({ name: "CarrierError", applied: "unknown" });
  });
});

async function crash(): Promise<never> {
  throw new Error("redis://user:secret@host says WRONGTYPE");
}

function idOf(answer: string): unknown {
  const parsed: unknown = JSON.parse(answer);
  return typeof parsed === "object" && parsed !== null && "id" in parsed ? parsed.id : undefined;
}
