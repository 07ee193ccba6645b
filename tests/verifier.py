"""Verifies edge-outbox envelopes, one per line on stdin, as docs/envelope.md specifies them.
usage: verifier.py [--run] PUBLIC_KEY_BASE64 < envelopes
With --run the lines must also be a run: one epoch of one device, every seq, in order, chained."""
import hashlib, json, re, struct, sys
from base64 import b64decode, b64encode
from datetime import datetime, timedelta
from uuid import UUID
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MEMBERS = ("id device epoch seq event_type event_version source occurred_at clock kind prev "
           "private_digest key_id signature leaf size path redelivered").split()
PERSONAL = MEMBERS + ["aggregate_id", "subject_id", "salt"]
ORIGINAL = MEMBERS[:1] + ["original_id"]
TOKEN, NAME, LARGEST = "[A-Za-z0-9_-]+", r"[^\x00-\x1f\x7f-\x9f]*", 2**53 - 1

def fail(why): raise ValueError(why)
def check(true, why): return true or fail(why)
def sha(*parts): return hashlib.sha256(b"".join(parts)).digest()
def number(value, least, most, size):
    check(type(value) is int and least <= value <= most, f"the number {value} is out of range")
    return value.to_bytes(size, "big")
def uuid(value):
    return check(str(UUID(value)) == value and UUID(value), f"the UUID {value}").bytes
def binary(value, size=None):
    raw = b64decode(value)
    check(b64encode(raw).decode() == value and size in (None, len(raw)), f"the base64 {value}")
    return raw
def text(value, pattern, least, most):
    raw = value.encode()
    check(re.fullmatch(pattern, value) and least <= len(raw) <= most, f"the text {value!r}")
    return len(raw).to_bytes(2, "big") + raw
def time(value):
    at = datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ")
    check(at.isoformat(timespec="microseconds") + "Z" == value and at.year < 9999, f"time {value}")
    return struct.pack(">q", (at - datetime(1970, 1, 1)) // timedelta(microseconds=1))
def root(node, leaf, size, path):
    if size == 1 or not path: return check(size == 1 and not path and node, "the path's length")
    split = 1 << (size - 1).bit_length() - 1
    if leaf < split: return sha(b"\1", root(node, leaf, split, path[:-1]), path[-1])
    return sha(b"\1", path[-1], root(node, leaf - split, size - split, path[:-1]))
def verify(line, key, key_id):
    head, plain, payload = line.partition(b',"payload":')
    head, payload = (head + b"}" * bool(plain)).decode(), payload[:-1]
    e = json.loads(head)
    names = MEMBERS[:1] + list(e)[2:] if list(e)[:2] == ORIGINAL else list(e)
    check(names in ([PERSONAL] if plain else [MEMBERS, PERSONAL + ["payload_b64"]])
          and list(e["clock"]) == ["wall", "sync", "boot_id", "boottime_us"]
          and type(e["path"]) is list and type(e["redelivered"]) is bool and line.endswith(b"}")
          and json.dumps(e, separators=(",", ":"), ensure_ascii=False) == head, "the spelling")
    clock, ledger = e["clock"], e["event_type"].split(".")[0] == "outbox"
    check(e["kind"] == ("ledger" if ledger else "program"), "kind and event_type disagree")
    if "salt" in e:
        payload = payload if plain else binary(e["payload_b64"])
        json.loads(payload.decode(), parse_int=str, parse_float=str, parse_constant=fail)
        personal = sha(b"edge-outbox/private\0", binary(e["salt"], 16), uuid(e["aggregate_id"]),
                       text(e["subject_id"], NAME, 0, 255), payload)
        check(personal == binary(e["private_digest"], 32), "the personal part was altered")
    check(binary(e["key_id"], 32) == key_id, "signed by another key")
    extension = b"\1" + text(e["original_id"], NAME, 1, 255) if "original_id" in e else b""
    digest = sha(
        b"edge-outbox/event\0", bytes([1, ledger]), key_id, text(e["device"], TOKEN, 1, 64),
        uuid(e["epoch"]), number(e["seq"], 1, LARGEST, 8), uuid(e["id"]),
        text(e["event_type"], rf"{TOKEN}(\.{TOKEN})*", 1, 128),
        number(e["event_version"], 1, 65535, 2), text(e["source"], NAME, 1, 255),
        time(e["occurred_at"]), time(clock["wall"]),
        bytes([["no", "yes", "unknown"].index(clock["sync"])]), uuid(clock["boot_id"]),
        number(clock["boottime_us"], 0, LARGEST, 8), binary(e["prev"], 32),
        binary(e["private_digest"], 32), struct.pack(">H", len(extension)), extension)
    size, _ = number(e["size"], 1, 64, 1), number(e["leaf"], 0, e["size"] - 1, 1)
    top = root(sha(b"\0", digest), e["leaf"], e["size"], [binary(node, 32) for node in e["path"]])
    key.verify(binary(e["signature"], 64), b"edge-outbox/group\0\1" + size + top)
    return [e["device"], e["epoch"], e["seq"], e["prev"]], b64encode(digest).decode()

run, public, expected, count = "--run" in sys.argv, binary(sys.argv[-1], 32), None, 0
key, key_id = Ed25519PublicKey.from_public_bytes(public), sha(b"edge-outbox/key\0\1", public)
for count, line in enumerate(sys.stdin.buffer, 1):
    try:
        place, digest = verify(line.removesuffix(b"\n"), key, key_id)
        check(not run or expected in (None, place), f"{place} stands where {expected} belongs")
        expected = place[:2] + [place[2] + 1, digest]
    except Exception as error:
        sys.exit(f"line {count}: {str(error) or 'the signature does not fit'}")
print(f"{count} envelopes verified")
