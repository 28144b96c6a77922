"""Bad bundles from one good one: what damage, tools and attackers make of an archive, a signature file, a
manifest or a model. Used by fuzz_bundles.py and by the tests.

Every mutator takes a random.Random and returns the mutant's bytes; the same random numbers give the same
mutant. Those named ``signed`` have a good signature by the trusted key: they are what a mistaken or
malicious signer could send, and reach the checks behind the signature.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from galago_edge.bundle import Bundle
from galago_edge.bundle.archive import BLOCK, END, header, padding, write_archive
from galago_edge.bundle.keys import key_id
from galago_edge.bundle.signature import DOMAIN, sign
from test_kit import OTHER_KEY, TEST_KEY

Member = tuple[str, bytes]

EVIL_NAMES = (
    b"../x", b"/abs", b"C:\\x", b"a\\b", b"a/../../x", b".", b"..", b"", b"x.", b"x ", b"x" * 100,
    b"\xff\xfe", "cafe\u0301".encode(), "caf\u00e9".encode(), b"MODEL.TFLITE", b"Manifest.json", b"a/b/c/d",
    b"accepted.json", b"manifest.json", b"manifest.sig", b"model.tflite/x", b"nul\x01", b"PaxHeader/x",
)  # fmt: skip
KINDS = b"0123456789xgLKSVDMN\x00Z"
"""Type flags: file, hard link, link, devices, folder, pipe, PAX, GNU long names, sparse, volumes."""
EVIL_SIZES = (
    b"00000000000\0", b"77777777777\0", b"-0000000001\0", b"           \0", b"9999999999 \0",
    b"\x80" + bytes(10) + b"\x01", b"\xff" * 12, b"0x10       \0", b"00000000001 ", b"1e9        \0",
)  # fmt: skip
EVIL_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**53, 2**53 - 1, -(2**53), 2**63, 2**64,
    0.0, -0.0, 1e308, -1e308, 5e-324, 0.5,
    "", " ", "x" * 65, "x" * 5_000, "\u202e", "\ufeffx", "e\u0301", "a\nb", "NaN", "\x00",
    "../x", "/etc/passwd", "a//b", ".", "..", "0" * 64, "g" * 64, "model.tflite",
    [], [[]], {}, {"a": 1}, [1, 1, 1, 1], [0], [-1],
)  # fmt: skip
EVIL_TEXTS = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 400, b'"\\ud800"', b"[" * 3_000, b'{"a":' * 2_000,
    b"\xff", b"\xef\xbb\xbf", b"null", b"0x10", b"1.", b"'x'", b"// no", b"\x00", b'"x":1,"x":2,', b"tru",
)  # fmt: skip


@dataclass
class Seed:
    """The good bundle that all mutants come from."""

    bundle: Bundle
    data: bytes = field(init=False)
    members: list[Member] = field(init=False)
    tree: dict[str, Any] = field(init=False)
    key: Ed25519PrivateKey = TEST_KEY

    def __post_init__(self) -> None:
        self.data = self.bundle.path.read_bytes()
        self.members = [
            ("manifest.json", self.bundle.manifest_bytes),
            ("manifest.sig", self.bundle.signature_bytes),
            *((entry.path, self.bundle.read(entry.path)) for entry in self.bundle.manifest.files),
        ]
        self.tree = json.loads(self.bundle.manifest_bytes)

    @property
    def model(self) -> bytes:
        """The CPU's model."""
        return dict(self.members)[self.bundle.manifest.model[0].file]

    def signed(self, manifest: bytes, files: Mapping[str, bytes] | None = None) -> bytes:
        """Return an archive with this manifest, well signed, and the good bundle's other files."""
        others = [(name, (files or {}).get(name, data)) for name, data in self.members[2:]]
        return archive([("manifest.json", manifest), ("manifest.sig", sign(manifest, [self.key])), *others])


def archive(members: list[Member]) -> bytes:
    """Return the archive of these members."""
    out = io.BytesIO()
    write_archive(out, members)
    return out.getvalue()


