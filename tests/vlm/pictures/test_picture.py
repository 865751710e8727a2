"""What each kind of picture looks like to a model, and what may be named as one."""

import base64
import io
import threading
import tracemalloc
import warnings
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlm.pictures import download
from vlm.pictures.checking import readable
from vlm.pictures.colours import note
from vlm.pictures.picture import Picture, PictureError, bounded_size, read_picture

ORIENTATION = 0x0112
CORNERS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))  # as pixels of a 2 x 2 picture, row by row


def corners(width=32, height=16):
    """A picture of four quarters of one colour each."""
    small = Image.new("RGB", (2, 2))
    small.putdata(CORNERS)
    return small.resize((width, height), Image.Resampling.NEAREST)


def file_of(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def read(data):
    return read_picture(data, where="rows.jsonl, row 3")


def pixels(picture):
    return np.asarray(picture.load()).tolist()


def tagged(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


# Orientation


UPRIGHT = {  # by the definition of the tag: which corner of the stored rows stands where, row by row
    1: (0, 1, 2, 3),
    2: (1, 0, 3, 2),
    3: (3, 2, 1, 0),
    4: (2, 3, 0, 1),
    5: (0, 2, 1, 3),
    6: (2, 0, 3, 1),
    7: (3, 1, 2, 0),
    8: (1, 3, 0, 2),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_source_is_turned_as_its_tag_says(tmp_path, orientation, kind):
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    data = file_of(corners(), kind, exif=tagged(orientation), **options)
    (tmp_path / "phone").write_bytes(data)
    entries = [
        data,
        str(tmp_path / "phone"),
        {"bytes": data, "path": None},
        base64.b64encode(data).decode(),
        Image.open(io.BytesIO(data)),
    ]
    for entry in entries:
        picture = read(entry)
        assert picture.size == ((16, 32) if orientation > 4 else (32, 16))
        shown = picture.load()
        assert shown.size == picture.size
        quarter = [(x, y) for y in (1, 3) for x in (1, 3)]
        seen = [shown.getpixel((x * shown.width // 4, y * shown.height // 4)) for x, y in quarter]
        expected = [CORNERS[place] for place in UPRIGHT[orientation]]
        assert np.abs(np.array(seen) - np.array(expected)).max() < 12


def test_a_tag_that_cannot_be_read_turns_nothing():
    assert read(file_of(corners(), "JPEG", exif=b"Exif\0\0broken, and long enough")).load().size == (32, 16)


# Transparency


def clear_ink(mode="RGBA"):
    """Black ink on a ground that is clear and black."""
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((0, 0), (0, 0, 0, 255))
    return image.convert(mode)


def palette():
    image = Image.new("P", (2, 1), 1)
    image.putpalette([0, 0, 0, 0, 0, 0])
    image.putpixel((0, 0), 0)
    return image


INK = [[[0, 0, 0], [255, 255, 255]]]


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (clear_ink(), {}),
        (clear_ink("LA"), {}),
        (palette(), {"transparency": 1}),
        (palette(), {"transparency": bytes([255, 0])}),
        (Image.fromarray(np.array([[0, 9]], "uint8")), {"transparency": 9}),
        (Image.fromarray(np.array([[0, 9]], "uint16")), {"transparency": 9}),
        (Image.fromarray(np.array([[[0, 0, 0], [9, 9, 9]]], "uint8")), {"transparency": (9, 9, 9)}),
    ],
)
def test_what_is_clear_is_white(image, options):
    assert pixels(read(file_of(image, **options))) == INK


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La"])
def test_what_is_clear_is_white_in_memory(mode):
    image = clear_ink("LA" if mode == "La" else "RGBA")
    image = image.convert(mode)
    assert pixels(read(image)) == INK


def test_half_clear_is_half_white():
    assert pixels(read(Image.new("RGBA", (1, 1), (200, 0, 100, 128)))) == [[[227, 127, 177]]]


def test_a_clear_colour_of_16_bits():
    """A PNG of RGB with 16 bits, written by hand: black ink, and a ground of the colour that is clear."""
    import struct
    import zlib

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    row = b"\0" + struct.pack(">6H", 0, 0, 0, 4660, 4660, 4660)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    clear = chunk(b"tRNS", struct.pack(">3H", 4660, 4660, 4660))
    data = b"\x89PNG\r\n\x1a\n" + head + clear + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    picture = read(data)
    assert pixels(picture) == INK == pixels(picture)


def test_it_is_said_once_and_only_where_something_is_clear(capsys):
    note.cache_clear()
    read(Image.new("RGBA", (1, 1), (9, 9, 9, 255))).load()
    assert capsys.readouterr().err == ""
    for _ in range(2):
        read(clear_ink()).load()
    assert capsys.readouterr().err == "note: transparent parts of pictures are shown as white\n"


# Depth and colour spaces


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bits_are_scaled_to_8(kind):
    grey = np.array([[0, 257, 30000, 65535]], "uint16")
    assert pixels(read(file_of(Image.fromarray(grey), kind))) == [[[v] * 3 for v in (0, 1, 117, 255)]]


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B"])
def test_16_bits_are_scaled_to_8_in_memory(mode):
    image = Image.fromarray(np.array([[0, 65535]], "uint16"))
    assert pixels(read(image.convert("I").convert(mode))) == [[[0] * 3, [255] * 3]]


@given(st.integers(0, 65535))
def test_every_16_bit_value_is_the_nearest_8_bit_one(value):
    [[[grey, *_]]] = pixels(read(Image.fromarray(np.array([[value]], "uint16"))))
    assert abs(grey - value / 257) <= 0.5


@pytest.mark.parametrize("values", [[-1.0, 2.0], [0.0, 1.0], [0.0, 255.0]])
def test_floats_are_refused(values):
    data = file_of(Image.fromarray(np.array([values], "float32")), "TIFF")
    with pytest.raises(PictureError, match=r"rows.jsonl, row 3 has an unreadable image \(its pixels are floats"):
        read(data).load()


@pytest.mark.parametrize("values", [[-1, 5], [0, 70000], [0, 255]])
def test_32_bits_whose_range_is_unknown_are_refused(values):
    data = file_of(Image.fromarray(np.array([values], "int32")), "TIFF")
    with pytest.raises(PictureError, match=f"32-bit pixels lie in {values[0]} to {values[1]}, not in 16 bits"):
        read(data).load()


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind):
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert np.abs(np.array(pixels(read(file_of(image, kind)))) - [255, 0, 0]).max() < 6


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (Image.new("1", (1, 1), 1), [255, 255, 255]),
        (Image.new("L", (1, 1), 7), [7, 7, 7]),
        (Image.new("HSV", (1, 1), (0, 255, 255)), [255, 0, 0]),
        (Image.new("YCbCr", (1, 1), (128, 128, 128)), [128, 128, 128]),
        (Image.new("RGB", (1, 1), (9, 8, 7)).quantize(2), [9, 8, 7]),
    ],
)
def test_other_colour_spaces(image, colour):
    assert pixels(read(image)) == [[colour]]


# Frames, and files that are none


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_is_shown_and_that_is_said_once(capsys, kind):
    note.cache_clear()
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = file_of(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    for _ in range(2):
        assert pixels(read(data))[0][0] == [255, 0, 0]
    assert capsys.readouterr().err == "note: a picture with several frames is shown as its first one\n"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_file_that_is_cut_off_is_named(kind):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype("uint8"))
    data = file_of(noise, kind)
    for kept in (len(data) // 2, 20, 0):
        with pytest.raises(PictureError, match="`prompts`: rows.jsonl, row 3 has an unreadable image") as caught:
            read(data[:kept]).load()
        assert "\n" not in str(caught.value) and "0x" not in str(caught.value)


def test_a_bomb_is_refused_by_its_head(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
    for width in (40, 400):
        picture = read(file_of(Image.new("RGB", (width, 20))))
        for look in (picture.check, picture.load, lambda picture=picture: picture.size):
            with pytest.raises(PictureError, match="more than 600 pixels: make it smaller"):
                look()


def test_no_other_program_is_started():
    with pytest.raises(PictureError, match="none of PNG, JPEG"):
        read(file_of(Image.new("RGB", (8, 8)), "EPS")).check()


@given(st.binary(max_size=200), st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP"]), st.integers(0, 60))
def test_bytes_that_are_broken_are_refused_or_read(junk, kind, place):
    data = bytearray(file_of(corners(), kind))
    data[place : place + len(junk)] = junk
    try:
        assert read(bytes(data)).load().mode == "RGB"
    except PictureError as error:
        assert "\n" not in str(error)


# Sizes


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 10**6), st.integers(1, 10**6))
def test_bounds_hold_and_keep_the_aspect(width, height, one, two):
    least, most = sorted((one, two))
    new_width, new_height = bounded_size((width, height), least, most)
    if width * height > most:
        assert new_width * new_height <= most
    elif width * height < least:
        assert new_width * new_height >= least
    else:
        assert (new_width, new_height) == (width, height)
    if min(new_width, new_height) > 50:
        assert new_width / new_height == pytest.approx(width / height, rel=0.05)


def test_a_bounded_picture_is_resized_before_anything_sees_it():
    picture = read(corners(400, 100)).bounded(None, 10_000)
    assert picture.size == picture.load().size == (200, 50)
    assert picture.bounded(160_000, None).size == picture.bounded(160_000, None).load().size == (800, 200)
    assert read(corners(4, 8)).resized((3, 3)).load().size == (3, 3)
    assert pixels(Picture.plain((1, 2, 3), (2, 1))) == [[[1, 2, 3]] * 2]


def test_the_content_is_that_of_the_file_and_of_the_size():
    data = file_of(corners())
    picture = read(data)
    assert picture.content() == data
    assert picture.bounded(None, 9).content() != data
    assert read(corners()).content() == b"(32, 16)" + corners().tobytes()
    assert picture == read(data) and picture != picture.bounded(None, 9)


# Entries


def test_base64_and_data_uris():
    data = file_of(corners(), "JPEG")
    packed = base64.b64encode(data).decode()
    spelt = [packed, packed.rstrip("="), "\n".join(packed[i : i + 76] for i in range(0, len(packed), 76))]
    spelt += [base64.urlsafe_b64encode(data).decode(), f"data:image/jpeg;base64,{packed}"]
    spelt += ["data:image/jpeg," + "".join(f"%{byte:02x}" for byte in data)]
    spelt += [f"DATA:image/jpeg;charset=utf-8;BASE64,{packed}"]
    for entry in spelt:
        assert read(entry).source == data
    with pytest.raises(PictureError, match="data URI that cannot be read"):
        read("data:image/png;base64,@@@")


@pytest.mark.parametrize("entry", [None, "", " ", 7, ["a.png"], {}, {"bytes": None, "path": None}, np.zeros((2, 2, 3))])
def test_what_is_no_picture_is_refused(entry):
    with pytest.raises(PictureError, match="`prompts`: rows.jsonl, row 3 must have as image a path, bytes"):
        read(entry)


def test_paths_lie_below_the_root(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "secret.png"
    (root / "sub").mkdir(parents=True)
    corners().save(outside)
    corners().save(root / "sub" / "a.png")
    (root / "link.png").symlink_to(outside)
    (root / "twin.png").symlink_to(root / "sub" / "a.png")
    (root / "up").symlink_to(tmp_path, target_is_directory=True)
    for entry in ("sub/a.png", str(root / "sub" / "a.png"), "sub/../sub/a.png", "twin.png", {"path": "sub/a.png"}):
        assert read_picture(entry, where="x", root=root).size == (32, 16)
    for entry in ("../secret.png", str(outside), "link.png", "up/secret.png", "sub/../../secret.png"):
        with pytest.raises(PictureError, match=r"x names the image .* which does not lie below .*: give --image-root"):
            read_picture(entry, where="x", root=root)
    assert read_picture(str(outside), where="x", root=None).size == (32, 16)
    for entry in ("none.png", "sub", "a\0b"):
        with pytest.raises(PictureError, match="x has an unreadable image"):
            read_picture(entry, where="x", root=root).check()


@pytest.mark.parametrize("entry", ["file:///etc/passwd", "ftp://host/a.png", "s3://bucket/a.png"])
def test_other_schemes_are_refused(entry):
    with pytest.raises(PictureError, match="only http and https are read"):
        read_picture(entry, where="x", allow_remote=True)


# Downloads


class Server(BaseHTTPRequestHandler):
    asked: list[str] = []
    data = file_of(corners())

    def do_GET(self):
        self.asked.append(self.path)
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        elif self.path == "/a.png":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.data)
        elif self.path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(self.data)
        else:
            self.send_error(404)

    def handle(self):
        with suppress(ConnectionError):  # a reader that has had enough
            super().handle()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def test_a_url_is_asked_only_where_that_is_allowed_and_once(server):
    Server.asked.clear()
    with pytest.raises(PictureError, match="x names the image 'http.*/a.png': add --allow-remote to download it"):
        read_picture(f"{server}/a.png", where="x")
    picture = read_picture(f"{server}/a.png", where="x", allow_remote=True)
    assert Server.asked == []
    picture.check()
    assert picture.load().tobytes() == corners().tobytes()
    assert Server.asked == ["/a.png"]
    assert read_picture({"url": f"{server}/to//a.png"}, where="x", allow_remote=True).size == (32, 16)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/none", "the server answered 404"),
        ("/cut", "of 1000000 bytes came"),
        ("/to/file:///etc/passwd", "Redirection to url .* is not allowed"),
        ("/to/ftp://127.0.0.1/a", "only http and https are read, not ftp"),
    ],
)
def test_what_a_server_may_not_do(server, path, reason):
    with pytest.raises(PictureError, match=f"x has an unreadable image .*{reason}"):
        read_picture(server + path, where="x", allow_remote=True).check()


