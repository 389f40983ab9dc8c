/** The pure parts of the Mycelium transport: addresses, sizes, base64, what the daemon and the peers say. */

import { assert, json, oneof, property, string, uint8Array } from "fast-check";
import { describe, expect, test } from "vitest";

import {
  addressOf,
  canonicalSubnet,
  formatAddress,
  isAddressOf,
  isNodeKey,
  isSameSubnet,
  parseAddress,
  toNodeName,
} from "../../../transports/mycelium/address.ts";
import { findAnswers, isTooLarge } from "../../../transports/mycelium/answers.ts";
import { fromBase64, toBase64 } from "../../../transports/mycelium/base64.ts";
import {
  parseDelivery,
  parseMessage,
  parseMessageId,
  parseNodeInfo,
  parseTexts,
} from "../../../transports/mycelium/daemon-answers.ts";
import { parseMyceliumUrl } from "../../../transports/mycelium/dialer.ts";
import { deliverableBytes, padPayload } from "../../../transports/mycelium/padding.ts";
import { isAnswer, refusal } from "../../../transports/mycelium/rpc-text.ts";
import { isUndeliverable } from "../../support/mycelium-daemon.ts";

// Keys and addresses as two real daemons reported them.
const KEY = "1d847c4c953b37599833544ab9e6a51e3ccb199d96222ee5da3d2a2850eea07c";
const ADDRESS = "499:2b8d:370:fa5c:6348:7ac7:7508:b6c8";
const OTHER_KEY = "40357a0d9f83870a5f16c27c3963daf0d80aad59ed33789ab3878056a66a4c64";
const OTHER_ADDRESS = "438:eb7:50e7:bb27:5070:9dec:8833:48a2";

const decode = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString();

const find = (text: string, ...ids: string[]): ReturnType<typeof findAnswers> => findAnswers(Buffer.from(text), ids);

describe("overlay addresses", () => {
  test("follow from the key as the daemon has it", () => {
    expect(formatAddress(addressOf(KEY))).toBe(ADDRESS);
    expect(formatAddress(addressOf(OTHER_KEY))).toBe(OTHER_ADDRESS);
    expect(toNodeName(KEY)).toBe(`x25519:${KEY}`);
  });

  test("lie in 400::/7 for every key", () => {
    const key = uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString("hex"));
    assert(
      property(key, (text) => {
        expect([4, 5]).toContain(addressOf(text)[0]);
      }),
    );
  });

  test("belong to one key, anywhere in its /64", () => {
    expect(isAddressOf(KEY, ADDRESS)).toBe(true);
    expect(isAddressOf(KEY, "499:2b8d:370:fa5c::1")).toBe(true);
    expect(isAddressOf(KEY, OTHER_ADDRESS)).toBe(false);
    expect(isAddressOf(KEY, "nonsense")).toBe(false);
    expect(isAddressOf("nonsense", ADDRESS)).toBe(false);
  });

  test.each([
    ["::", "::"],
    ["::1", "::1"],
    ["400::", "400::"],
    ["0400:0:0:0:0:0:0:0001", "400::1"],
    ["::ffff:1.2.3.4", "::ffff:102:304"],
    ["5F6:ab::1:2", "5f6:ab::1:2"],
  ])("are read in every spelling: %s", (text, canonical) => {
    expect(formatAddress(parseAddress(text) ?? new Uint8Array(16).fill(1))).toBe(canonical);
  });

  test.each([
    "",
    "1.2.3.4",
    "400::1::2",
    "400::/7",
    "400::1%eth0",
    "g::",
    "1:2:3:4:5:6:7:8:9",
    "]",
    "::1]:80/[",
    "::1\n",
    " ::1",
  ])("are nothing else: %s", (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  test("are the same again after writing and reading", () => {
    assert(
      property(uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        expect(parseAddress(formatAddress(bytes))).toEqual(bytes);
      }),
    );
  });

  test("share a subnet by their first eight bytes", () => {
    const one = new Uint8Array(16).fill(4);
    expect(isSameSubnet(one, one.with(15, 9))).toBe(true);
    expect(isSameSubnet(one, one.with(7, 9))).toBe(false);
  });

  test.each([
    ["0400::/7", "400::/7"],
    ["5ff::/7", "400::/7"],
    ["400::1/128", "400::1/128"],
    ["5f6:12:13:14:15::/64", "5f6:12:13:14::/64"],
    ["500::/0", "::/0"],
    ["400::", undefined],
    ["400::/129", undefined],
    ["400::/x", undefined],
    ["400::/7/7", undefined],
    ["x/7", undefined],
  ])("of a subnet have one spelling: %s", (text, canonical) => {
    expect(canonicalSubnet(text)).toBe(canonical);
  });

  test("need keys of 64 lower-case hex digits", () => {
    expect(isNodeKey(KEY)).toBe(true);
    expect(isNodeKey(KEY.toUpperCase())).toBe(false);
    expect(isNodeKey(`${KEY}0`)).toBe(false);
  });
});

