"""Makes `seeds/`: small files of each kind that the program reads, whole and damaged.

    python3 fuzz/seeds.py        # needs numpy and pillow; equal versions make equal files

`seeds/config` is a link to the repository's own configs, and `seeds/policy/kit` to the policy of a kit.
"""

import gzip
import hashlib
import io
import json
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent / "seeds"


def save(target, name, contents):
    path = HERE / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(contents)


def idx(sizes, values):
    return struct.pack(f">{1 + len(sizes)}I", 0x800 + len(sizes), *sizes) + bytes(values)


def packed(contents):
    return gzip.compress(contents, mtime=0)


def framed(images, labels):
    """What the target `idx` cuts in two."""
    return struct.pack("<H", len(images)) + images + labels


def idx_files():
    images, labels = idx([3, 2, 2], range(12)), idx([3], [0, 1, 9])
    save("idx", "three", framed(images, labels))
    save("idx", "other-number", framed(images, idx([2], [0, 1])))
    save("idx", "label-10", framed(images, idx([3], [0, 1, 10])))
    save("idx", "cut", framed(images[:-1], labels))
    save("idx", "longer", framed(images + b"x", labels))
    save("idx", "huge", framed(idx([2**32 - 1] * 3, []), idx([2**31], [])))
    save("idx", "overflow", framed(idx([2**31, 2**31, 4], []), labels))
    save("gzip_idx", "three", packed(images))
    save("gzip_idx", "two-members", packed(images[:9]) + packed(images[9:]))
    save("gzip_idx", "cut", packed(images)[:-9])
    save("gzip_idx", "wrong-sum", packed(images)[:-8] + bytes(8))
    save("gzip_idx", "bomb", packed(idx([60_000, 10, 10], bytes(100_000))))
    save("gzip_idx", "huge", packed(idx([2**31, 1, 1], bytes(100))))


def npy(array, version=(1, 0)):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


def header_only(shape, descr="|u1"):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text


def npz(arrays, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, contents in arrays.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), contents, method)
    return file.getvalue()