def test_a_download_has_a_largest_size_and_time(server):
    with pytest.raises(download.DownloadError, match="more than 10 bytes"):
        download.download(f"{server}/a.png", largest=10)
    with pytest.raises(download.DownloadError, match="it took longer than|timed out"):
        download.download(f"{server}/a.png", timeout_s=1e-9)


# Memory


def test_a_picture_costs_the_bytes_of_its_file():
    data = file_of(Image.effect_noise((1000, 1000), 40).convert("RGB"), "JPEG", quality=60)
    tracemalloc.start()
    held = [read(bytes(bytearray(data))) for _ in range(8)]
    for picture in held:
        picture.check()
        assert picture.size == (1000, 1000)
        picture.load()
    now, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert now < 1.5 * 8 * len(data) < 8 * 3_000_000


def test_a_path_costs_next_to_nothing(tmp_path):
    Image.effect_noise((500, 500), 40).save(tmp_path / "a.jpg")
    picture = read_picture("a.jpg", where="x", root=tmp_path)
    assert isinstance(picture.source, Path) and picture.load().mode == "RGB"


@pytest.mark.parametrize(
    ("form", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {}), ("TIFF", {})]
)
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95, 1.0])
def test_checked_pixels_fail_where_loading_does(form, options, share):
    file, noise = io.BytesIO(), np.random.default_rng(0).integers(0, 256, (64, 80, 3)).astype("uint8")
    Image.fromarray(noise).save(file, form, **options)
    picture = Picture(file.getvalue()[: int(len(file.getvalue()) * share)])
    if share == 1.0:
        picture.check_pixels()
        assert picture.load().size == (80, 64)
        return
    for read in (picture.load, picture.check_pixels):
        with pytest.raises(PictureError):
            read()


