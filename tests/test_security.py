"""Files and requests of strangers: each claim of docs/security.md."""

import html
import http.client
import io
import json
import struct
import tarfile
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from deblur_tf.base.errors import DataError, ModelError, UsageError
from deblur_tf.base.files import read_json
from deblur_tf.base.words import printable
from deblur_tf.datasets import pair_builder
from deblur_tf.image_files.reading import read_photo
from deblur_tf.inference.manifest import Manifest
from deblur_tf.models.saved import load_model
from deblur_tf.reproduction.collect import Results
from deblur_tf.reproduction.contents import Cell, Row, Table
from deblur_tf.reproduction.pages import Page
from deblur_tf.study import design
from deblur_tf.study.server import Server
from tests.support.programs import run

DEEP = "[" * 100_000 + "]" * 100_000


def sparse(path, size):
    """A file that claims many bytes and takes none."""
    with open(path, "wb") as file:
        file.truncate(size)


@pytest.mark.parametrize("content", [DEEP, None, "{", "null"])
def test_json_of_strangers_is_refused_in_one_line(content, tmp_path):
    for name, read, error in (
        ("model.json", lambda: load_model(tmp_path), ModelError),
        ("manifest.json", lambda: Manifest(tmp_path), UsageError),
        ("study.json", lambda: design.read(tmp_path), UsageError),
    ):
        if content is None:
            sparse(tmp_path / name, 1 << 30)
        else:
            (tmp_path / name).write_text(content)
        with pytest.raises(error, match=name):
            read()
        (tmp_path / name).unlink()


def test_json_within_its_limits_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1, 2]}')
    assert read_json(tmp_path / "a.json") == {"a": [1, 2]}
    with pytest.raises(ValueError, match="13 bytes; at most 12"):
        read_json(tmp_path / "a.json", 12)


def test_a_header_of_safetensors_cannot_ask_for_memory(tmp_path):
    """The format begins with the length of its header, which may lie."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 40) + b"{}")
    result = run(
        "weights",
        "convert",
        "sd2",
        f"--from={path}",
        "--prediction=epsilon",
        "-o",
        tmp_path / "out",
    )
    assert result.returncode in (2, 3), result.stderr
    assert "Traceback" not in result.stderr
    assert "model.safetensors" in result.stderr
    assert not (tmp_path / "out" / "weights.npz").exists()


class Manager:
    """What `roots` needs of TFDS, with TFDS's own extraction."""

    def __init__(self, manual, target):
        self.manual_dir, self.target = manual, target

    def extract(self, path):
        from tensorflow_datasets.core.download import extractor, resource

        method = resource.guess_extract_method(path.name)
        found = extractor._Extractor()
        with found.tqdm():
            return found.extract(path, method, self.target).get()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_archives_write_nothing_outside_their_folder(kind, tmp_path):
    manual = tmp_path / "manual"
    manual.mkdir()
    path, secret = manual / f"set.{kind}", tmp_path / "secret.txt"
    secret.write_text("mine")
    names = ["../outside.txt", f"{tmp_path}/absolute.txt", "data/../../up.txt", "data/good.txt"]
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "theirs")
            link = zipfile.ZipInfo("data/link.txt")
            link.external_attr = 0o120777 << 16
            archive.writestr(link, str(secret))
    else:
        with tarfile.open(path, "w:gz") as archive:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size = 6
                archive.addfile(info, io.BytesIO(b"theirs"))
            link = tarfile.TarInfo("data/link.txt")
            link.type, link.linkname = tarfile.SYMTYPE, str(secret)
            archive.addfile(link)
    roots = pair_builder.roots(Manager(manual, tmp_path / "extracted"), (path.name,))
    assert any((root / "data" / "good.txt").is_file() for root in roots)
    inside = {p for p in tmp_path.rglob("*") if p.is_file()}
    assert {p for p in inside if (tmp_path / "extracted") not in p.parents} == {path, secret}
    for found in (tmp_path / "extracted").rglob("link.txt"):
        assert not found.is_symlink()
        assert found.read_text() != "mine"