# Bytes: what disks, cables and half-done copies do.


def flipped(seed: Seed, rng: random.Random) -> bytes:
    """One bit or some bytes are others."""
    data = bytearray(seed.data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def cut(seed: Seed, rng: random.Random) -> bytes:
    """It ends early."""
    return seed.data[: rng.randrange(len(seed.data))]


def spliced(seed: Seed, rng: random.Random) -> bytes:
    """A span is gone, doubled, moved, zeroed or filled with something else."""
    size = len(seed.data)
    start = rng.randrange(size)
    end = min(size, start + rng.choice((1, 7, 512, 513, 4096, size)))
    span, other = seed.data[start:end], rng.randrange(size)
    middle = rng.choice((b"", span * 2, bytes(len(span)), seed.data[other : other + len(span)], span[::-1]))
    return seed.data[:start] + middle + seed.data[end:]


def wrapped(seed: Seed, rng: random.Random) -> bytes:
    """Something stands before or behind it, or it is inside something else."""
    junk = rng.choice((b"\0", bytes(BLOCK), END, b"\r\n", b"<html>login</html>", b"PK\x05\x06" + bytes(18)))
    return rng.choice(
        (
            junk + seed.data,
            seed.data + junk,
            seed.data + seed.data,
            seed.data[: -len(END)] + seed.data,
            gzip.compress(seed.data, 1, mtime=0),
            archive([("bundle.galago", seed.data)]),
            zipped(seed),
            seed.data.replace(b"\n", b"\r\n"),
            seed.data.decode("latin-1").encode("utf-8"),
            junk,
            b"",
        )
    )


def zipped(seed: Seed) -> bytes:
    """The same members as a zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, data in seed.members:
            file.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()


# Members: what other tools and attackers write. Checksums of the headers are right.


def rearranged(seed: Seed, rng: random.Random) -> bytes:
    """Members are missing, doubled, swapped, added, emptied, or hold each other's content."""
    members = list(seed.members)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place, other = rng.randrange(len(members)), rng.randrange(len(members))
        name, data = members[place]
        change = rng.randrange(7)
        if change == 0 and len(members) > 1:
            del members[place]
        elif change == 1:
            members.insert(other, members[place])
        elif change == 2:
            members[place], members[other] = members[other], members[place]
        elif change == 3:
            members.insert(place, (rng.choice(("x", "model2.tflite", "golden/9.png", "a/b", name)), data[:9]))
        elif change == 4:
            members[place] = (name, b"")
        elif change == 5:
            members[place] = (name, members[other][1])
        else:
            members[place] = (name, data + b"\0" * rng.choice((1, 511, 512)))
    made = archive(members)
    return made if made != seed.data else flipped(seed, rng)


def headed(seed: Seed, rng: random.Random) -> bytes:
    """One member has a header that another tool, or an attacker, would write."""
    chosen = rng.randrange(len(seed.members))
    out = []
    for place, (name, data) in enumerate(seed.members):
        block = header(name, len(data))
        if place == chosen:
            block = _evil_header(block, rng)
        out += [block, data, padding(len(data))]
    made = b"".join(out) + END
    return made if made != seed.data else cut(seed, rng)


def _evil_header(block: bytes, rng: random.Random) -> bytes:
    fields = bytearray(block)
    change = rng.randrange(6)
    if change == 0:
        fields[:100] = rng.choice(EVIL_NAMES)[:100].ljust(100, b"\0")
    elif change == 1:
        fields[156] = rng.choice(KINDS)
        fields[157:161] = b"/etc"
    elif change == 2:
        fields[124:136] = rng.choice(EVIL_SIZES)
    elif change == 3:
        fields[100:108] = rng.choice((b"0004755\0", b"0000000\0", b"0000777\0", b"7777777\0"))
    elif change == 4:
        start = rng.randrange(100, 500)
        fields[start : start + 8] = rng.randbytes(8)
    else:
        fields[257:265] = rng.choice((b"ustar  \0", b"\0" * 8, b"GNUtar \0"))
    if rng.randrange(8):  # nearly always a right checksum, so that the reader has to look at more
        fields[148:156] = b" " * 8
        fields[148:156] = b"%06o\0 " % sum(fields)
    return bytes(fields)


# The signature file: the only bytes that nobody signs.


def resigned(seed: Seed, rng: random.Random) -> bytes:
    """The signature file says something else, or says it otherwise."""
    manifest = seed.bundle.manifest_bytes
    parsed = json.loads(seed.bundle.signature_bytes)
    entries = parsed["signatures"]
    one = entries[0]
    stranger = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))

    def entry(key: Ed25519PrivateKey, message: bytes) -> dict[str, str]:
        return {"alg": "ed25519", "keyid": key_id(key), "sig": key.sign(message).hex()}

    def s_plus_order() -> dict[str, str]:
        raw = bytes.fromhex(one["sig"])
        order = 2**252 + 27742317777372353535851937790883648493
        return one | {
            "sig": (raw[:32] + (int.from_bytes(raw[32:], "little") + order).to_bytes(32, "little")).hex()
        }

    made = rng.choice(
        (
            list,
            lambda: [entry(stranger, DOMAIN + manifest)],
            lambda: [entry(OTHER_KEY, DOMAIN + manifest)],
            lambda: [entry(TEST_KEY, manifest)],
            lambda: [entry(TEST_KEY, DOMAIN + manifest + b"\n")],
            lambda: [entry(TEST_KEY, b"galago.index.sig/1\0" + manifest)],
            lambda: [one, one],
            lambda: [one, entry(stranger, manifest)],
            lambda: [one | {"keyid": key_id(stranger)}],
            lambda: [
                one | {"keyid": rng.choice(("00" * 32, "01" + "00" * 31, "ff" * 32, one["keyid"].upper()))}
            ],
            lambda: [
                one | {"sig": rng.choice(("00" * 64, one["sig"].upper(), one["sig"][:-2], one["sig"] + "00"))}
            ],
            lambda: [one | {"alg": rng.choice(("none", "", "ed25519ph", "Ed25519", "rsa", "hmac"))}],
            lambda: [one | {"x": 1}],
            lambda: [s_plus_order()],
            lambda: [{key: one[key] for key in reversed(one)}],
            lambda: [one | {"sig": bytes(rng.randbytes(64)).hex()}],
            lambda: rng.choice(EVIL_VALUES),
        )
    )()
    text = json.dumps({"signatures": made}, separators=(",", ":")).encode()
    style = rng.randrange(8)
    if style == 0:
        text = json.dumps({"signatures": entries}, indent=rng.choice((None, 1))).encode()
    elif style == 1:
        text = seed.bundle.signature_bytes + rng.choice((b"\n", b" ", b"\0", b"{}"))
    elif style == 2:
        text = rng.choice(EVIL_TEXTS)
    elif style == 3:
        place = rng.randrange(len(seed.bundle.signature_bytes))
        text = seed.bundle.signature_bytes
        text = text[:place] + rng.choice(EVIL_TEXTS) + text[place:]
    if text == seed.bundle.signature_bytes:
        text = b""
    return archive([seed.members[0], ("manifest.sig", text), *seed.members[2:]])


