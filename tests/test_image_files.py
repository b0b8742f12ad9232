"""Finding image files, their size from the header, and whether they are whole."""

import ast
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from detectron2.data.detection_utils import read_image
from PIL import Image

from roilab.errors import UserError
from roilab.image_files import ImageFolder, bits_of, header_size, read_rgb, whole_size


def photo(path: Path, size: tuple[int, int] = (40, 30), **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = Image.effect_noise(size, 80).convert("RGB")
    noise.save(path, **options)
    return path


class TestFind:
    @pytest.mark.parametrize(
        "filename",
        [
            "a b.jpg",
            "./a b.jpg",
            "/somewhere/else/a b.jpg",
            r"C:\photos\a b.jpg",
            "https://example.org/pics/a b.jpg",
            "https://example.org/pics/a%20b.jpg?size=large#top",
            "other/a b.jpg",
        ],
    )
    def test_names(self, tmp_path: Path, filename: str) -> None:
        path = photo(tmp_path / "a b.jpg")
        assert ImageFolder(tmp_path).find(filename, None) == path
        assert ImageFolder(tmp_path).find(filename, path.stat().st_size) == path

    @pytest.mark.parametrize("filename", ["sub/a.jpg", r"sub\a.jpg"])
    def test_path_below_the_root(self, tmp_path: Path, filename: str) -> None:
        photo(tmp_path / "a.jpg")
        photo(tmp_path / "other" / "a.jpg", (80, 80))
        below = photo(tmp_path / "sub" / "a.jpg")
        assert ImageFolder(tmp_path).find(filename, None) == below

    def test_size_tells_files_of_one_name_apart(self, tmp_path: Path) -> None:
        near = photo(tmp_path / "a.jpg")
        far = photo(tmp_path / "sub" / "a.jpg", (80, 80))
        folder = ImageFolder(tmp_path)
        assert folder.find("a.jpg", far.stat().st_size) == far
        assert folder.find("a.jpg", near.stat().st_size) == near
        # An image that was saved anew is still the one in its place.
        assert folder.find("a.jpg", 1) == near

    def test_in_a_folder_below(self, tmp_path: Path) -> None:
        only = photo(tmp_path / "sub" / "a.jpg")
        assert ImageFolder(tmp_path).find("a.jpg", None) == only
        photo(tmp_path / "other" / "a.jpg", (80, 80))
        assert ImageFolder(tmp_path).find("a.jpg", None) is None
        assert ImageFolder(tmp_path).find("a.jpg", only.stat().st_size) == only

    def test_several_roots(self, tmp_path: Path) -> None:
        one, two = photo(tmp_path / "1" / "a.jpg"), photo(tmp_path / "2" / "a.jpg", (80, 80))
        other = photo(tmp_path / "2" / "deep" / "b.jpg")
        folder = ImageFolder(tmp_path / "1", tmp_path / "2")
        assert folder.find("a.jpg", one.stat().st_size) == one
        assert folder.find("a.jpg", two.stat().st_size) == two
        assert folder.find("b.jpg", None) == other
        # Which of the two is meant is not guessed.
        assert folder.find("a.jpg", None) is None
        assert folder.find("a.jpg", 1) is None
        message, _ = folder.why_not("a.jpg", None)
        assert message.startswith("2 files have this name")
        assert str(two) in message
        assert "no such image" in folder.why_not("c.jpg", None)[0]

    def test_one_root_given_twice(self, tmp_path: Path) -> None:
        path = photo(tmp_path / "a.jpg")
        assert ImageFolder(tmp_path, tmp_path / ".").find("a.jpg", None) == path

    @pytest.mark.parametrize("default_path", ["pics/", "pics/set_"])
    def test_default_path_is_put_before_the_name(self, tmp_path: Path, default_path: str) -> None:
        path = photo(tmp_path / f"{default_path}a.jpg")
        folder = ImageFolder(tmp_path, default_path=default_path)
        assert folder.find("a.jpg", None) == path

    def test_absolute_paths(self, tmp_path: Path) -> None:
        path = photo(tmp_path / "far" / "a.jpg")
        (tmp_path / "empty").mkdir()
        empty = tmp_path / "empty"
        assert ImageFolder(empty).find(str(path), None) == path
        assert ImageFolder(empty, default_path=f"{path.parent}/").find("a.jpg", None) == path
        assert ImageFolder(empty, default_path="http://example.org/").find("a.jpg", None) is None

    @pytest.mark.parametrize(
        ("filename", "place", "keeps"),
        [
            ("y/a.jpg", "y/a.jpg", True),
            ("./y/a.jpg", "y/a.jpg", True),
            (r"y\a.jpg", "y/a.jpg", True),
            ("y/a.jpg", "deep/y/a.jpg", True),
            ("a.jpg", "y/a.jpg", True),
            ("/elsewhere/x/a.jpg", "y/a.jpg", True),
            ("https://example.org/x/a.jpg", "a.jpg", True),
            ("photos/a.jpg", "a.jpg", True),  # the root is that folder itself
            ("../photos/a.jpg", "a.jpg", True),
            ("x/a.jpg", "y/a.jpg", False),
            (r"x\a.jpg", "y/a.jpg", False),
            ("x/a.jpg", "a.jpg", False),
            ("x/a.jpg", "max/a.jpg", False),
        ],
    )
    def test_whether_the_stated_folder_is_kept(
        self, tmp_path: Path, filename: str, place: str, keeps: bool
    ) -> None:
        path = photo(tmp_path / "photos" / place)
        folder = ImageFolder(tmp_path / "photos")
        image = folder.find(filename, None)
        assert image is not None
        assert image.samefile(path)
        assert folder.keeps_folder(filename, image) is keeps

    @pytest.mark.parametrize("name", [" a.jpg", "a.jpg ", "sub/ a.jpg"])
    def test_white_space_around_the_name_of_a_file(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        photo(tmp_path / "b.jpg").rename(path)
        assert ImageFolder(tmp_path).find("a.jpg", None) == path
        exact = photo(tmp_path / "deep" / "a.jpg")
        assert ImageFolder(tmp_path).find("a.jpg", None) == exact

    @pytest.mark.parametrize("filename", ["x" * 5000, "nul\0byte", "data:image/png;base64,AAAA"])
    def test_names_that_no_file_has(self, tmp_path: Path, filename: str) -> None:
        assert ImageFolder(tmp_path).find(filename, None) is None

    @pytest.mark.parametrize("filename", ["b.jpg", "", ".", "..", "https://example.org/"])
    def test_none(self, tmp_path: Path, filename: str) -> None:
        photo(tmp_path / "a.jpg")
        photo(tmp_path / "._b.jpg")
        assert ImageFolder(tmp_path).find(filename, None) is None

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no such folder"):
            ImageFolder(tmp_path / "none")


def png(path: Path, before: bytes = b"", behind: bytes = b"") -> Path:
    """A PNG of 40 x 30 pixels with chunks before and behind the pixels."""
    content = photo(path).read_bytes()
    start, end = content.index(b"IDAT") - 4, content.index(b"IEND") - 4
    path.write_bytes(content[:start] + before + content[start:end] + behind + content[end:])
    return path


def chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def oriented(orientation: int | None) -> Image.Exif:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    return exif


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(image: Image.Image) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)


TURNED = oriented(6).tobytes()
EXIF = chunk(b"eXIf", TURNED[6:])
_XMP = b'<rdf:Description tiff:Orientation="6"/>'
XMP = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _XMP)
PACKED_XMP = chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(_XMP))
_PROFILE = f"\nexif\n{len(TURNED):8}\n{TURNED.hex()}\n".encode()
PROFILE = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(_PROFILE))
TEXT_PROFILE = chunk(b"tEXt", b"Raw profile type exif\0" + _PROFILE)
BAD_PROFILE = chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 4\nno hex")
DATE = chunk(b"tEXt", b"date:create\x002024-01-01")


