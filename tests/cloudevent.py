"""Turns CloudEvents of edge-outbox, one per line on stdin, back into the envelopes that they are, as
docs/cloudevents.md specifies them; tests/verifier.py verifies those.
A line is a CloudEvent in JSON, or one in binary mode: {"headers":{NAME:VALUE,...},"body":BASE64}."""
import json, sys
from base64 import b64decode, b64encode
from urllib.parse import quote, unquote

ALWAYS = set("specversion id source type time eventversion device epoch seq kind clockwall clocksync "
             "bootid boottimeus prev privatedigest keyid signature leaf size redelivered".split())
PERSONAL = {"subject", "salt", "data_base64"}
SOMETIMES = {"eventid", "eventsource", "path"}

def check(true, why):
    if not true: raise ValueError(why)
def once(pairs):
    check(len(dict(pairs)) == len(pairs), "a member twice")
    return dict(pairs)
def attributes(line):
    e = json.loads(line, object_pairs_hook=once)
    if "headers" not in e: return e
    names = {name.lower(): value for name, value in e["headers"].items()}
    check(all(32 < ord(c) < 127 and c != '"' for value in names.values() for c in value), "a header")
    a = {name[3:]: unquote(value, errors="strict") for name, value in names.items() if name[:3] == "ce-"}
    check(a.get("datacontenttype") == names.get("content-type"), "the content type")
    return a | ({"data_base64": e["body"]} if e["body"] else {})
def envelope(a):
    held = PERSONAL if "salt" in a else set()
    others = SOMETIMES | ({"subjectid", "datacontenttype"} if held else set())
    check(ALWAYS | held <= set(a) <= ALWAYS | held | others, f"the attributes {sorted(a)}")
    check(a["specversion"] == "1.0", "the version")
    source = a.get("eventsource", a["source"])
    check("eventsource" not in a or a["source"] == quote(source, safe=""), "the source")
    path = b64decode(a.get("path", ""), validate=True)
    e = {"id": a.get("eventid", a["id"])} | ({"original_id": a["id"]} if "eventid" in a else {})
    e |= {"device": a["device"], "epoch": a["epoch"], "seq": int(a["seq"]), "event_type": a["type"]}
    e |= {"event_version": int(a["eventversion"]), "source": source, "occurred_at": a["time"]}
    e["clock"] = {"wall": a["clockwall"], "sync": a["clocksync"], "boot_id": a["bootid"],
                  "boottime_us": int(a["boottimeus"])}
    e |= {"kind": a["kind"], "prev": a["prev"], "private_digest": a["privatedigest"]}
    e |= {"key_id": a["keyid"], "signature": a["signature"], "leaf": int(a["leaf"])}
    e |= {"size": int(a["size"]), "path": [b64encode(path[at:at + 32]).decode()
                                           for at in range(0, len(path), 32)]}
    e["redelivered"] = a["redelivered"] in (True, "true")
    if held:
        e |= {"aggregate_id": a["subject"], "subject_id": a.get("subjectid", ""), "salt": a["salt"]}
        e["payload_b64"] = a["data_base64"]
    return json.dumps(e, separators=(",", ":"), ensure_ascii=False)

for count, line in enumerate(sys.stdin.buffer, 1):
    try:
        sys.stdout.buffer.write(envelope(attributes(line)).encode() + b"\n")
    except Exception as error:
        sys.exit(f"line {count}: {error}")
