/** Malformed HTTP requests, in head and framing. What they carry is a job that nobody may send. */
import { string } from "fast-check";

import { damaged, type Message } from "./messages.ts";
import type { Random } from "./random.ts";

/** A request taken apart. */
interface Parts {
  method: string;
  target: string;
  version: string;
  headers: [name: string, value: string][];
  body: Buffer;
  /** Between the lines of the head. */
  newline: string;
}

type Change = (parts: Parts, random: Random) => void;

const LONG = 20_000;

const CHANGES: Readonly<Record<string, Change>> = {
  method(parts, random) {
    parts.method = random.pick([
      "GET",
      "HEAD",
      "PUT",
      "TRACE",
      "CONNECT",
      "OPTIONS",
      "PATCH",
      "post",
      "",
      "P OST",
      "X".repeat(LONG),
      "PRI",
    ]);
  },
  target(parts, random) {
    parts.target = random.pick([
      "*",
      "",
      "//",
      "/..",
      "/rpc",
      "/metrics",
      "/%00",
      "/é",
      "/ /",
      "http://localhost/",
      "localhost:1",
      "?",
      `/${"x".repeat(LONG)}`,
      "/healthz",
      "/openrpc.json",
    ]);
  },
  version(parts, random) {
    parts.version = random.pick([
      "HTTP/1.0",
      "HTTP/0.9",
      "HTTP/2.0",
      "HTTP/9.9",
      "HTTP/1.1 ",
      "HTTP/",
      "",
      "http/1.1",
      "ICY",
    ]);
  },
  "a header less": (parts, random) => void parts.headers.splice(random.below(parts.headers.length), 1),
  "a header twice"(parts, random) {
    parts.headers.push(random.pick(parts.headers));
  },
  "a value of another"(parts, random) {
    const header = random.pick(parts.headers);
    header[1] = random.value(string({ unit: "binary", maxLength: 40 }));
  },
  "a name of another"(parts, random) {
    const header = random.pick(parts.headers);
    header[0] = random.pick([
      `${header[0]} `,
      ` ${header[0]}`,
      `${header[0]}\u0000`,
      "",
      "é",
      random.value(string({ maxLength: 20 })),
    ]);
  },
  host: (parts, random) =>
    set(
      parts,
      "Host",
      random.pick(["evil.example", "", "localhost:99999", "a@localhost", "[::1", "localhost, evil", "x".repeat(5000)]),
    ),
  origin: (parts, random) => set(parts, "Origin", random.pick(["null", "https://evil.example", "", "file://"])),
  type: (parts, random) =>
    set(
      parts,
      "Content-Type",
      random.pick(["text/plain", "", "application/json; charset=utf-16", "multipart/form-data", "x".repeat(5000)]),
    ),
  encoding: (parts, random) => set(parts, "Content-Encoding", random.pick(["gzip", "br", "identity, gzip", ""])),
  length: (parts, random) =>
    set(
      parts,
      "Content-Length",
      random.pick([
        "0",
        "1",
        "-1",
        "+5",
        "0x10",
        "1e3",
        "99999999999999999999",
        "18446744073709551616",
        "",
        " ",
        "5, 5",
        "10000000",
        String(parts.body.length + 1 + random.below(50)),
        String(random.below(parts.body.length)),
      ]),
    ),
  chunked(parts, random) {
    set(
      parts,
      "Transfer-Encoding",
      random.pick([
        "chunked",
        "chunked",
        "chunked",
        "chunked",
        "gzip, chunked",
        "chunked, chunked",
        "identity",
        "\u000bchunked",
      ]),
    );
    if (random.chance(0.8)) parts.headers = parts.headers.filter(([name]) => name !== "Content-Length");
    parts.body = chunks(parts.body, random);
  },
  expect: (parts, random) => set(parts, "Expect", random.pick(["100-continue", "100-continue", "200-ok", ""])),
  upgrade(parts, random) {
    set(parts, "Upgrade", random.pick(["h2c", "websocket", "TLS/1.3", ""]));
    set(parts, "Connection", random.pick(["Upgrade", "upgrade, HTTP2-Settings", "close", "keep-alive, Upgrade"]));
  },
  "many headers"(parts, random) {
    const count = random.pick([100, 1000, 3000]);
    for (let index = 0; index < count; index += 1) parts.headers.push([`X-${index}`, "1"]);
  },
  "a long header": (parts, random) => set(parts, "X-Long", "a".repeat(random.pick([8000, 16_300, LONG, 100_000]))),
  folded: (parts) => set(parts, "X-Folded", "1\r\n 2"),
  newlines(parts, random) {
    parts.newline = random.pick(["\n", "\r", "\r\r\n", "\n\r"]);
  },
};