def test_many_are_decoded_at_once_and_the_filters_of_warnings_stay(tmp_path):
    file = io.BytesIO()
    Image.new("RGB", (300, 200), "red").save(file, "JPEG")
    pictures = [(Picture(file.getvalue()[: -400 if n % 3 == 0 else None]),) * 2 for n in range(60)]
    pictures.append((Picture(Image.new("RGB", (8, 8))),))
    before = list(warnings.filters)
    with readable(pictures) as found:
        assert list(found) == [*(n % 3 != 0 for n in range(60)), True]
    assert warnings.filters == before


def test_an_open_file_in_memory_keeps_its_size_when_it_is_checked():
    file = io.BytesIO()
    Image.new("RGB", (320, 160), "red").save(file, "JPEG")
    opened = Image.open(io.BytesIO(file.getvalue()))
    Picture(opened).check_pixels()
    assert opened.size == (320, 160) and Picture(opened).load().size == (320, 160)


@pytest.mark.parametrize(("target", "is_read"), [("blobs", True), ("elsewhere", False)])
def test_a_snapshot_of_the_hub_links_to_its_own_blobs_alone(tmp_path, target, is_read):
    folder = tmp_path / "datasets--me--set" / "snapshots" / "abc" / "data"
    blob = tmp_path / "datasets--me--set" / target / "0123"
    for place in (folder, blob.parent):
        place.mkdir(parents=True)
    Image.new("RGB", (3, 2), "red").save(blob, "PNG")
    (folder / "a.png").symlink_to(blob)
    if is_read:
        assert read_picture("a.png", where="row 0", root=folder, allow_remote=False).load().size == (3, 2)
    else:
        with pytest.raises(PictureError, match="does not lie below"):
            read_picture("a.png", where="row 0", root=folder, allow_remote=False)
