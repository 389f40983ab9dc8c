/** Who may be talked to at all: Host and Origin allow-lists and content types, judged before anything is read. */
import type { IncomingMessage } from "node:http";

import { type Fault, shown } from "./fault.ts";

const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"] as const;
/** What a Host header may hold (RFC 9110 §7.2); no userinfo, path or query that a URL parser would take apart. */
const AUTHORITY = /^[a-z0-9._-]+(:\d{1,5})?$|^\[[0-9a-f:.]+\](:\d{1,5})?$/i;
/** JSON's own type, and the two that JSON-RPC clients of old send; no form of a page can send any of them unasked. */
const CONTENT_TYPE = /^application\/(json|json-rpc|jsonrequest)\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?$/i;

/**
 * The name in a Host header or a setting, as a URL has it: lower case, no port, IPv6 short and in brackets.
 * Undefined where it is none.
 */
export function hostName(authority: string): string | undefined {
  if (!AUTHORITY.test(authority)) return undefined;
  try {
    return new URL(`http://${authority}/`).hostname.replace(/\.$/, "");
  } catch {
    return undefined;
  }
}

/** An address as a URL has it; IPv4 inside IPv6 (`::ffff:127.0.0.1`) is IPv4. */
export function addressName(address: string): string | undefined {
  const plain = plainAddress(address);
  return hostName(plain.includes(":") ? `[${plain}]` : plain);
}

export function plainAddress(address: string): string {
  return address.startsWith("::ffff:") && address.includes(".") ? address.slice("::ffff:".length) : address;
}

const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i;

/** What a request target in absolute form (`http://host/path`) says; undefined for any other. */
export function splitTarget(target: string): { readonly authority: string; readonly path: string } | undefined {
  const [, authority, rest = ""] = ABSOLUTE.exec(target) ?? [];
  return authority === undefined ? undefined : { authority, path: rest.startsWith("/") ? rest : `/${rest}` };
}

interface GuardOptions {
  readonly host: string;
  readonly allowedHosts: readonly string[];
  readonly allowedOrigins: readonly string[];
}

/**
 * A page of another site can make a browser send requests here, and by DNS rebinding read the answers; it can not make
 * it say another Host or hide its Origin.
 */
export class Guard {
  readonly #hosts: ReadonlySet<string>;
  readonly #origins: ReadonlySet<string>;

  /** @throws Error naming a setting that is no host name. */
  constructor({ host, allowedHosts, allowedOrigins }: GuardOptions) {
    const bound = addressName(host) ?? hostName(host);
    const configured = allowedHosts.map((name) => {
      const parsed = hostName(name) ?? addressName(name);
      if (parsed === undefined) {
        throw new Error(`http.allowed_hosts ${shown(name)}: not a host name. Write it like "jobs.example.org".`);
      }
      return parsed;
    });
    this.#hosts = new Set([...LOOPBACK, ...configured, ...(bound === undefined ? [] : [bound])]);
    this.#origins = new Set(allowedOrigins.map((origin) => origin.toLowerCase()));
  }

  /** `trusted`: a Host header of this connection that was found good before. */
  check(request: IncomingMessage, trusted: string | undefined): Fault | undefined {
    const { host, origin } = request.headers;
    if (host !== trusted || host === undefined) {
      const fault = this.#checkHost(request, host);
      if (fault !== undefined) return fault;
    }
    // Counts in place of the header (RFC 9112 §3.2.2); here both have to be good.
    const named = request.url?.startsWith("/") === true ? undefined : splitTarget(request.url ?? "");
    if (named !== undefined) {
      const fault = this.#checkHost(request, named.authority);
      if (fault !== undefined) return fault;
    }
    if (origin === undefined || this.#origins.has(origin.toLowerCase())) return undefined;
    return {
      status: 403,
      error: `Origin ${shown(origin)} is not served`,
      fix: "Pages of other sites may not call; list the origin in http.allowed_origins if it shall.",
    };
  }

  #checkHost(request: IncomingMessage, host: string | undefined): Fault | undefined {
    if (host === undefined) return { status: 400, error: "No Host header", fix: "Send one, as HTTP/1.1 demands." };
    const name = hostName(host);
    if (name !== undefined && (this.#hosts.has(name) || name === addressName(request.socket.localAddress ?? ""))) {
      return undefined;
    }
    return {
      status: 403,
      error: `Host ${shown(host)} is not served`,
      fix: "Use the address it is bound to, or list the name in http.allowed_hosts.",
    };
  }
}

/** RFC 9112 §3.2: more than one Host is an attack on somebody in between; Node keeps the first of them. */
export function hasOneHost(request: IncomingMessage): boolean {
  const { rawHeaders } = request;
  let count = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index];
    if (name?.length === 4 && name.toLowerCase() === "host") count++;
  }
  return count <= 1;
}

/** A body that is declared to be JSON, uncompressed: text/plain and forms are what other sites' pages can send. */
export function checkContent({ headers }: IncomingMessage): Fault | undefined {
  const { "content-type": type = "", "content-encoding": encoding = "identity" } = headers;
  if (type !== "application/json" && !CONTENT_TYPE.test(type)) {
    return {
      status: 415,
      error: type === "" ? "No Content-Type" : `Content-Type ${shown(type)} is not served`,
      fix: "Send Content-Type: application/json.",
    };
  }
  if (encoding === "identity") return undefined;
  return {
    status: 415,
    error: `Content-Encoding ${shown(encoding)} is not served`,
    fix: "Send the body uncompressed.",
  };
}
