/** Overlay keys and addresses: how an address follows from a node's key, and whether the two belong together. */

import { blake3 } from "@noble/hashes/blake3.js";

const ADDRESS_BYTES = 16;
const SUBNET_BYTES = 8;

/** 64 lower-case hex digits: an x25519 node key as the daemon writes it. */
const NODE_KEY = /^[0-9a-f]{64}$/;

/** Whether `text` is a node key: 64 lower-case hex digits, without prefix. */
export function isNodeKey(text: string): boolean {
  return NODE_KEY.test(text);
}

/** How a node key is written outside this folder, apart from Ed25519 keys of the same length (spec: signing, "Keys"). */
export function toNodeName(nodeKey: string): string {
  return `x25519:${nodeKey}`;
}

/**
 * The overlay address of a node: the first 16 bytes of BLAKE3 over its key, byte 0 replaced by 4, or 5 where the
 * bits of that byte are odd in number (spec: mycelium, facts).
 * @param nodeKey 64 hex digits
 */
export function addressOf(nodeKey: string): Uint8Array {
  const key = new Uint8Array(nodeKey.length / 2);
  for (let at = 0; at < key.length; at += 1) {
    key[at] = Number.parseInt(nodeKey.slice(at * 2, at * 2 + 2), 16);
  }
  const address = blake3(key).slice(0, ADDRESS_BYTES);
  address[0] = 4 + (countBits(address[0] ?? 0) % 2);
  return address;
}

function countBits(byte: number): number {
  return byte.toString(2).replaceAll("0", "").length;
}

/** The 16 bytes of an IPv6 address, or undefined where `text` is not one. Takes every spelling, without a zone. */
export function parseAddress(text: string): Uint8Array | undefined {
  // The URL parser knows all spellings and writes one: lower case, no IPv4 tail, at most one "::".
  // It also strips and splits, so only the characters of an address reach it.
  const url = `http://[${text}]/`;
  if (!/^[0-9a-fA-F:.]+$/.test(text) || !URL.canParse(url)) {
    return undefined;
  }
  const canonical = new URL(url).hostname.slice(1, -1);
  const [head = "", tail] = canonical.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill("0"), ...right];
  const bytes = new Uint8Array(ADDRESS_BYTES);
  for (const [index, group] of groups.entries()) {
    const value = Number.parseInt(group, 16);
    bytes[index * 2] = value >> 8;
    bytes[index * 2 + 1] = value & 0xff;
  }
  return bytes;
}

/** The usual text of an address: lower case, the longest run of zeros as `::`. */
export function formatAddress(address: Uint8Array): string {
  const groups: string[] = [];
  for (let at = 0; at < ADDRESS_BYTES; at += 2) {
    groups.push((((address[at] ?? 0) << 8) | (address[at + 1] ?? 0)).toString(16));
  }
  return new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1);
}

/** Whether two addresses lie in the same /64: each node owns one. */
export function isSameSubnet(one: Uint8Array, other: Uint8Array): boolean {
  return one.subarray(0, SUBNET_BYTES).every((byte, index) => byte === other[index]);
}

/**
 * Whether `address` lies in the /64 of `nodeKey`. The daemon does not bind the two in what it hands out (spec: mycelium,
 * facts), so a message where they differ comes from nobody in particular and is dropped.
 */
export function isAddressOf(nodeKey: string, address: string): boolean {
  const parsed = parseAddress(address);
  return parsed !== undefined && isNodeKey(nodeKey) && isSameSubnet(parsed, addressOf(nodeKey));
}

/** A subnet in one spelling, to compare what is configured with what the daemon lists; undefined where it is not one. */
export function canonicalSubnet(text: string): string | undefined {
  const [address = "", length = "", ...rest] = text.split("/");
  const parsed = parseAddress(address);
  if (parsed === undefined || rest.length > 0 || !/^\d{1,3}$/.test(length) || Number(length) > 128) {
    return undefined;
  }
  const bits = Number(length);
  const masked = parsed.map((byte, index) => byte & (0xff00 >> Math.min(8, Math.max(0, bits - index * 8))));
  return `${formatAddress(masked)}/${bits}`;
}
