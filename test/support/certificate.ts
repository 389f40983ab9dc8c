/** A self-signed certificate for loopback, made on the spot so that no private key lies in the repository. */
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";

/** DER (ITU-T X.690): a tag, the length, the content. */
function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const size = content.length;
  const length = size < 128 ? [size] : size < 256 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts);
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, "hex"));
const utcTime = (date: Date): Buffer =>
  der(0x17, Buffer.from(`${date.toISOString().replaceAll(/[-:T]/g, "").slice(2, 14)}Z`));

const ED25519 = sequence(oid("2b6570"));
const YEAR_MS = 365 * 86_400_000;

export interface TestCertificate {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

/** Valid for `localhost` and 127.0.0.1, from a year ago for two years (RFC 5280 §4.1). */
export function aCertificate(): TestCertificate {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const now = Date.now();
  const name = sequence(der(0x31, sequence(oid("550403"), der(0x0c, Buffer.from("localhost")))));
  const altNames = sequence(der(0x82, Buffer.from("localhost")), der(0x87, Buffer.from([127, 0, 0, 1])));
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ED25519,
    name,
    sequence(utcTime(new Date(now - YEAR_MS)), utcTime(new Date(now + YEAR_MS))),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(sequence(oid("551d11"), der(0x04, altNames)))),
  );
  const signature = der(0x03, Buffer.from([0]), sign(null, body, privateKey));
  const certificate = sequence(body, ED25519, signature).toString("base64");
  const lines = certificate.match(/.{1,64}/g) ?? [];
  return {
    cert: ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n"),
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}
