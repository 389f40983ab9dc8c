/** The simulated daemon's list of topics and of the subnets that may send to them. */

import { canonicalSubnet, parseAddress } from "../../transports/mycelium/address.ts";
import { fromBase64 } from "../../transports/mycelium/base64.ts";

interface Answer {
  readonly status: number;
  readonly body?: unknown;
}

/** Topics not on the list are open to all; a listed topic only to its sources, without any to nobody. */
export class TopicList {
  readonly #sources = new Map<string, string[]>();

  isAllowed(topic: Buffer, srcIp: string): boolean {
    const subnets = this.#sources.get(topic.toString("base64"));
    return subnets === undefined || subnets.some((subnet) => contains(subnet, srcIp));
  }

  /** Answers what comes after `/messages/topics`. */
  answer(method: string, segments: readonly string[], body: Buffer): Answer {
    const [topic = "", kind, subnet] = segments.map(decodeURIComponent);
    if (segments.length === 0) {
      return method === "GET" ? { status: 200, body: [...this.#sources.keys()] } : this.#add(body);
    }
    if (fromBase64(topic) === undefined) {
      return { status: 400 };
    }
    if (kind !== "sources") {
      return { status: 404 };
    }
    if (method === "DELETE" && subnet !== undefined) {
      const left = this.#sources.get(topic)?.filter((source) => source !== canonicalSubnet(subnet));
      this.#sources.set(topic, left ?? []);
      return { status: 204 };
    }
    return method === "GET" ? this.#list(topic) : this.#addSource(topic, body);
  }

  #list(topic: string): Answer {
    const body = this.#sources.get(topic);
    return body === undefined ? { status: 404 } : { status: 200, body };
  }

  #add(body: Buffer): Answer {
    const bytes: unknown = parse(body);
    if (!Array.isArray(bytes) || !bytes.every((byte) => Number.isInteger(byte))) {
      return { status: 422, body: "expected a sequence" };
    }
    const topic = Buffer.from(bytes.map(Number)).toString("base64");
    this.#sources.set(topic, this.#sources.get(topic) ?? []);
    return { status: 201 };
  }

  #addSource(topic: string, body: Buffer): Answer {
    const given: unknown = parse(body);
    const text = typeof given === "object" && given !== null && "subnet" in given ? given.subnet : undefined;
    const subnet = typeof text === "string" ? canonicalSubnet(text) : undefined;
    if (subnet === undefined) {
      return { status: 400 };
    }
    // As the daemon does: no check whether it is there already.
    this.#sources.set(topic, [...(this.#sources.get(topic) ?? []), subnet]);
    return { status: 201 };
  }
}

function parse(body: Buffer): unknown {
  try {
    const value: unknown = JSON.parse(body.toString("utf8"));
    return value;
  } catch {
    return undefined;
  }
}

function contains(subnet: string, address: string): boolean {
  const bits = subnet.split("/")[1] ?? "128";
  return parseAddress(address) !== undefined && canonicalSubnet(`${address}/${bits}`) === subnet;
}