def arrays():
    grey = np.arange(12 * 4, dtype=np.uint8).reshape(12, 2, 2)
    colour = np.arange(12 * 12, dtype=np.uint8).reshape(12, 2, 2, 3)
    labels = np.zeros(12, dtype=">i8")
    save("npy", "grey", npy(grey))
    save("npy", "version-2", npy(grey, (2, 0)))
    save("npy", "colour-last", npy(colour))
    save("npy", "colour-first", npy(colour.transpose(0, 3, 1, 2).copy()))
    save("npy", "fortran", npy(np.asfortranarray(grey)))
    save("npy", "floats", npy(grey.astype("<f4")))
    save("npy", "negative", header_only("(-1, 2, 2)"))
    save("npy", "huge", header_only("(4294967296, 4294967296, 4)"))
    save("npy", "many-of-nothing", header_only("(15323324572348992385, 0)", "|u2"))
    save("npy", "long-header", b"\x93NUMPY\x02\0\xff\xff\xff\xff{")
    save("npz", "one", npz({"images": npy(grey), "labels": npy(labels)}))
    save("npz", "deflated", npz({"images": npy(grey), "labels": npy(labels)}, zipfile.ZIP_DEFLATED))
    medmnist = {"train_images": npy(grey), "train_labels": npy(labels.reshape(12, 1)), "test_images": npy(grey[:2]), "test_labels": npy(labels[:2])}
    save("npz", "medmnist", npz(medmnist))
    save("npz", "keras", npz({"x_train": npy(grey / 64 - 0.25), "y_train": npy(np.eye(3)[np.arange(12) % 3]), "x_test": npy(grey[:2] / 64), "y_test": npy(np.eye(3)[:2])}))
    save("npz", "without-names", npz({"arr_0": npy((grey / 64).astype(">f2")), "arr_1": npy(np.arange(12) % 3 == 0)}))
    save("npz", "one-hot-of-two", npz({"images": npy(grey), "labels": npy(np.ones((12, 2), np.float32))}))
    save("npz", "objects", npz({"images": header_only("(12,)", "|O") + b"\x80\x04N.", "ids": npy(labels)}))
    save("npz", "outside", npz({"../../images": npy(grey), "/labels": npy(labels)}))
    save("npz", "bomb", npz({"images": header_only("(100000, 1, 1)") + bytes(100_000)}, zipfile.ZIP_DEFLATED))
    files, size, at = 2**20, 2**30, 2**20
    record = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, files, files, size, at)
    locator = struct.pack("<IIQI", 0x07064B50, 0, 0, 1)
    save("npz", "zip64-of-many", record + locator + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0))
    lying = bytearray(npz({"images": npy(grey)}))
    at = lying.rindex(b"PK\x01\x02") + 20
    lying[at : at + 8] = struct.pack("<II", 2**32 - 2, 2**32 - 2)
    save("npz", "lying-sizes", bytes(lying))


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pictures():
    noise = np.random.default_rng(1).integers(0, 256, (9, 12, 4), dtype=np.uint8)
    images = {
        "grey": Image.fromarray(noise[..., 0]),
        "grey-alpha": Image.fromarray(noise[..., :2].copy(), "LA"),
        "colour": Image.fromarray(noise[..., :3].copy()),
        "alpha": Image.fromarray(noise),
        "deep": Image.fromarray(noise[..., 0].astype(np.uint16) * 257),
        "one-bit": Image.fromarray(noise[..., 0]).convert("1"),
        "palette": Image.fromarray(noise[..., :3].copy()).quantize(7),
    }
    for name, image in images.items():
        save("picture", f"{name}.png", encoded(image, "PNG"))
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, options in {"": {}, "-progressive": {"progressive": True}, "-restarts": {"restart_marker_rows": 1}, "-turned": {"exif": exif}}.items():
        save("picture", f"colour{name}.jpg", encoded(images["colour"], "JPEG", quality=60, subsampling=2, **options))
    save("picture", "grey.jpg", encoded(images["grey"], "JPEG"))
    save("picture", "cmyk.jpg", encoded(images["colour"].convert("CMYK"), "JPEG"))
    jpeg = bytearray(encoded(images["grey"], "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 8000, 8000)
    save("picture", "lying.jpg", bytes(jpeg))
    dicom(noise, encoded(images["grey"], "JPEG"))


def dicom(noise, jpeg):
    """Files of DICOM: elements with a tag, a value representation and a value."""
    rows, columns, _ = noise.shape
    grey, wide = noise[..., 0].tobytes(), noise[..., 0].astype("<u2").tobytes()

    def element(tag, vr, value, explicit=True):
        value = struct.pack("<H", value) if isinstance(value, int) else value
        head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
        if not explicit:
            return head + struct.pack("<I", len(value)) + value
        long = struct.pack("<2xI", len(value)) if vr in (b"OB", b"OW", b"SQ") else struct.pack("<H", len(value))
        return head + vr + long + value

    def file(syntax, pixels, photometric=b"MONOCHROME2 ", samples=1, bits=8, more=(), explicit=True):
        elements = [
            (0x00100010, b"PN", b"Secret^Name "),
            (0x00280002, b"US", samples), (0x00280004, b"CS", photometric), (0x00280010, b"US", rows), (0x00280011, b"US", columns),
            (0x00280100, b"US", bits), (0x00280101, b"US", bits), (0x00280103, b"US", 0), *more, (0x7FE00010, b"OB", pixels),
        ]
        uid = element(0x00020010, b"UI", f"1.2.840.10008.1.2{syntax}".encode())
        return bytes(128) + b"DICM" + uid + b"".join(element(*each, explicit) for each in sorted(elements))

    def fragments(*values):
        items = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value for value in (b"", *values))
        return items + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)

    def compressed(syntax, *values, **how):
        whole = file(syntax, fragments(*values), **how)
        at = whole.index(b"\xe0\x7f\x10\x00OB") + 8
        return whole[:at] + b"\xff" * 4 + whole[at + 4 :]

    window = [(0x00281050, b"DS", b"100 "), (0x00281051, b"DS", b"50"), (0x00281052, b"DS", b"-10 "), (0x00281053, b"DS", b"2 ")]
    save("picture", "window.dcm", file(".1", grey, more=window))
    save("picture", "deep.dcm", file("", wide, b"MONOCHROME1 ", bits=16, explicit=False))
    save("picture", "planes.dcm", file(".1", np.moveaxis(noise[..., :3], -1, 0).tobytes(), b"YBR_FULL", 3, more=[(0x00280006, b"US", 1)]))
    palette = [(0x00281101 + i, b"US", struct.pack("<3H", 256, 0, 8)) for i in range(3)]
    palette += [(0x00281201 + i, b"OW", bytes(range(256))) for i in range(3)]
    save("picture", "palette.dcm", file(".1", grey, b"PALETTE COLOR ", more=palette))
    table = element(0x00283002, b"US", struct.pack("<3H", 4, 60, 8)) + element(0x00283006, b"OW", struct.pack("<4H", 0, 99, 200, 255))
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(table)) + table
    save("picture", "table.dcm", file(".1", grey, more=[(0x00283010, b"SQ", item)]))
    runs = struct.pack("<16I", 1, 64, *[0] * 14) + bytes([107]) + grey[:108]
    save("picture", "runs.dcm", compressed(".5", runs))
    save("picture", "inside.dcm", compressed(".4.50", jpeg))
    save("picture", "frames.dcm", file(".1", grey, more=[(0x00280008, b"IS", b"2 ")]))