# Signed on purpose or by mistake: what stands behind the signature has to hold alone.


def signed_tree(seed: Seed, rng: random.Random) -> bytes:
    """A well-signed manifest with some values that cannot be, missing or unknown keys."""
    tree = json.loads(seed.bundle.manifest_bytes)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        parent, key = _somewhere(tree, rng)
        change = rng.randrange(5)
        if change == 0 and isinstance(parent, dict):
            del parent[key]
        elif change == 1 and isinstance(parent, dict):
            parent[rng.choice(("x", "x-y", "__proto__", "schema", "\u202e", key + "2"))] = rng.choice(
                EVIL_VALUES
            )
        elif change == 2 and isinstance(parent, list):
            parent.append(parent[key] if rng.randrange(2) else rng.choice(EVIL_VALUES))
        elif change == 3 and isinstance(parent[key], int | float) and not isinstance(parent[key], bool):
            parent[key] = parent[key] + rng.choice((1, -1, 0.5, 1000, -parent[key]))
        else:
            parent[key] = rng.choice(EVIL_VALUES)
    try:
        text = json.dumps(tree, ensure_ascii=bool(rng.randrange(2))).encode()
    except (UnicodeEncodeError, ValueError):
        text = json.dumps(tree).encode()
    return seed.signed(text)


