/** Links that lose, repeat and reorder; daemons that restart; listeners that die at each step. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterEach, describe, expect, test } from "vitest";

import { SupervisorClient } from "../../../src/client/client.ts";
import { METHODS } from "../../../src/rpc/methods.ts";
import { MyceliumDaemon } from "../../../transports/mycelium/daemon.ts";
import { DyingDaemon, STEPS } from "../../support/dying-daemon.ts";
import { aCall, until } from "../../support/mycelium-harness.ts";
import { Benches } from "../../support/mycelium-setup.ts";
import { aSigner, VECTORS } from "../../support/signing.ts";

const benches = new Benches();
const directories: string[] = [];

afterEach(async () => {
  await benches.close();
  await Promise.all(directories.splice(0).map((path) => rm(path, { recursive: true, force: true })));
});

describe("calls over a bad link", () => {
  test("are all answered, each executed once, with loss, duplication and reordering", async () => {
    const link = { delayMs: 2, loss: 0.1, duplication: 0.3, reorderMs: 100 };
    const bench = await benches.create({ seed: 7, tickMs: 20, link });
    await bench.listen();
    const dialer = bench.dial();

    for (let wave = 0; wave < 5; wave += 1) {
      const calls = Array.from({ length: 100 }, (_, index) => dialer.call(aCall(`${wave}-${index}`, index)));
      expect(await Promise.all(calls)).toHaveLength(100);
    }

    const executed = bench.handler.handled.flatMap((text) => text.match(/"id":"[^"]*"/g) ?? []);
    expect(executed).toHaveLength(500);
    expect(new Set(executed).size).toBe(500);
  });

  test("are all answered by daemons that each message slows down, since many travel in few", async () => {
    const bench = await benches.create();
    await bench.listen();
    const dialer = bench.dial();
    // A message more in the outbox, 20 ms more for all that follow: one call a message would take half a minute.
    bench.near.outboxCostMs = 20;
    bench.far.outboxCostMs = 20;

    const calls = Array.from({ length: 300 }, (_, index) => dialer.call(aCall(String(index), index)));

    expect(await Promise.all(calls)).toHaveLength(300);
    expect(bench.handler.handled.flatMap((text) => text.match(/"id":/g) ?? [])).toHaveLength(300);
    expect(bench.near.sent.length).toBeLessThan(30);
  });

  test("wait out a partition, and are executed once however often they were sent", async () => {
    const bench = await benches.create();
    await bench.listen();
    const dialer = bench.dial({ repeatAfterMs: 500 });
    bench.overlay.link(bench.near, bench.far).isPartitioned = true;
    const call = dialer.call(aCall("1", "through"));
    await until(() => bench.near.sent.length >= 2);

    bench.overlay.link(bench.near, bench.far).isPartitioned = false;

    expect(await call).toContain("through");
    expect(bench.handler.handled).toHaveLength(1);
  });

  test("get a clear error by their deadline when the partition lasts", async () => {
    const bench = await benches.create({ link: { isPartitioned: true } });
    await bench.listen();

    const call = bench.dial({ repeatAfterMs: 100 }).call(aCall("1", {}, { deadlineMs: 300 }));

    await expect(call).rejects.toMatchObject({ name: "CarrierError", applied: "unknown" });
  });

  test("whose answer was lost with the memory of the other side are signed once more", async () => {
    const bench = await benches.create();
    const used = new Set<string>();
    bench.handler.claims = { principals: ["alice"], keys: ["ed25519:aa"], isRepeatable: false };
    bench.handler.respond = ({ params }) => {
      const nonce = JSON.stringify(params);
      const isUsed = used.has(nonce);
      used.add(nonce);
      return isUsed ? { error: { code: -32005, message: "Nonce already used" } } : METHODS.whoami.example.result;
    };
    let isDropped = false;
    bench.far.intercept = (method, path) => {
      const isFirst = method === "POST" && path.startsWith("/messages/reply/") && !isDropped;
      isDropped ||= isFirst;
      return isFirst ? { status: 204 } : undefined;
    };
    await bench.listen();
    const dialer = bench.dial({ repeatAfterMs: 500 });
    const client = new SupervisorClient({ dialer, signer: aSigner(), supervisor: VECTORS.keys.supervisorA });

    expect(await client.call("whoami", {})).toEqual(METHODS.whoami.example.result);
    expect(used.size).toBe(2);
    expect(bench.handler.handled).toHaveLength(3);
  });

  test("leave late replies behind, which a listener drains", async () => {
    const bench = await benches.create();
    const envelope = { srcIp: bench.far.address, srcPk: bench.far.publicKey, dstIp: bench.near.address, dstPk: "" };
    const late = { ...envelope, isReply: true, topic: Buffer.alloc(0) };
    for (const id of ["aa", "bb"]) {
      const payload = Buffer.from('{"jsonrpc":"2.0","id":1,"result":1}');
      bench.near.accept({ ...late, id: id.repeat(8), payload });
      bench.far.accept({ ...late, id: id.repeat(8), payload });
    }
    const foreign = Buffer.from("another program's");
    bench.far.accept({ ...late, id: "cc".repeat(8), payload: foreign });
    const own = await bench.listen({ api: bench.near.api });
    const shared = await bench.listen({ receive: "poll" });

    await until(() => own.status().isUp && shared.status().isUp);

    expect(bench.near.inbox).toEqual([]);
    // On a shared daemon only what reads as an answer is ours to throw away.
    expect(bench.far.inbox.map(({ payload }) => payload)).toEqual([foreign]);
  });
});

describe("a daemon", () => {
  test("that is not there yet is waited for, and one that restarts is found again", async () => {
    const bench = await benches.create();
    await bench.far.stop();
    const listener = await bench.listen({ sources: ["0400::/7"] });
    await until(() => listener.status().detail?.includes("no daemon at") === true);
    expect(listener.status().isUp).toBe(false);

    await bench.far.start();
    await until(() => listener.status().isUp);
    const dialer = bench.dial({ repeatAfterMs: 1_000 });
    expect(await dialer.call(aCall("1"))).toContain('"1"');

    await bench.far.restart();
    expect(await dialer.call(aCall("2"))).toContain('"2"');
    // A restart between two requests shows at the next look at the daemon.
    const daemon = new MyceliumDaemon({ api: bench.far.api });
    await until(async () => (await daemon.sources("supervisor.rpc"))?.join() === "400::/7");
    await until(() => listener.status().isUp);
  });

  test("gets the topic's sources once, and loses those that are not configured", async () => {
    const bench = await benches.create();
    const daemon = new MyceliumDaemon({ api: bench.far.api });
    await daemon.addSource("supervisor.rpc", "500::/8");
    await daemon.addSource("supervisor.rpc", "400::/7");

    const listener = await bench.listen({ sources: ["400::/7", "5f6:12::/64"] });
    await until(() => listener.status().isUp);

    expect(await daemon.sources("supervisor.rpc")).toEqual(["400::/7", "5f6:12::/64"]);
    await expect(bench.listen({ sources: ["everybody"] })).rejects.toThrow('"everybody" is not a subnet');
  });

  test("that refuses a peer by its whitelist leaves it with a clear error", async () => {
    const bench = await benches.create();
    const listener = await bench.listen({ sources: ["500::/128"] });
    await until(() => listener.status().isUp);

    await expect(bench.dial().call(aCall("1", {}, { deadlineMs: 200 }))).rejects.toThrow("whitelist");
  });

  test("that restarts on the caller's side costs a repeat, not an answer", async () => {
    const bench = await benches.create({ link: { delayMs: 20 } });
    await bench.listen();
    const call = bench.dial({ repeatAfterMs: 1_000 }).call(aCall("1"));
    await until(() => bench.near.sent.length === 1);

    await bench.near.restart();

    expect(await call).toContain('"1"');
    expect(bench.handler.handled.length).toBeLessThanOrEqual(1);
  });

  test("that was never there is said to be absent, and nothing has left", async () => {
    const bench = await benches.create();
    await bench.near.stop();

    const call = bench.dial().call(aCall("1", {}, { deadlineMs: 300 }));

    await expect(call).rejects.toMatchObject({ applied: "no" });
    await expect(call).rejects.toThrow("ECONNREFUSED");
  });

  test("that answers nonsense, or errors, is asked again until it is sane", async () => {
    const bench = await benches.create();
    bench.far.intercept = () => ({ status: 200, body: "nonsense" });
    bench.near.intercept = () => ({ status: 503, body: "later" });
    const listener = await bench.listen();
    const call = bench.dial().call(aCall("1"));
    await until(() => listener.status().detail?.includes("not what the API describes") === true);

    bench.far.intercept = undefined;
    bench.near.intercept = undefined;

    expect(await call).toContain('"1"');
  });

  test("whose inbox reads as nonsense is not asked as fast as it goes, and serves when it is sane", async () => {
    const bench = await benches.create();
    bench.far.intercept = (_method, path) => (path === "/messages" ? { status: 200, body: "nonsense" } : undefined);
    const listener = await bench.listen();
    await until(() => listener.status().isUp);
    await sleep(1_000);

    expect(bench.far.requests.length).toBeLessThan(100);
    expect(bench.lines.filter((line) => line.includes("cannot be read")).length).toBeGreaterThan(1);

    bench.far.intercept = undefined;
    expect(await bench.dial().call(aCall("1"))).toContain('"1"');
  });

  test("that gives nothing out is told once to be down, not asked as fast as it goes, and served when it does", async () => {
    const bench = await benches.create();
    const listener = await bench.listen();
    await until(() => listener.status().isUp);
    const topic = Buffer.from("supervisor.rpc").toString("base64");
    bench.far.intercept = (_method, _path, query) =>
      query.get("topic") === topic && !query.has("peek") ? { status: 500 } : undefined;
    const events = (): readonly (string | undefined)[] =>
      bench.lines.flatMap((line) => /"level":(?!20).*"event":"(mycelium_(?:up|down))"/u.exec(line)?.slice(1) ?? []);
    const before = bench.far.requests.length;

    expect(await bench.dial().call(aCall("1"))).toContain('"1"');
    await sleep(3_000);
    const told = events();
    const asked = bench.far.requests.length - before;
    bench.far.intercept = undefined;

    expect(told).toEqual(["mycelium_up", "mycelium_down"]);
    expect(asked).toBeLessThan(60);
    expect(await bench.dial().call(aCall("2"))).toContain('"2"');
    await until(() => events().length === 3);
    expect(events().at(-1)).toBe("mycelium_up");
    expect(bench.handler.handled).toHaveLength(2);
  });

  test("that tells its name and gives nothing out stays down until it does", async () => {
    const bench = await benches.create();
    const listener = await bench.listen();
    await until(() => listener.status().isUp);
    const seen: boolean[] = [];
    const topic = Buffer.from("supervisor.rpc").toString("base64");
    bench.far.intercept = (_method, _path, query) => {
      if (query.get("topic") !== topic || query.has("peek")) return undefined;
      seen.push(listener.status().isUp);
      return { status: 500 };
    };

    expect(await bench.dial().call(aCall("1"))).toContain('"1"');
    await until(() => seen.length >= 4);
    bench.far.intercept = undefined;

    expect(seen.slice(1)).not.toContain(true);
    await until(() => listener.status().isUp);
    expect(listener.status().url).toBeDefined();
  });

  test("that holds no read is not asked as fast as it goes", async () => {
    const bench = await benches.create();
    bench.far.intercept = (_method, path) => (path === "/messages" ? { status: 204 } : undefined);
    const listener = await bench.listen();
    await until(() => listener.status().isUp);
    await sleep(1_500);

    expect(bench.far.requests.length).toBeLessThan(150);

    bench.far.intercept = undefined;
    expect(await bench.dial().call(aCall("1"))).toContain('"1"');
  });

  test("that restarts while a message is handled is not taken for one that others read", async () => {
    const bench = await benches.create();
    bench.handler.respond = async () => bench.far.restart().then(() => "restarted");
    const listener = await bench.listen({ detachAfterMs: 60_000 });
    await bench.dial().call(aCall("1"));

    await until(() => listener.status().detail?.includes("restarted at") === true);

    expect(listener.status().detail).not.toContain("another program");
  });

  test("that refuses a message ends the call at once", async () => {
    const bench = await benches.create();
    bench.near.intercept = (method) => (method === "POST" ? { status: 400, body: "no" } : undefined);

    await expect(bench.dial().call(aCall("1"))).rejects.toMatchObject({ applied: "no", message: /answered 400 no/ });
  });

  test("before 0.7.8 does not tell its key; peers reach the node by its address", async () => {
    const bench = await benches.create();
    const old = { nodeSubnet: "400::/64", nodeIp: bench.far.address };
    bench.far.intercept = (_method, path) => (path === "/admin" ? { status: 200, body: old } : undefined);
    const listener = await bench.listen();
    await until(() => listener.status().isUp);

    expect(listener.status().url).toBe(`mycelium://[${bench.far.address}]`);
    expect(listener.status().detail).toContain("older than 0.7.8");
  });
});

describe("a supervisor that is killed", () => {
  test.each(STEPS)("at the step %s leaves no caller without an answer", async (step) => {
    const bench = await benches.create();
    const dataDir = await mkdtemp(join(tmpdir(), "mycelium-death-"));
    directories.push(dataDir);
    const dying = new DyingDaemon({ api: bench.far.api });
    dying.dieAt = step;
    bench.handler.respond = ({ params }) => (step === "handle" && !dying.isDead ? dying.die() : params);
    await bench.listen({ dataDir }, dying);
    const call = bench.dial({ repeatAfterMs: 1_000 }).call(aCall("1", "answer me"));
    await until(() => dying.isDead);

    await bench.listen({ dataDir });

    expect(await call).toContain("answer me");
    await until(() => bench.far.inbox.length === 0);
    expect(bench.handler.handled.length).toBeLessThanOrEqual(2);
  });
});