def bomb(kind):
    """A small file whose header promises 50,000x50,000 pixels."""
    small = io.BytesIO()
    Image.new("RGB", (16, 16)).save(small, kind)
    data = bytearray(small.getvalue())
    huge = 50_000
    if kind == "png":
        import zlib

        data[16:24] = struct.pack(">II", huge, huge)
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    elif kind == "jpeg":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", huge, huge)
    elif kind == "bmp":
        data[18:26] = struct.pack("<ii", huge, huge)
    elif kind == "gif":
        data[6:10] = struct.pack("<HH", huge, huge)
    elif kind == "ppm":
        data = bytearray(data.replace(b"16 16", f"{huge} {huge}".encode(), 1))
    elif kind == "webp":
        small = io.BytesIO()
        Image.new("RGB", (16, 16)).save(small, "webp", lossless=True)
        data = bytearray(small.getvalue())
        at = data.index(b"VP8L") + 9
        bits = (16_383 | 16_383 << 14).to_bytes(4, "little")  # the most that the format has
        data[at : at + 4] = bits
    return bytes(data)


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "gif", "ppm", "webp"])
def test_pictures_that_promise_too_many_pixels_are_refused(kind, tmp_path):
    path = tmp_path / f"bomb.{kind}"
    path.write_bytes(bomb(kind))
    with pytest.raises(DataError, match="bomb"):
        read_photo(path)


def test_metadata_of_many_megabytes_costs_no_more_than_itself(tmp_path):
    path = tmp_path / "a.png"
    noise = np.random.default_rng(0).bytes(8 << 20)
    Image.new("RGB", (32, 32)).save(path, exif=b"Exif\0\0" + noise)
    assert read_photo(path).pixels.shape == (32, 32, 3)
    Image.new("RGB", (32, 32)).save(path, icc_profile=noise)
    with pytest.raises(DataError, match=r"a\.png: .* too large"):
        read_photo(path)


def test_names_with_control_characters_do_not_drive_the_terminal(tmp_path, micro_dir):
    assert printable("a\x1b[2Jb\x07\x9b") == "a\\x1b[2Jb\\x07\\x9b"
    assert printable("a\tb\nc ä") == "a\tb\nc ä"
    (tmp_path / "in").mkdir()
    Image.new("RGB", (24, 24), "gray").save(tmp_path / "in" / "a\x1b[2J.png")
    (tmp_path / "in" / "b\x1b]0;title\x07.png").write_bytes(b"no picture")
    result = run("restore", "-i", "in", "-o", "out", "-m", micro_dir, cwd=tmp_path)
    assert result.returncode == 1
    said = result.stdout + result.stderr
    assert "\x1b" not in said
    assert "a\\x1b[2J.png" in said
    assert (tmp_path / "out" / "a\x1b[2J.png").is_file()  # the name itself is kept


def test_names_in_reports_are_escaped(tmp_path):
    name = "<script>alert(1)</script>"
    table = Table("dvsr/9", name, (name,), (Row(name, (Cell(name, 1.0, why=name),)),))
    text = Page([table], Results(tmp_path, "runs"), name).html()
    assert name not in text
    assert html.escape(name) in text


@pytest.fixture
def study(tmp_path, photos):
    folders = {}
    for method in ("a", "b"):
        (tmp_path / method).mkdir()
        Image.fromarray(photos[0][:64, :64]).save(tmp_path / method / "x.png")
        folders[method] = str(tmp_path / method)
    (tmp_path / "study").mkdir()
    design.make(folders, str(tmp_path / "study"), 1, 32, 0)
    return tmp_path / "study"


def test_a_study_serves_its_own_pictures_to_its_own_page_alone(study):
    (study / "secret.txt").write_text("mine")
    server = Server(study, port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def ask(method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    try:
        for path in (
            *("/secret.txt", "/pictures/../secret.txt", "/pictures/%2e%2e/secret.txt"),
            *("/../secret.txt", "/pictures//etc/passwd", "/study.json"),
        ):
            status, body = ask("GET", path)
            assert status == 404, path
            assert b"mine" not in body
        assert ask("GET", "/", Host="evil.example")[0] == 403  # DNS rebinding
        given = json.dumps({"rater": "r", "comparison": 0, "winner": "left"})
        form = {"Content-Type": "application/x-www-form-urlencoded"}  # what a foreign page can send
        assert ask("POST", "/answer", given, **form)[0] == 400
        wanted = {"Content-Type": "application/json"}
        assert ask("POST", "/answer", DEEP[:9_999], **wanted)[0] == 400
        assert ask("POST", "/answer", "x" * 20_000, **wanted)[0] == 400
        assert ask("POST", "/answer", given, **wanted)[0] == 200
    finally:
        server.shutdown()
        server.server_close()


def test_a_study_of_a_stranger_names_no_files_of_ones_own(study):
    stored = json.loads((study / "study.json").read_text())
    stored["comparisons"][0]["left_file"] = "../../secret.txt"
    (study / "study.json").write_text(json.dumps(stored))
    with pytest.raises(UsageError, match="is not the name of a picture"):
        design.read(study)