describe("mycelium:// URLs", () => {
  test("name a key or an overlay address", () => {
    expect(parseMyceliumUrl(`mycelium://${KEY}`)).toEqual({ pk: KEY });
    expect(parseMyceliumUrl(`mycelium://${KEY.toUpperCase()}/`)).toEqual({ pk: KEY });
    expect(parseMyceliumUrl(`mycelium://[${ADDRESS}]`)).toEqual({ ip: ADDRESS });
  });

  test.each([
    "mycelium://",
    "mycelium://abc",
    "mycelium://[2001:db8::1]",
    "mycelium://[x]",
    `http://${KEY}`,
    `mycelium://${KEY}?x`,
  ])("are nothing else: %s", (url) => {
    expect(() => parseMyceliumUrl(url)).toThrow("give mycelium://");
  });
});

describe("padding", () => {
  test("moves every size that is never delivered to the next that is, and no other", () => {
    const sizes = Array.from({ length: 200_000 }, (_, size) => size);

    const wrong = sizes.filter((size) => {
      const padded = deliverableBytes(size);
      const isMoved = padded !== size;
      return isUndeliverable(padded) || isMoved !== isUndeliverable(size) || padded - size >= 250 || padded < size;
    });
    expect(wrong).toEqual([]);
  });

  test("adds spaces at the end, the same ones each time", () => {
    const text = `{"a":"${"x".repeat(1_400)}"}`;
    const padded = padPayload(Buffer.from(text));

    expect(decode(padded)).toBe(text + " ".repeat(1_550 - text.length));
    expect(padPayload(Buffer.from(text))).toEqual(padded);
    expect(JSON.parse(decode(padded))).toEqual(JSON.parse(text));
    const short = Buffer.from("short");
    expect(padPayload(short)).toBe(short);
  });
});

describe("base64", () => {
  test("agrees with the runtime's own for all bytes", () => {
    assert(
      property(uint8Array({ maxLength: 1_000 }), (bytes) => {
        expect(toBase64(bytes)).toBe(Buffer.from(bytes).toString("base64"));
        expect(fromBase64(toBase64(bytes))).toEqual(bytes);
      }),
    );
  });

  test.each(["A", "AA", "AAA", "A===", "AA-_", "AA==AA==", "AAAA AAA", "****"])("refuses %s", (text) => {
    expect(fromBase64(text)).toBeUndefined();
  });
});

describe("the daemon's answers", () => {
  const message = { id: "5bcfe7559f2d8315", srcIp: ADDRESS, srcPk: KEY, dstIp: "", dstPk: "", payload: "aGk=" };

  test("about itself may lack key and start time", () => {
    expect(parseNodeInfo(JSON.stringify({ nodeIp: ADDRESS, nodePubkey: KEY, nodeStartTime: 7 }))).toEqual({
      address: ADDRESS,
      publicKey: KEY,
      startedAt: 7,
    });
    expect(parseNodeInfo(JSON.stringify({ nodeIp: ADDRESS, nodePubkey: "short", nodeStartTime: "7" }))).toEqual({
      address: ADDRESS,
    });
    expect(parseNodeInfo("null")).toBeUndefined();
    for (const nodeStartTime of [1e300, -1, 1.5, 8.64e12 + 1]) {
      const info = parseNodeInfo(JSON.stringify({ nodeIp: ADDRESS, nodeStartTime }));
      expect(info, "no date could be told of it").toEqual({ address: ADDRESS });
    }
  });

  test("hold a message with id, key, address and payload of the right form only", () => {
    expect(decode(parseMessage(JSON.stringify(message))?.payload)).toBe("hi");
    for (const wrong of [
      { id: "../../etc/pass" },
      { id: 7 },
      { srcPk: "short" },
      { srcPk: null },
      { srcIp: "1.2.3.4" },
      { srcIp: {} },
      { payload: "*" },
      { payload: undefined },
    ]) {
      expect(parseMessage(JSON.stringify({ ...message, ...wrong }))).toBeUndefined();
    }
    expect(parseMessage("[]")).toBeUndefined();
    expect(parseMessage("not JSON")).toBeUndefined();
  });

  test("hold ids and lists of texts", () => {
    expect(parseMessageId('{"id":"5bcfe7559f2d8315"}')).toBe("5bcfe7559f2d8315");
    expect(parseMessageId('{"id":"5bcf"}')).toBeUndefined();
    expect(parseTexts('["a"]')).toEqual(["a"]);
    expect(parseTexts("[1]")).toBeUndefined();
    expect(parseTexts("{}")).toBeUndefined();
  });

  test("of any text never make a parser throw", () => {
    assert(
      property(oneof(string(), json()), (text) => {
        const parsers = [parseMessage, parseNodeInfo, parseMessageId, parseTexts, parseDelivery];
        expect(parsers.map((parse) => parse(text))).toHaveLength(parsers.length);
      }),
    );
  });
});