def archive():
    def tar(names, size=3073, kind=tarfile.REGTYPE):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size, info.type, info.linkname = (size, kind, "/etc/passwd") if kind == tarfile.REGTYPE else (0, kind, "/etc/passwd")
                tar.addfile(info, io.BytesIO(bytes(size)))
        return file.getvalue().rstrip(b"\0") + bytes(1536)

    files = [f"cifar-10-batches-bin/{name}.bin" for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]]
    whole = tar(files)
    whole += bytes(-len(whole) % 512)
    save("cifar_tar", "six", packed(whole))
    save("cifar_tar", "five", packed(tar(files[:5])))
    save("cifar_tar", "cut", packed(whole[:5000]))
    save("cifar_tar", "outside", packed(tar(["../../x", "/tmp/x", "cifar-10-batches-bin/../../x"], 5)))
    save("cifar_tar", "links", packed(tar(files, kind=tarfile.SYMTYPE)))


def batches():
    """Of CIFAR-10's Python version, with one image whose pixels are below 128, as text takes two bytes for others."""
    pixels = np.arange(3072, dtype=np.int64).reshape(1, 3072) % 128
    batch = {b"labels": [7], b"data": pixels.astype(np.uint8), b"filenames": [b"a.png"]}
    for protocol in [2, 3, 4, 5]:
        save("cifar_batch", f"protocol-{protocol}", pickle.dumps(batch, protocol))
    two = pickle.dumps(batch, 2)
    save("cifar_batch", "cut", two[:-9])
    save("cifar_batch", "calls", two.replace(b"cnumpy\ndtype\n", b"cos\nsystem\n", 1))
    save("cifar_batch", "protocol-0", pickle.dumps({b"labels": [7]}, 0))
    save("cifar_batch", "label-array", pickle.dumps({"labels": np.array([7]), "data": batch[b"data"]}, 4))
    save("cifar_batch", "huge", b"\x80\x04\x8e" + b"\xff" * 8)
    save("cifar_batch", "itself", b"\x80\x02}q\0X\6\0\0\0labelsh\0s.")


def partitions():
    def client(name, train, held_out):
        return {"name": name, "train": train, "held_out": held_out}

    def json_of(*clients):
        return json.dumps({"clients": clients}).encode()

    save("partition_json", "two", json_of(client("north", [0, 1, 2], [3]), client("south", [9, 8], [])))
    save("partition_json", "twice", json_of(client("north", [0, 1], [1])))
    save("partition_json", "outside", json_of(client("../north", [0], [])))
    save("partition_json", "far", json_of(client("north", [4294967295], [])))
    save("partition_json", "deep", b'{"clients":' + b"[" * 300)


def varint(number):
    more, low = divmod(number, 128)
    return bytes([low | 128]) + varint(more) if more else bytes([low])


