"""Finding image files, their size from the header, and whether they are whole."""

from pathlib import Path

import pytest
from PIL import Image

from roilab.errors import UserError
from roilab.images import ImageFolder, check_readable, find, header_size


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
        assert find(tmp_path, filename, None) == path
        assert find(tmp_path, filename, path.stat().st_size) == path

    def test_path_below_the_root(self, tmp_path: Path) -> None:
        photo(tmp_path / "a.jpg")
        below = photo(tmp_path / "sub" / "a.jpg")
        assert find(tmp_path, "sub/a.jpg", None) == below

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
        assert find(tmp_path, "a.jpg", None) == only
        photo(tmp_path / "other" / "a.jpg", (80, 80))
        assert find(tmp_path, "a.jpg", None) is None
        assert find(tmp_path, "a.jpg", only.stat().st_size) == only

    @pytest.mark.parametrize("filename", ["b.jpg", "", ".", "..", "https://example.org/"])
    def test_none(self, tmp_path: Path, filename: str) -> None:
        photo(tmp_path / "a.jpg")
        photo(tmp_path / "._b.jpg")
        assert find(tmp_path, filename, None) is None

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no such folder"):
            find(tmp_path / "none", "a.jpg", None)


class TestHeaderSize:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("suffix", ["jpg", "png"])
    def test_orientation(self, tmp_path: Path, orientation: int, suffix: str) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = photo(tmp_path / f"a.{suffix}", exif=exif)
        assert header_size(path) == ((30, 40) if orientation >= 5 else (40, 30))

    @pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tiff", "webp", "gif"])
    def test_pixels_are_not_decoded(
        self, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = photo(tmp_path / f"a.{suffix}")

        def load(image: Image.Image) -> None:
            raise AssertionError("decoded")

        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
        assert header_size(path) == (40, 30)

    def test_png_called_jpg(self, tmp_path: Path) -> None:
        path = photo(tmp_path / "a.png").rename(tmp_path / "a.jpg")
        assert header_size(path) == (40, 30)
        check_readable(path)

    @pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8", b"\x89PNG\r\n\x1a\n"])
    def test_broken(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "a.jpg"
        path.write_bytes(content)
        for check in (header_size, check_readable):
            with pytest.raises(UserError, match=r"cannot read the image(.|\n)*a\.jpg"):
                check(path)

    def test_missing(self, tmp_path: Path) -> None:
        for check in (header_size, check_readable):
            with pytest.raises(UserError, match="No such file"):
                check(tmp_path / "a.jpg")


class TestCheckReadable:
    @pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.webp"])
    def test_whole_and_cut(self, tmp_path: Path, name: str) -> None:
        path = photo(tmp_path / name, (200, 150))
        check_readable(path)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])
        with pytest.raises(UserError, match="cannot read the image"):
            check_readable(path)

    def test_whole_is_not_decoded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        paths = [photo(tmp_path / name, (200, 150)) for name in ("a.jpg", "a.png")]

        def load(image: Image.Image) -> None:
            raise AssertionError("decoded")

        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
        for path in paths:
            check_readable(path)

    def test_thumbnail_is_not_the_end(self, tmp_path: Path) -> None:
        thumbnail = photo(tmp_path / "small.jpg", (60, 60)).read_bytes()
        path = photo(tmp_path / "a.jpg", (100, 100), exif=b"Exif\x00\x00" + thumbnail)
        content = path.read_bytes()
        assert content.index(b"\xff\xd9") < len(content) // 2
        path.write_bytes(content[: len(content) * 2 // 3])
        with pytest.raises(UserError, match="cannot read the image"):
            check_readable(path)

    def test_bytes_behind_the_end(self, tmp_path: Path) -> None:
        path = photo(tmp_path / "a.jpg")
        path.write_bytes(path.read_bytes() + b"\0" * 100_000)
        check_readable(path)
