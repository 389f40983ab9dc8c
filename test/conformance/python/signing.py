"""Canonical text, what is signed, the verification rule, and the log chain: the bytes that two runners must agree on."""

import functools
import hashlib
import json
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MAX_DEPTH = 16
MAX_INTEGER = 2**53 - 1
# fullmatch everywhere: `$` would let a newline through behind the text.
MEMBER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
FORBIDDEN_MEMBERS = {"__proto__", "constructor", "prototype"}
KEY = re.compile(r"ed25519:[0-9a-f]{64}")
SIGNATURE = re.compile(r"[0-9a-f]{128}")


class Refused(Exception):
    """The text, document or signature is not what it must be; the message says why."""


# --- canonical text ---------------------------------------------------------------------------------------------------


def canonical_text(value) -> str:
    """The one spelling of a document. Raises Refused for what has none."""
    check_value(value, 1)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def check_value(value, depth):
    if isinstance(value, bool):
        return
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise Refused("an integer beyond 2^53-1")
    elif isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise Refused("a lone surrogate")
    elif isinstance(value, (dict, list)):
        if depth > MAX_DEPTH:
            raise Refused("nested too deep")
        for name in value if isinstance(value, dict) else ():
            if not MEMBER.fullmatch(name) or name in FORBIDDEN_MEMBERS:
                raise Refused("a member's name is not allowed")
        for item in value.values() if isinstance(value, dict) else value:
            check_value(item, depth + 1)
    else:
        # None and float: null, 1.5, 1e3, NaN.
        raise Refused("a value that canonical text does not have")


def parse_canonical(text: bytes):
    """Parses text that must be canonical already: what is written again has to be the same bytes (duplicates, -0, 6e1)."""
    try:
        value = json.loads(text)
        if canonical_text(value).encode() == text:
            return value
    except (ValueError, RecursionError):
        pass
    raise Refused("not canonical text")


# --- what is signed ---------------------------------------------------------------------------------------------------


def signing_input(kind: str, body: bytes) -> bytes:
    """DSSE v1 pre-authentication encoding; the kind comes from what the verifier is doing, never from the message."""
    media_type = b"application/vnd.horus.%s.v1+json" % kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(media_type), media_type, len(body), body)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Signer:
    """A key file: one line, `ed25519-seed:` and 64 hex digits."""

    def __init__(self, path: str):
        with open(path, encoding="ascii") as file:
            seed = re.fullmatch(r"ed25519-seed:([0-9a-f]{64})\n?", file.read())
        if seed is None:
            raise SystemExit(f"{path} is no key file")
        self._key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed[1]))
        raw = self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.public_key = "ed25519:" + raw.hex()

    def sign(self, kind: str, body: dict) -> dict:
        """A document with one signature, as tickets and receipts are stored."""
        signature = self._key.sign(signing_input(kind, canonical_text(body).encode()))
        return {"body": body, "public_key": self.public_key, "signature": signature.hex()}


# --- the verification rule --------------------------------------------------------------------------------------------

# Curve constants (RFC 8032, 5.1). OpenSSL checks S < L and the equation; it takes keys and R of small order, we do not.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_1 = pow(2, (P - 1) // 4, P)
# y of every point of order 1, 2, 4 and 8 in every encoding; each with either sign bit makes the 14 that are refused as R.
ORDER_8_Y = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL_ORDER_Y = {0, 1, P, P + 1, P - 1, ORDER_8_Y, P - ORDER_8_Y}


def verify(public_key: str, signature: str, data: bytes) -> bool:
    """The whole rule. Strict patterns come before any decoding."""
    if not KEY.fullmatch(public_key) or not SIGNATURE.fullmatch(signature):
        return False
    if is_small_order(signature[:64]) or not is_sound_key(public_key):
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key[8:]))
        key.verify(bytes.fromhex(signature), data)
    except (InvalidSignature, ValueError):
        return False
    return True


def is_small_order(encoded: str) -> bool:
    return int.from_bytes(bytes.fromhex(encoded), "little") % 2**255 in SMALL_ORDER_Y


@functools.lru_cache(maxsize=10_000)
def is_sound_key(public_key: str) -> bool:
    """Canonical encoding, on the curve, not of small order, torsion free. Some milliseconds, so once for each key."""
    if is_small_order(public_key[8:]):
        return False
    point = decode_point(bytes.fromhex(public_key[8:]))
    return point is not None and is_identity(multiply(point, L))


def decode_point(encoded: bytes):
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y % 2**255
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if (v * x * x - u) % P != 0:
        x = x * SQRT_MINUS_1 % P
    if (v * x * x - u) % P != 0 or (x == 0 and sign == 1):
        return None
    x = P - x if x % 2 != sign else x
    return (x, y, 1, x * y % P)


def add(p, q):
    """Extended coordinates (RFC 8032, 5.1.4)."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(point, scalar):
    product = (0, 1, 1, 0)
    while scalar > 0:
        if scalar & 1:
            product = add(product, point)
        point, scalar = add(point, point), scalar >> 1
    return product


def is_identity(point) -> bool:
    return point[0] == 0 and (point[1] - point[2]) % P == 0


# --- the log chain ----------------------------------------------------------------------------------------------------


class LogChain:
    """h0 = 32 zero bytes, h_i = SHA-256("horus.log.v1\\0" | h_(i-1) | i as 8 bytes | SHA-256(entry_i)), i = seq from 1."""

    def __init__(self):
        self.head, self.count = bytes(32), 0

    def append(self, entry: bytes):
        self.count += 1
        link = self.head + self.count.to_bytes(8, "big") + hashlib.sha256(entry).digest()
        self.head = hashlib.sha256(b"horus.log.v1\0" + link).digest()
