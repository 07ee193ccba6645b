"""Takes apart tails and receipts, in hexadecimal one a line, as docs/design.md specifies them.
usage: tail_receipt.py PUBLIC_KEY_BASE64 < messages. Prints each as JSON, once it is verified."""
import hashlib, json, sys
from base64 import b64decode, b64encode
from uuid import UUID
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

def read(message, key, key_id):
    at = 0
    def take(size):
        nonlocal at
        at += size
        if at > len(message): raise ValueError("it is cut off")
        return message[at - size:at]
    number = lambda size=8: int.from_bytes(take(size), "big")
    uuid = lambda: str(UUID(bytes=take(16)))
    base64 = lambda: b64encode(take(32)).decode()
    kind = message.partition(b"\0")[0]
    take(len(kind) + 1)
    if take(1) != b"\1" or take(32) != key_id: raise ValueError("another version or key")
    if kind == b"edge-outbox/tail":
        value = dict(device=take(number(2)).decode(), epoch=uuid(), seq=number(), digest=base64(),
                     boot_id=uuid(), boottime_us=number(), nonce=take(16).hex())
    elif kind == b"edge-outbox/receipt":
        value = dict(hub=uuid(), generation=number(), device=take(number(2)).decode(), epoch=uuid(),
                     accounted_to=number(), digest=base64(), quarantined=number(),
                     missing=[[number(), number()] for _ in range(number(1))])
    else: raise ValueError("neither tail nor receipt")
    key.verify(take(64), message[:at - 64])
    if at != len(message): raise ValueError("bytes follow")
    return value

public = b64decode(sys.argv[1])
key = Ed25519PublicKey.from_public_bytes(public)
key_id = hashlib.sha256(b"edge-outbox/key\0\1" + public).digest()
for count, line in enumerate(sys.stdin, 1):
    try:
        print(json.dumps(read(bytes.fromhex(line), key, key_id)))
    except Exception as error:
        sys.exit(f"line {count}: {str(error) or 'the signature does not fit'}")