def field(number, value):
    """Of a message of Flower's: a number, text, bytes, or a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def requests():
    """Of node 5, which was told message 1 with object 2, and announced a reply with object 4; one key stands for the site's."""

    def request(name, path, body, method="POST", headers="flwr-public-key: KEY\n"):
        save("gate", name, f"{method} {path}\n{headers}\n".encode() + body)

    def about(source, to, replies_to, kind="train", message=b""):
        return field(1, 7) + message + field(3, source) + field(4, to) + field(5, replies_to) + field(8, kind)

    def push(*said, node=5):
        """A reply, whose id is the hash of its content."""
        body, child = field(1, about(*said)), f"{4:064x}"
        message = hashlib.sha256(f"Message {child} {len(body)}\0".encode() + body).hexdigest()
        tree = field(1, message) + field(2, field(1, child))
        return field(1, field(1, node)) + field(2, field(1, about(*said, message=field(2, message))) + field(2, b"")) + field(3, tree)

    fleet, its, told, of = "/v1/fleet/", field(1, field(1, 5)), f"{1:064x}", field(2, 7)
    key = (HERE.parent.parent / "crates/effgan-gate/tests/fixtures/north.pem").read_bytes()
    request("activate", f"{fleet}activate-node", field(1, key) + b"\x11" + struct.pack("<d", 30))
    request("deactivate", f"{fleet}deactivate-node", field(1, 5))
    request("heartbeat", f"{fleet}send-node-heartbeat", its + b"\x11" + struct.pack("<d", 30))
    request("pull-messages", f"{fleet}pull-messages", its)
    request("get-run", f"{fleet}get-run", its + of)
    request("get-fab", f"{fleet}get-fab", its + field(2, "f" * 64) + field(3, 7))
    request("pull-object", f"{fleet}pull-object", its + of + field(3, f"{2:064x}"))
    request("confirm", f"{fleet}confirm-message-received", its + of + field(3, told))
    request("reply", f"{fleet}push-messages", push(5, 1, told))
    request("reply-in-the-servers-name", f"{fleet}push-messages", push(1, 6, ""))
    request("reply-of-another", f"{fleet}push-messages", push(6, 1, told, node=6))
    request("reply-to-a-query", f"{fleet}push-messages", push(5, 1, told, "query"))
    head = its + of + field(3, f"{4:064x}")
    request("object", f"{fleet}push-object", head + field(4, b"content") + field(5, "session"))
    request("object-with-two-ids", f"{fleet}push-object", head + field(4, b"content") + field(5, "session") + field(3, told))
    request("object-of-many-bytes", f"{fleet}push-object", head + field(4, bytes(1001)))
    request("object-that-ends-early", f"{fleet}push-object", head + varint(4 << 3 | 2) + varint(2**63))
    request("control", "/v1/control/list-runs", b"x")
    request("query", f"{fleet}pull-messages?a=b", its)
    request("get", f"{fleet}pull-messages", its, method="GET")
    request("two-keys", f"{fleet}pull-messages", its, headers="flwr-public-key: KEY\nflwr-public-key: other\n")
    request("other-length", f"{fleet}pull-messages", its, headers="flwr-public-key: KEY\ncontent-length: 18446744073709551615\n")
    request("deep", f"{fleet}push-messages", its + field(3, nested(90)))


def nested(depth):
    return field(2, nested(depth - 1)) if depth else field(1, f"{4:064x}")


def safetensors(tensors, values=None):
    """`tensors` by name: type, shape, bytes from and to."""
    header = {name: {"dtype": kind, "shape": shape, "data_offsets": [at, to]} for name, (kind, shape, at, to) in tensors.items()}
    text = json.dumps(header).encode()
    end = max((to for _, _, _, to in tensors.values()), default=0)
    return struct.pack("<Q", len(text)) + text + (np.arange(end // 4, dtype="<f4").tobytes() if values is None else values)


def networks():
    save("safetensors", "two", safetensors({"a.weight": ("F32", [2, 1], 0, 8), "b": ("F32", [], 8, 12)}))
    save("safetensors", "empty", safetensors({"a": ("F32", [0, 3], 0, 0)}))
    save("safetensors", "f16", safetensors({"a": ("F16", [2], 0, 4)}))
    save("safetensors", "not-finite", safetensors({"a": ("F32", [2], 0, 8)}, struct.pack("<ff", np.nan, np.inf)))
    save("safetensors", "overflow", safetensors({"a": ("F32", [2**63, 2, 4], 0, 0)}))
    save("safetensors", "huge", safetensors({"a": ("F32", [2**40], 0, 2**42)}, b"1234"))
    save("safetensors", "over-each-other", safetensors({"a": ("F32", [2], 0, 8), "b": ("F32", [2], 4, 12)}))
    save("safetensors", "long-header", struct.pack("<Q", 2**63) + b"{}")
    two = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    save("safetensors", "twice", struct.pack("<Q", len(two)) + two + bytes(4))


def manifests():
    member = {"name": "north", "num_examples": 30, "weight": 30.0, "sha256": "0" * 64}
    dcgan = {"kind": "dcgan", "latent_dim": 3, "base_channels": 2, "norm": "batch", "conditional": False}
    whole = {
        "format_version": 1,
        "algorithm": "effgan",
        "network": {"config": dcgan, "image_shape": [1, 8, 8]},
        "global": {"norm_statistics": "average", "sha256": "0" * 64},
        "members": [member, {**member, "name": "south", "weight": 10.0}],
    }

    def save_with(name, **changes):
        save("manifest", name, json.dumps({**whole, **changes}).encode())

    save_with("two")
    save_with("nobody", members=[])
    save_with("resnet", network={"config": {"kind": "resnet", "latent_dim": 3, "base_channels": 2, "conditional": True}, "image_shape": [3, 32, 32], "num_classes": 10})
    save_with("twice", members=[member, member])
    save_with("outside", members=[{**member, "name": "../../x"}])
    save_with("huge", network={"config": {**dcgan, "base_channels": 2**60}, "image_shape": [1, 2**40, 2**40]})
    save_with("infinite", members=[{**member, "weight": 1e308}, {**member, "name": "south", "weight": 1e308}])


def sealed(head, tensors):
    """A head and tensors (shape and values by name) with the checksum that the program expects."""
    sha = hashlib.sha256()
    for name, (shape, values) in sorted(tensors.items()):
        sha.update(struct.pack("<Q", len(name)) + name.encode() + struct.pack(f"<Q{len(shape)}Q", len(shape), *shape))
        sha.update(np.array(values, "<f4").tobytes())
    checksum = hashlib.sha256(f"{head}\n{sha.hexdigest()}".encode()).hexdigest()
    header, end = {"__metadata__": {"effgan": f"1 {checksum} {head}"}}, 0
    for name, (shape, values) in sorted(tensors.items()):
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + 4 * len(values)]}
        end += 4 * len(values)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(np.array(values, "<f4").tobytes() for _, (_, values) in sorted(tensors.items()))