/** One to three changes of a good request, or something that was none to begin with. */
export function aDamagedRequest(good: Buffer, random: Random): Message {
  if (random.chance(0.1)) return damaged(good, random);
  if (random.chance(0.06)) return foreign(good, random);
  const parts = takeApart(good);
  const names = Array.from({ length: random.pick([1, 1, 2, 3]) }, () => random.pick(Object.keys(CHANGES)));
  for (const name of names) CHANGES[name]?.(parts, random);
  return { name: `head: ${names.join(", ")}`, bytes: putTogether(parts) };
}

function foreign(good: Buffer, random: Random): Message {
  const name = random.pick(["TLS", "HTTP/2", "PROXY", "pipelined", "noise", "nothing", "Redis"]);
  const bytes: Readonly<Record<string, () => Buffer>> = {
    TLS: () => Buffer.concat([Buffer.from("16030100c8010000c40303", "hex"), random.bytes(200)]),
    "HTTP/2": () => Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0"),
    PROXY: () => Buffer.concat([Buffer.from("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), good]),
    pipelined: () => Buffer.concat(Array.from({ length: random.pick([2, 20, 400]) }, () => good)),
    noise: () => random.bytes(random.below(3000)),
    nothing: () => Buffer.alloc(0),
    Redis: () => Buffer.from("*1\r\n$4\r\nPING\r\n"),
  };
  return { name: `head: ${name}`, bytes: bytes[name]?.() ?? good };
}

/** In chunks, now and then with something wrong about one of them. */
function chunks(body: Buffer, random: Random): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < body.length;) {
    const part = body.subarray(at, at + 1 + random.below(400));
    at += part.length;
    const size = random.chance(0.9)
      ? part.length.toString(16)
      : random.pick([
          "zz",
          "-1",
          "",
          "ffffffffffffffffff",
          `${part.length};${"x".repeat(LONG)}`,
          (part.length + 1).toString(16),
        ]);
    parts.push(Buffer.from(`${size}\r\n`), part, Buffer.from(random.chance(0.97) ? "\r\n" : "x"));
  }
  const end = random.pick(["0\r\n\r\n", "0\r\n\r\n", "0\r\n\r\n", "0\r\nHost: evil.example\r\n\r\n", "00\r\n", ""]);
  return Buffer.concat([...parts, Buffer.from(end)]);
}

function set(parts: Parts, name: string, value: string): void {
  const header = parts.headers.find(([present]) => present.toLowerCase() === name.toLowerCase());
  if (header === undefined) parts.headers.push([name, value]);
  else header[1] = value;
}

function takeApart(request: Buffer): Parts {
  const end = request.indexOf("\r\n\r\n");
  const [first = "", ...lines] = request.subarray(0, end).toString("latin1").split("\r\n");
  const [method = "", target = "", version = ""] = first.split(" ");
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(": ");
    return [line.slice(0, colon), line.slice(colon + 2)];
  });
  return { method, target, version, headers, body: request.subarray(end + 4), newline: "\r\n" };
}

function putTogether({ method, target, version, headers, body, newline }: Parts): Buffer {
  const lines = [`${method} ${target} ${version}`, ...headers.map(([name, value]) => `${name}: ${value}`)];
  // Latin-1 as the wire has it; what is beyond it becomes something else, which is as good.
  return Buffer.concat([Buffer.from(`${lines.join(newline)}${newline}${newline}`, "latin1"), body]);
}