class TestHeaderSize:
    @pytest.mark.parametrize("place", ["before", "behind"])
    @pytest.mark.parametrize(
        ("chunks", "turns"),
        [
            *((EXIF, True), (XMP, True), (PACKED_XMP, True), (PROFILE, True), (TEXT_PROFILE, True)),
            *((DATE + PROFILE, True), (BAD_PROFILE, False), (DATE, False)),
        ],
        ids=["exif", "xmp", "packed xmp", "profile", "text profile", "last", "bad", "date"],
    )
    def test_png_is_as_the_training_loader_shows_it(
        self, tmp_path: Path, place: str, chunks: bytes, turns: bool
    ) -> None:
        path = png(tmp_path / "a.png", **{place: chunks})
        height, width = read_image(str(path), "BGR").shape[:2]
        assert header_size(path) == (width, height) == ((30, 40) if turns else (40, 30))

    @pytest.mark.parametrize("orientation", range(10))
    @pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
    def test_is_what_the_training_loader_sees(
        self, tmp_path: Path, orientation: int, suffix: str
    ) -> None:
        path = photo(tmp_path / f"a.{suffix}", exif=oriented(orientation))
        assert header_size(path) == read_image(str(path), "BGR").shape[1::-1] == whole_size(path)
        if suffix in ("jpg", "png"):
            assert header_size(path) == ((30, 40) if 5 <= orientation <= 8 else (40, 30))

    @pytest.mark.usefixtures("no_decoding")
    @pytest.mark.parametrize(
        "before", [b"", XMP, PROFILE, EXIF], ids=["none", "xmp", "profile", "exif"]
    )
    def test_pixels_of_a_png_are_not_decoded(self, tmp_path: Path, before: bytes) -> None:
        path = png(tmp_path / "a.png", before, behind=DATE)
        assert header_size(path) == ((30, 40) if before else (40, 30))

    @pytest.mark.usefixtures("no_decoding")
    @pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tiff", "webp", "gif"])
    def test_pixels_are_not_decoded(self, tmp_path: Path, suffix: str) -> None:
        assert header_size(photo(tmp_path / f"a.{suffix}")) == (40, 30)

    def test_png_called_jpg(self, tmp_path: Path) -> None:
        path = photo(tmp_path / "a.png").rename(tmp_path / "a.jpg")
        assert header_size(path) == whole_size(path) == (40, 30)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"not an image",
            b"\xff\xd8",
            b"\x89PNG\r\n\x1a\n",
            # A DDS with flags of no pixel format: Pillow raises NotImplementedError.
            b"DDS " + struct.pack("<7I", 124, 0x1007, 8, 8, 0, 0, 0) + bytes(44 + 52),
        ],
        ids=["empty", "text", "jpeg", "png", "dds"],
    )
    def test_broken(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "a.jpg"
        path.write_bytes(content)
        for check in (header_size, whole_size):
            with pytest.raises(UserError, match=r"cannot read the image(.|\n)*a\.jpg"):
                check(path)

    def test_missing(self, tmp_path: Path) -> None:
        for check in (header_size, whole_size, read_rgb):
            with pytest.raises(UserError, match=r"a\.jpg(.|\n)*No such file"):
                check(tmp_path / "a.jpg")


class TestWholeSize:
    @pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.webp"])
    def test_whole_and_cut(self, tmp_path: Path, name: str) -> None:
        path = photo(tmp_path / name, (200, 150))
        assert whole_size(path) == (200, 150)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])
        with pytest.raises(UserError, match="cannot read the image"):
            whole_size(path)

    def test_broken_pixels_before_an_orientation(self, tmp_path: Path) -> None:
        path = png(tmp_path / "a.png", behind=EXIF)
        content = path.read_bytes().partition(b"IEND")[0][:-4]
        start = content.index(b"IDAT") + 4
        path.write_bytes(content[:start] + bytes(20) + content[start + 20 :])
        with pytest.raises(UserError, match="cannot read the image"):
            whole_size(path)

    @pytest.mark.usefixtures("no_decoding")
    def test_whole_is_not_decoded(self, tmp_path: Path) -> None:
        paths = [photo(tmp_path / name, (200, 150)) for name in ("a.jpg", "a.png")]
        assert [whole_size(path) for path in paths] == [(200, 150)] * 2

    def test_thumbnail_is_not_the_end(self, tmp_path: Path) -> None:
        thumbnail = photo(tmp_path / "small.jpg", (60, 60)).read_bytes()
        path = photo(tmp_path / "a.jpg", (100, 100), exif=b"Exif\x00\x00" + thumbnail)
        content = path.read_bytes()
        assert content.index(b"\xff\xd9") < len(content) // 2
        path.write_bytes(content[: len(content) * 2 // 3])
        with pytest.raises(UserError, match="cannot read the image"):
            whole_size(path)

    @pytest.mark.parametrize("count", [1_000, 100_000])
    def test_bytes_behind_the_end(self, tmp_path: Path, count: int) -> None:
        path = photo(tmp_path / "a.jpg")
        path.write_bytes(path.read_bytes() + b"\0" * count)
        assert whole_size(path) == (40, 30)


# Mode and suffixes: every kind of file of 8 bits that Pillow writes and that people have.
EIGHT_BITS = [
    *(("1", suffix) for suffix in ("png", "tif", "bmp", "gif", "pbm")),
    *(("L", suffix) for suffix in ("png", "jpg", "tif", "bmp", "gif", "webp", "pgm", "jp2")),
    *(("LA", suffix) for suffix in ("png", "tif", "jp2")),
    *(("P", suffix) for suffix in ("png", "tif", "bmp", "gif")),
    *(("RGB", suffix) for suffix in ("png", "jpg", "tif", "bmp", "webp", "ppm", "jp2", "gif")),
    *(("RGBA", suffix) for suffix in ("png", "tif", "webp", "gif", "jp2", "bmp")),
    *(("CMYK", suffix) for suffix in ("jpg", "tif")),
    *(("YCbCr", suffix) for suffix in ("jpg", "tif")),
]


def scene(mode: str) -> Image.Image:
    """Noise of a mode, half of it transparent where that can be."""
    values = np.random.default_rng(0).integers(0, 256, (30, 40, 4), np.uint8)
    values[:, :20, 3] = 0
    return Image.fromarray(values).convert(mode)


class TestReadRgb:
    def test_a_lost_worker_is_no_fault_of_the_image(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Torch says it from a signal, whatever the main process does just then."""

        def lost(*_: object) -> None:
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

        path = photo(tmp_path / "a.png")
        monkeypatch.setattr("roilab.image_files.to_rgb", lost)
        with pytest.raises(RuntimeError, match="pid 7"):
            read_rgb(path)

    @pytest.mark.parametrize(("mode", "suffix"), EIGHT_BITS)
    @pytest.mark.parametrize("orientation", [None, 6])
    def test_eight_bits_are_as_detectron2_reads_them(
        self, tmp_path: Path, mode: str, suffix: str, orientation: int | None
    ) -> None:
        path = tmp_path / f"a.{suffix}"
        scene(mode).save(path, exif=oriented(orientation))
        image = read_rgb(path)
        assert (image == read_image(str(path), "RGB")).all()
        assert (image.dtype, image.shape[2]) == (np.uint8, 3)
        assert image.std() > 20
        image[:] = 0  # it is new, and may be written to

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_turned_as_exif_says(self, tmp_path: Path, orientation: int) -> None:
        photo(tmp_path / "a.jpg", exif=oriented(orientation))
        image = read_rgb(tmp_path / "a.jpg")
        assert (image == read_image(str(tmp_path / "a.jpg"), "RGB")).all()
        assert image.shape[:2] == ((40, 30) if orientation >= 5 else (30, 40))

    @pytest.mark.parametrize("turned", [False, True])
    @pytest.mark.parametrize("suffix", ["png", "tif", "pgm", "jp2"])
    def test_sixteen_bits_keep_their_upper_eight(
        self, tmp_path: Path, suffix: str, turned: bool
    ) -> None:
        grey = (np.arange(30 * 40).reshape(30, 40) * 54).astype(np.uint16)
        exif = oriented(6 if turned and suffix == "png" else None)  # the others do not carry it
        Image.fromarray(grey).save(tmp_path / f"a.{suffix}", exif=exif)
        expected = (np.rot90(grey, -1) if exif else grey) >> 8
        assert (read_rgb(tmp_path / f"a.{suffix}") == expected[:, :, None]).all()

    def test_twelve_bits_of_a_tiff_that_says_so(self, tmp_path: Path) -> None:
        """Two values in three bytes, the first one's upper eight first."""
        values = np.arange(30 * 40).reshape(30, 40) * 3
        first, second = values.reshape(-1, 2).T
        packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1)
        tags = {256: 40, 257: 30, 258: 12, 259: 1, 262: 1, 273: 8 + 2 + 12 * 9 + 4, 277: 1, 278: 30}
        tags[279] = packed.size
        content = b"II*\0" + struct.pack("<IH", 8, len(tags))
        for tag, value in tags.items():
            content += struct.pack("<HHII", tag, 4, 1, value)
        path = tmp_path / "a.tif"
        path.write_bytes(content + b"\0" * 4 + packed.astype(np.uint8).tobytes())
        assert bits_of(path) == 12
        assert (read_rgb(path) == (values >> 4)[:, :, None]).all()

    @pytest.mark.parametrize("suffix", ["png", "tif", "pgm", "jp2"])
    def test_bits(self, tmp_path: Path, suffix: str) -> None:
        for dtype, bits in ((np.uint8, 8), (np.uint16, 16)):
            path = tmp_path / f"{bits}.{suffix}"
            Image.fromarray(np.full((30, 40), 200, dtype)).save(path)
            assert bits_of(path) == bits
        assert bits_of(photo(tmp_path / "a.jpg")) == 8

    def test_signed_numbers_and_those_of_32_bits_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        Image.fromarray(np.full((30, 40), 200, np.uint16)).save(path, tiffinfo={339: 2})
        with pytest.raises(UserError, match="signed"):
            read_rgb(path)
        for mode in ("F", "I"):
            scene("L").convert(mode).save(path)
            with pytest.raises(UserError, match="32 bits"):
                read_rgb(path)

    def test_first_frame(self, tmp_path: Path) -> None:
        first, second = (Image.new("RGB", (40, 30), colour) for colour in ("red", "blue"))
        for suffix in ("gif", "webp", "tif"):
            path = tmp_path / f"a.{suffix}"
            first.save(path, save_all=True, append_images=[second], lossless=True)
            assert (read_rgb(path) == [255, 0, 0]).all()

    def test_one_pixel(self, tmp_path: Path) -> None:
        Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "a.png")
        assert read_rgb(tmp_path / "a.png").tolist() == [[[1, 2, 3]]]

    def test_too_many_pixels_are_not_decoded(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        path = tmp_path / "a.png"
        Image.new("1", (20_000, 20_000)).save(path)
        request.getfixturevalue("no_decoding")
        for read in (read_rgb, header_size):
            with pytest.raises(UserError, match="too many pixels") as caught:
                read(path)
            assert "400000000" in str(caught.value)
            assert caught.value.remedy

    @pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif", "a.tif", "a.webp"])
    def test_broken(self, tmp_path: Path, name: str) -> None:
        content = photo(tmp_path / name, (200, 150)).read_bytes()
        for cut in (0, 9, len(content) // 2):
            (tmp_path / name).write_bytes(content[:cut])
            with pytest.raises(UserError, match=rf"cannot read the image(.|\n)*{name}"):
                read_rgb(tmp_path / name)


def test_only_two_modules_open_pictures() -> None:
    """Others would read 16 bits, transparency or EXIF otherwise; both call `to_rgb`.

    The pixels of Cityscapes' labels are no colours but numbers of instances.
    """
    root = Path(__file__).parents[1]
    opens = {"Image.open", "PIL.Image.open", "cv2.imread", "read_image", "utils.read_image"}
    paths = {
        path.relative_to(root).as_posix()
        for folder in ("project", "scripts", "configs")
        for path in (root / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in opens
    }
    benchmarks = {path for path in paths if path.startswith("scripts/benchmarks/")}
    labels = {"project/roilab/data/cityscapes.py"}
    pictures = {"project/roilab/image_files.py", "project/roilab/app/uploads.py"}
    assert paths - benchmarks == pictures | labels