def checkpoints():
    client = {"name": "north", "num_examples": 3, "metrics": {"loss_d": 0.5}, "seconds": 1.0}
    record = {"round": 2, "kind": "feedback", "clients": [client], "bytes_down": 8, "bytes_up": 8, "seconds": 1.0}
    state = {"run": {"config": "", "data": ""}, "round": 1, "exchanges": 0, "record": None, "steps": {}, "notes": None}
    inside = {**state, "record": record, "steps": {"north": [2, 4]}}
    tensors = safetensors({"losses.north": ("F32", [1, 2], 0, 8), "server.w": ("F32", [2], 8, 16)})

    def line(head):
        return json.dumps(head).encode() + b"\n"

    save("checkpoint", "sealed", sealed(json.dumps(state), {"server.w": ([2], [1.0, -2.0])}))
    save("checkpoint", "wrong-sum", sealed(json.dumps(state), {"server.w": ([2], [1.0, -2.0])})[:-1] + b"x")
    save("checkpoint", "state", line(state) + tensors)
    save("checkpoint", "inside", line(inside) + tensors)
    save("checkpoint", "steps-of-nobody", line({**inside, "steps": {"south": [2**64 - 1, 0]}}) + tensors)
    save("checkpoint", "outside", line({**inside, "steps": {"../x": [1, 1]}}) + tensors)
    save("checkpoint", "other-round", line({**state, "round": 2**32 - 1, "exchanges": 2**64 - 1}) + tensors)


def state_dicts():
    fixtures = HERE.parent.parent / "crates/effgan-nn/tests/fixtures"
    files = {name: (fixtures / f"state_dict_{name}.pth").read_bytes() for name in ["zip", "legacy", "double", "inside"]}
    for name, contents in files.items():
        save("state_dict", name, contents)
    save("state_dict", "cut", files["legacy"][:-5])
    save("state_dict", "calls", files["legacy"].replace(b"ccollections\nOrderedDict\n", b"cos\nsystem\n", 1))
    save("state_dict", "infinite", files["legacy"].replace(struct.pack("<f", 104.0), struct.pack("<f", np.inf), 1))