def signed_text(seed: Seed, rng: random.Random) -> bytes:
    """Well-signed bytes that are hardly JSON."""
    text = seed.bundle.manifest_bytes
    place = rng.randrange(len(text))
    end = place + rng.choice((0, 1, 10, len(text)))
    return seed.signed(text[:place] + rng.choice((*EVIL_TEXTS, rng.randbytes(8))) + text[end:])


def signed_files(seed: Seed, rng: random.Random) -> bytes:
    """A well-signed manifest of files that are not what it says: wrong hash, size, name, order."""
    tree = json.loads(seed.bundle.manifest_bytes)
    files = tree["files"]
    entry = rng.choice(files)
    change = rng.randrange(5)
    if change == 0:
        entry["sha256"] = hashlib.sha256(rng.randbytes(4)).hexdigest()
    elif change == 1:
        entry["size"] = rng.choice((0, 1, entry["size"] - 1, entry["size"] + 1, 2**31, 2**40, 2**53 - 1))
    elif change == 2:
        entry["path"] = rng.choice(EVIL_NAMES).decode("utf-8", "replace")
    elif change == 3:
        rng.shuffle(files)
        files.append(dict(entry))
    else:
        entry["role"] = rng.choice(("card", "license", "golden", "frontend", "model", "x"))
    return seed.signed(json.dumps(tree).encode())


MEANINGS: tuple[Callable[[Any], object], ...] = (
    lambda tree: tree.update(schema="galago.bundle/2"),
    lambda tree: tree["compat"].update(arch=["vax"]),
    lambda tree: tree["compat"].update(arch=[]),
    lambda tree: tree["compat"].update(device_profiles=["toaster"]),
    lambda tree: tree["compat"].update(min_runtime_version="99.0.0"),
    lambda tree: tree["compat"].update(tflite_schema=4),
    lambda tree: tree["compat"]["features"].append("telepathy/1"),
    lambda tree: tree["compat"].update(features=[]),
    lambda tree: tree["compat"]["ops"].append({"name": "TELEPATHY", "version": 1, "count": 1}),
    lambda tree: tree["compat"]["ops"][0].update(version=999),
    lambda tree: tree["bundle"].update(release_counter=tree["bundle"]["release_counter"] - 1),
    lambda tree: tree["bundle"].update(release_counter=0),
    lambda tree: tree["bundle"].update(release_counter=2**53 - 1),
    lambda tree: tree["bundle"].update(description="the same counter, another content"),
    lambda tree: tree["bundle"].update(channel="beta"),
    lambda tree: tree["labels"].pop(),
    lambda tree: tree["labels"].append(tree["labels"][0]),
    lambda tree: tree["labels"][0].update(policy={"on": 0.1, "off": 0.9}),
    lambda tree: tree["labels"].reverse() or tree["labels"].insert(0, {"name": "moved"}),
    lambda tree: tree["model"][0]["output"].update(shape=[1, 7]),
    lambda tree: tree["model"][0]["output"].update(zero_point=200),
    lambda tree: tree["model"][0]["output"].update(dtype="uint8"),
    lambda tree: tree["model"][0]["input"].update(dtype="int8"),
    lambda tree: tree["model"][0]["input"].update(scale=0.5),
    lambda tree: tree["model"][0]["input"].update(shape=[1, 16, 16, 3, 1]),
    lambda tree: tree["model"][0]["input"].update(shape=[-1, 16, 16, 3]),
    lambda tree: tree["model"].append(tree["model"][0]),
    lambda tree: tree["model"][0].update(backend="gpu"),
    lambda tree: tree["preprocess"]["spec"].update(width=17),
    lambda tree: tree["preprocess"]["spec"].update(kind="logmel"),
    lambda tree: tree.update(modality="microphone"),
    lambda tree: tree.update(gate={"kind": "motion"}),
    lambda tree: tree["golden"][0].update(label="nobody"),
    lambda tree: tree["golden"][0]["expected"]["logits"].pop(),
    lambda tree: tree["golden"][0]["expected"].update(argmax=99),
    lambda tree: tree["golden"][0].update(file="golden/none.png"),
    lambda tree: tree["resources"].update(model_bytes=1),
    lambda tree: tree["resources"].update(min_free_disk_bytes=2**52) or _newer(tree),
    lambda tree: tree["rollback"].update(min_release_counter_after_commit=2**52),
    lambda tree: tree["data"]["recall_int8"].update(nobody=0.5),
    lambda tree: [entry.update(size=2**40) for entry in tree["files"]],
)
"""What a mistaken builder could sign: each is one thing that a device must see."""