describe("what became of a message", () => {
  test.each([
    ['{"state":"pending"}', "under way"],
    ['{"state":{"sending":{"pending":0,"sent":1,"acked":0}}}', "under way"],
    ['{"state":"received"}', "arrived"],
    ['{"state":"read"}', "arrived"],
    ['{"state":"aborted"}', "unknown"],
    ['{"state":"lost"}', undefined],
    ['{"state":{}}', undefined],
    ["[]", undefined],
  ])("is read from %s", (text, delivery) => {
    expect(parseDelivery(text)).toBe(delivery);
  });
});

describe("answers in a reply", () => {
  test("are found by id, single or in a batch, in any order", () => {
    const one = '{"jsonrpc":"2.0","id":"a","result":1}';
    const two = '{"jsonrpc":"2.0","id":2,"error":{"code":-32005,"message":"m"}}';
    expect(find(`${one}   `, "a")?.get("a")).toEqual({ text: one });
    const both = find(`[${two},${one}]`, "a", "2");
    expect(both?.get("2")).toEqual({ text: two, code: -32005 });
    expect(both?.get("a")).toEqual({ text: one });
  });

  test("that concern the whole message go to each call under its own id", () => {
    const found = find('{"jsonrpc":"2.0","id":null,"error":{"code":-32029,"message":"m"}}', "a", "b");
    expect(JSON.parse(found?.get("b")?.text ?? "")).toMatchObject({ id: "b", error: { code: -32029 } });
    expect(found?.size).toBe(2);
    expect(find('[{"jsonrpc":"2.0","id":null,"error":{}}]', "a")?.size).toBe(0);
  });

  test.each(["", "7", "null", "[7]", '{"id":"a"}', '{"jsonrpc":"2.0","id":"a","method":"m"}'])("are not %s", (text) => {
    expect(find(text, "a")).toBeUndefined();
  });

  test("are known as too large by their code", () => {
    expect([isTooLarge({ text: "", code: -32013 }), isTooLarge({ text: "", code: -32005 })]).toEqual([true, false]);
  });
});

describe("JSON-RPC texts", () => {
  test("are answers when they have a result or an error and no method", () => {
    expect(isAnswer({ result: 1 })).toBe(true);
    expect(isAnswer({ error: {}, id: null })).toBe(true);
    expect(isAnswer([{ result: 1 }, { error: {} }])).toBe(true);
    for (const other of [
      { method: "m", result: 1 },
      { method: "m" },
      {},
      [],
      [[{ result: 1 }]],
      [{ result: 1 }, 7],
      7,
      null,
    ]) {
      expect(isAnswer(other)).toBe(false);
    }
  });

  test("are refused one by one, notifications in silence", () => {
    expect(decode(refusal({ id: 1, method: "m" }, "tooMany"))).toBe(
      '{"jsonrpc":"2.0","id":1,"error":{"code":-32029,"message":"Too many"}}',
    );
    expect(
      JSON.parse(decode(refusal([{ id: null }, { method: "n" }, { id: "x" }], "tooLarge", { limit: 1 }))),
    ).toMatchObject([{ id: null, error: { data: { limit: 1 } } }, { id: "x" }]);
    expect(refusal({ method: "n" }, "tooMany")).toBeUndefined();
    expect(refusal([{ id: {} }, 7], "tooMany")).toBeUndefined();
  });
});
