"""Reads a QR code on standard input, as a terminal or a browser would show it, and prints its text.

The input is lines of half blocks, with or without colours, or SVG of the one form that
`edge-outbox identity` writes. It is made into a picture and given to a reader of another hand
(zxing-cpp). A code without its quiet zone is refused.
"""

import re
import sys

import zxingcpp

PIXELS = 4
QUIET_ZONE = 4
COLOURS = re.compile(r"\x1b\[([0-9;]*)m")


def of_blocks(text):
    """Rows of modules, True where the terminal shows black."""
    rows = []
    for line in text.splitlines():
        bare = COLOURS.sub("", line).rstrip("\r")
        if not bare or set(bare) - set("█▀▄ "):
            continue
        codes = COLOURS.findall(line)
        if codes:
            assert codes == ["38;5;16;48;5;231", "0"], codes
            assert line.startswith("\x1b[") and line.rstrip("\r").endswith("\x1b[0m"), line
        drawn_is_black = bool(codes)
        for drawn in ("█▀", "█▄"):
            rows.append([(cell in drawn) == drawn_is_black for cell in bare])
    # An odd number of modules leaves half of the last line empty.
    if len(rows) == len(rows[0]) + 1:
        rows.pop()
    return rows


def of_svg(text):
    side, other = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', text).groups())
    assert side == other
    ground, path = re.findall(r'<path (?:fill="#fff" )?d="([^"]*)"/>', text)
    assert ground == f"M0 0h{side}v{side}H0z", ground
    rows = [[False] * side for _ in range(side)]
    runs = re.findall(r"M(\d+) (\d+)h(\d+)v1h-(\d+)z", path)
    assert "".join("M%s %sh%sv1h-%sz" % run for run in runs) == path
    for x, y, run, back in runs:
        assert run == back
        for column in range(int(x), int(x) + int(run)):
            assert not rows[int(y)][column], "drawn twice"
            rows[int(y)][column] = True
    return rows


def check_quiet_zone(rows):
    side = len(rows)
    assert all(len(row) == side for row in rows), "not a square"
    for y, row in enumerate(rows):
        for x, black in enumerate(row):
            inside = all(QUIET_ZONE <= at < side - QUIET_ZONE for at in (x, y))
            assert inside or not black, f"black in the quiet zone at {x}, {y}"


text = sys.stdin.read()
rows = of_svg(text) if text.startswith("<svg") else of_blocks(text)
check_quiet_zone(rows)
side = len(rows) * PIXELS
grey = bytearray()
for row in rows:
    line = b"".join((b"\x00" if black else b"\xff") * PIXELS for black in row)
    grey += line * PIXELS
picture = memoryview(bytes(grey)).cast("B", (side, side))
# Of all that it reads: among so many modules it may see the bars of another code by chance.
found = zxingcpp.read_barcodes(picture, formats=zxingcpp.BarcodeFormat.QRCode)
assert len(found) == 1, f"{len(found)} codes found"
print(found[0].text)