def _newer(tree: Any) -> None:
    tree["bundle"]["release_counter"] += 1


def signed_meaning(seed: Seed, rng: random.Random) -> bytes:
    """A well-signed, well-formed manifest that is for another device, too old, or contradicts itself."""
    tree = json.loads(seed.bundle.manifest_bytes)
    rng.choice(MEANINGS)(tree)
    return seed.signed(json.dumps(tree).encode())


def signed_model(seed: Seed, rng: random.Random, *, counter: int) -> bytes:
    """A newer release whose model is damaged, its hash and signature as they should be."""
    model = damaged_model(seed, rng)
    tree = json.loads(seed.bundle.manifest_bytes)
    tree["bundle"]["release_counter"] = counter
    tree["bundle"]["version"] = f"{counter}.0.0"
    path = seed.bundle.manifest.model[0].file
    entry = next(entry for entry in tree["files"] if entry["path"] == path)
    entry |= {"size": len(model), "sha256": hashlib.sha256(model).hexdigest()}
    tree["resources"]["model_bytes"] = len(model)
    return seed.signed(json.dumps(tree).encode(), {path: model})


def damaged_model(seed: Seed, rng: random.Random) -> bytes:
    """A flatbuffer whose offsets, sizes, operators or weights are others."""
    model = bytearray(seed.model)
    change = rng.randrange(5)
    if change == 0:
        return bytes(model[: rng.choice((0, 1, 8, 64, rng.randrange(len(model))))])
    if change == 1:
        return rng.choice((b"\x18\0\0\0TFL3", b"\0" * 64, b"\xff" * len(model), bytes(model) + b"junk"))
    for _ in range(rng.choice((1, 2, 8))):
        place = rng.randrange(len(model) - 4)
        if change == 2:
            model[place] ^= 1 << rng.randrange(8)
        else:
            place -= place % 4
            value = rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, len(model), rng.getrandbits(32)))
            model[place : place + 4] = struct.pack("<I", value)
    return bytes(model)


def _somewhere(tree: Any, rng: random.Random) -> tuple[Any, Any]:
    """Return a container in the tree and a key or place in it."""
    node = tree
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = rng.choice(keys)
        below = node[key]
        if not isinstance(below, dict | list) or not below or rng.randrange(6) == 0:
            return node, key
        node = below


UNSIGNED: dict[str, Callable[[Seed, random.Random], bytes]] = {
    "bits flipped": flipped,
    "cut": cut,
    "spliced": spliced,
    "wrapped": wrapped,
    "members": rearranged,
    "headers": headed,
    "signature file": resigned,
}
"""All of them must be refused, whatever the random numbers."""

SIGNED: dict[str, Callable[[Seed, random.Random], bytes]] = {
    "signed, values": signed_tree,
    "signed, text": signed_text,
    "signed, files": signed_files,
    "signed, meaning": signed_meaning,
}
"""What happens to still be a good bundle has the release counter of the active one: REPLAY."""
