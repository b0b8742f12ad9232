"""The plan of a prediction's output files; nothing that is read is overwritten."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roilab.errors import UserError
from roilab.inference.rendering import OVERVIEW, picture_names
from roilab.inference.sources import Frame, Source
from roilab.skeleton import Skeleton

VIA_FILES: Mapping[str, str] = {
    "via": "via_project.json",
    "via-json": "via.json",
    "via-csv": "via.csv",
}
DATA_FILES: Mapping[str, str] = {
    "json": "predictions.json",
    **VIA_FILES,
    "coco": "coco.json",
    "csv": "predictions.csv",
}
KINDS = ("picture", *DATA_FILES, "video")
_FRAMES = "frames"


@dataclass(frozen=True)
class Plan:
    """The output files of a prediction.

    Attributes:
        folder: that gets it.
        kinds: of `KINDS`.
        classes, category_ids: of the run whose instances the data hold.
        titles, skeletons: of that run, and of another that is drawn beside it.
        threshold: the least score of an instance.
        names: of the attributes in VIA, see `roilab.inference.to_annotations.attribute_names`.
    """

    source: Source
    folder: Path
    kinds: Sequence[str]
    classes: Sequence[str]
    category_ids: Sequence[int | str]
    titles: Sequence[str]
    skeletons: Sequence[Skeleton | None]
    threshold: float
    names: Mapping[str, str]

    @property
    def skeleton(self) -> Skeleton | None:
        """The skeleton of the keypoints in the data."""
        return self.skeletons[0]

    @property
    def saves_frames(self) -> bool:
        """Whether the frames of a video become image files, for data that refer to such."""
        return self.source.video is not None and not {"coco", *VIA_FILES}.isdisjoint(self.kinds)

    @property
    def data_files(self) -> dict[str, Path]:
        """The file of each kind of data."""
        return {kind: self.folder / name for kind, name in DATA_FILES.items() if kind in self.kinds}

    @property
    def video_file(self) -> Path:
        """The file of the video."""
        return self.folder / f"{self.source.video}.mp4"

    @property
    def frame_folder(self) -> Path:
        """The folder of a video's frames."""
        return self.folder / _FRAMES

    @property
    def picture_files(self) -> dict[Path, Path]:
        """The file of each image's picture."""
        names = picture_names(self.source.inputs)
        pairs = zip(self.source.inputs, names, strict=True)
        return {file: self.folder / name for file, name in pairs}

    def frame_name(self, frame: Frame) -> str:
        """The file name of the picture of a video's frame."""
        return f"{self.source.video}_{frame.index:06}.jpg"

    def check(self) -> None:
        """Make sure that it can be carried out, and that nothing that is read is written over.

        Raises:
            UserError: it is not so.
        """
        if "video" in self.kinds and self.source.video is None:
            raise UserError(
                "images make no video",
                key="--save",
                found="video",
                expected="a video or a webcam as --input, or picture in place of video",
            )
        taken = {file.parent.resolve() for file in self.source.inputs}
        for folder in (self.folder, *([self.frame_folder] if self.saves_frames else [])):
            if folder.resolve() in taken:
                # Pictures would replace the images, or be taken for images the next time.
                raise UserError(
                    "what is written would lie among what is read",
                    key="--output",
                    found=folder,
                    expected="another folder than that of --input",
                )
        inputs = {file.resolve() for file in self.source.inputs}
        written = [*self.data_files.values()]
        if "video" in self.kinds:
            written.append(self.video_file)
        if "picture" in self.kinds and self.source.video is None:
            written += [self.folder / OVERVIEW, *self.picture_files.values()]
        for path in written:
            if path.resolve() in inputs:
                raise UserError(
                    "a file of --input would be written over",
                    key="--output",
                    file=path,
                    expected="a folder without links to what is read",
                )