def messages():
    counts = ["round", "iteration", "iterations", "rounds-done", "exchanges-done", "oldest-round", "oldest-exchanges"]
    sizes, numbers = {"discriminator": 7, "generator": 2}, {name: i for i, name in enumerate(counts)}
    tensors = {"discriminator.a": [2, 2], "discriminator.b": [3], "generator.w": [2]}

    def message(name, tensors, sizes=sizes, numbers=numbers, words={"kind": "average"}):
        save("message", name, json.dumps([sizes, numbers, words]).encode() + b"\n" + json.dumps(tensors).encode())

    tie = {"kind": "average", "config-hash": "0" * 64}
    message("letter", tensors)
    message("reply", tensors, numbers={"num-examples": 3, "seconds": 1.5, "loss_d": 0.5, "round": 1, "iteration": 0}, words=tie)
    message("refused", {}, sizes={}, numbers={"round": 1, "iteration": 0}, words={**tie, "refused": "too-few-images"})
    message("unknown", {}, sizes={}, numbers={}, words={**tie, "refused": "disk full", "ledger": "=1+1"})
    message("logits", {"logits": [2]}, sizes={"logits": 2})
    message("empty", {**tensors, "generator.v": [0, 3]})
    message("longer", {**tensors, "generator.w": [1]})
    message("cut", {**tensors, "generator.w": [3]})
    message("overflow", {**tensors, "generator.w": [2**63, 2, 4]})
    message("none", {**tensors, "generator.w": [2**63, 0, 2**63]})
    message("other", {**tensors, "other.w": [1]})
    message("no-count", tensors, numbers={**numbers, "num-examples": 0.5})
    message("no-round", tensors, numbers={**numbers, "round": 2**40})


def policies():
    wishes = {"name": "small", "algorithm": "effgan", "rounds": 2, "local": {"epochs": 1}, "fine_tune": {"steps": 9}, "by_the_batch": False, "held_out": 0.1}
    wishes |= {"images": 112, "batch_size": 64, "batches_a_step": 1, "image_size": 16, "channels": 1, "model": 9000, "memory": 90000, "seconds": 60.0}
    wishes |= {"label_counts": False, "class_names": False, "conditional": False}

    def policy(name, text, wishes=None):
        save("policy", name, (text + ("\n---\n" + json.dumps(wishes) if wishes else "")).encode())

    policy("ordinary", 'approve = "any"\nmin_images = 30', wishes)
    policy("attack", "", {**wishes, "held_out": 0.99, "images": 1, "batch_size": 1})
    policy("endless", "", {**wishes, "rounds": 2**32 - 1, "local": {"epochs": 2**32 - 1}, "images": 2**64 - 1, "batch_size": 2**64 - 1, "batches_a_step": 2**64 - 1})
    policy("nothing", "", {**wishes, "images": 0, "batch_size": 0, "batches_a_step": 0, "held_out": -1.0})
    policy("other-key", "min_image = 3")
    policy("not-finite", "max_parameter = inf\nmax_passes = nan")
    policy("no-size", 'max_memory = "99999999999 GiB"')


def ledgers():
    request = {"run": "run1", "config": "0" * 64, "kind": "average", "round": 1, "iteration": 0, "received": "1" * 64}
    arrays = {"generator": {"bytes": 8, "sha256": "2" * 64}}
    answered = {"event": "answered", **request, "arrays": arrays, "numbers": {"num-examples": 3.0}, "words": {}, "held_out": 0.1, "trained": {"rounds": 1, "steps": 2, "passes": 1.0}}
    refused = {"event": "refused", **request, "refused": "too-few-images", "why": "<script>\u202e\u001b[2J"}
    yes = {"event": "approved", "config": "0" * 64, "name": "small", "last_round": 3}
    no, mended = {"event": "withdrawn", "config": "0" * 64}, {"event": "mended", "bytes": 3, "sha256": "3" * 64}

    def lines(*entries):
        made, previous = [], "0" * 64
        for entry in entries:
            made.append(json.dumps({"time": "2026-01-01T00:00:00Z", **entry, "previous": previous}).encode())
            previous = hashlib.sha256(made[-1]).hexdigest()
        return b"".join(line + b"\n" for line in made)

    whole = lines(yes, answered, refused, mended, no)
    # As a site refuses a message without anything in it.
    empty = {"event": "refused", "run": "", "config": "", "kind": "query", "refused": "other-version", "why": "x"}
    save("ledger", "whole", whole)
    save("ledger", "torn", whole[:-40])
    save("ledger", "torn-first", whole[:9])
    save("ledger", "changed", whole.replace(b'"steps": 2', b'"steps": 3'))
    save("ledger", "again", lines(empty))
    save("ledger", "empty", b"")
    save("ledger", "no-line", b"{}\n")
    save("ledger", "many", lines(*[answered] * 12))
    save("ledger", "endless", lines({**answered, "trained": {"rounds": 2**64 - 1, "steps": 2**64 - 1, "passes": 1e308}}, answered))


for make in [idx_files, arrays, pictures, archive, batches, partitions, requests, networks, manifests, checkpoints, state_dicts, messages, policies, ledgers]:
    make()
