"""The dataset node of a lazy config: annotation files and images -> registered dicts."""

import copy
import hashlib
import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from detectron2.data import DatasetCatalog, MetadataCatalog

from roilab import skeleton as skeletons
from roilab import via
from roilab.data.annotated_images import MissingImages, check_missing_images
from roilab.data.coco import CocoIds, dataset_to_coco
from roilab.data.records import LoadedRecords, OnProblems, load_records, log_problems
from roilab.errors import UserError, argument
from roilab.skeleton import Skeleton
from roilab.text import counted, counts_line


@dataclass(frozen=True)
class DetectionDataset:
    """Images and instances ready for Detectron2, with what gives them meaning.

    Attributes:
        name: under which `DatasetCatalog` and `MetadataCatalog` know it; follows from the content.
        records: Detectron2 dicts. Indexing hands them out uncopied: mappers copy before they write.
        classes: names in the order of `category_id`.
        skeleton: of the classes that have keypoints, or None.
        coco_ids: of the annotation file, which results that are written for others carry.
        dropped: how many images without usable annotations were left out.
        missing: how many images were left out, as asked, that are not there or cannot be read.
        outside: how many instances were left out that lie outside their image.
    """

    name: str
    records: tuple[dict[str, Any], ...]
    classes: tuple[str, ...]
    skeleton: Skeleton | None
    coco_ids: CocoIds
    dropped: int = 0
    missing: int = 0
    outside: int = 0

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.records[index]

    @property
    def area_source(self) -> str:
        """The area that OKS uses: of the masks, or of the boxes where an outline is missing."""
        classes = self.skeleton.classes if self.skeleton is not None else ()
        annos = [
            anno
            for record in self.records
            for anno in record["annotations"]
            if self.classes[anno["category_id"]] in classes
        ]
        return "mask" if all("area" in a or a.get("segmentation") for a in annos) else "box"

    def coco_json(self) -> dict[str, Any]:
        """The same images and instances as COCO json data, by the package's numbers: image ids are
        those of the records, category ids class index + 1.
        """
        return dataset_to_coco(self.records, self.classes, self.skeleton)

    def summary(self) -> str:
        """One line for the log: images, instances by class, crowds, and what was left out."""
        counts = [0] * len(self.classes)
        crowds = 0
        for record in self.records:
            for anno in record["annotations"]:
                if anno.get("iscrowd", 0):
                    crowds += 1
                else:
                    counts[anno["category_id"]] += 1
        more_crowds = f"; {counted(crowds, 'crowd')}" if crowds else ""
        left_out = "".join(
            f"; {counted(count, *what)} left out"
            for count, what in (
                (self.dropped, ("image without annotations", "images without annotations")),
                (self.missing, ("missing or broken image",)),
                (self.outside, ("instance outside its image", "instances outside their image")),
            )
            if count
        )
        return (
            f"{counted(len(self), 'image')}, {counted(sum(counts), 'instance')}: "
            f"{counts_line(dict(zip(self.classes, counts, strict=True)))}{more_crowds}{left_out}"
        )


def load_dataset(
    files: str | Sequence[str],
    images: str | Sequence[str | Sequence[str]] | None = None,
    *,
    rules: via.LabelRules = via.LabelRules(),  # noqa: B008 - frozen
    classes: Sequence[str] | None = None,
    skeleton: str | None = None,
    drop_empty: bool = False,
    min_keypoints: int = 0,
    strict: bool = False,
    missing_images: MissingImages = "error",
    on_problems: OnProblems = log_problems,
) -> DetectionDataset:
    """Read annotation files (VIA or COCO, recognised by content), check them, and register them.

    Args:
        files: one annotation file or several, which are one data set, whatever their kinds.
        images: the folder of the images. For one file, several folders may be given; for several
            files, one entry a file, a folder or several. None: the folder of each annotation file.
        rules: how attributes of VIA files become classes and keypoints; COCO files have none, and
            are read by `class_map`, `default_class` and `unlabelled` alone.
        classes: class names in the order of the model's outputs; None: those of the files, the
            categories of COCO files by their ids, then those that occur in VIA files by name.
        skeleton: `coco_person` or a JSON file; None: no keypoints.
        drop_empty: leave out images without instances, as Detectron2 does for training.
        min_keypoints: leave out images with fewer labelled keypoints, as Detectron2 does for the
            training of keypoint models.
        strict: an error in a file, or an object outside its image, is raised; otherwise the sound
            part is taken.
        missing_images: whether an image that is not there or cannot be read is an error, or is left
            out and counted.
        on_problems: receives the problems of the files; by default the log does.

    Raises:
        UserError: a file or image is missing or broken, a class or attribute unknown, nothing left.
    """
    paths = _paths(files)
    bones = None if skeleton is None else skeletons.load_skeleton(skeleton)
    check_missing_images(missing_images)
    roots = _roots(images, paths)
    _refuse_repeated(paths, roots)
    loaded = load_records(paths, roots, rules, classes, bones, strict, missing_images, on_problems)
    return dataset_of_records(
        loaded,
        bones,
        origin=", ".join(map(str, paths)),
        label=f"{paths[0].parent.name}_{paths[0].stem}",
        drop_empty=drop_empty,
        min_keypoints=min_keypoints,
        remedy="look at the file and its folder of images with roilab data check",
    )


def dataset_of_records(
    loaded: LoadedRecords,
    skeleton: Skeleton | None,
    *,
    origin: str,
    label: str,
    drop_empty: bool,
    min_keypoints: int,
    remedy: str,
) -> DetectionDataset:
    """Choose the images that are wanted, and register the data set.

    Args:
        origin: where the data come from, for messages.
        label: with which the name of the data set begins.
        drop_empty, min_keypoints: see `load_dataset`.
        remedy: where no image is left.

    Raises:
        UserError: no class has the keypoints of the skeleton, or no image is left.
    """
    _check_skeleton(skeleton, loaded.classes, origin)
    kept = tuple(record for record in loaded.records if _wanted(record, drop_empty, min_keypoints))
    if not kept:
        _refuse_nothing(len(loaded.records), loaded.missing, min_keypoints, origin, remedy)
    dataset = DetectionDataset(
        name=_name(label, kept, loaded.classes, skeleton),
        records=kept,
        classes=loaded.classes,
        skeleton=skeleton,
        coco_ids=loaded.coco_ids,
        dropped=len(loaded.records) - len(kept),
        missing=loaded.missing,
        outside=loaded.outside,
    )
    register_dataset(dataset)
    return dataset


def _name(
    label: str, records: Sequence[dict[str, Any]], classes: Sequence[str], bones: Skeleton | None
) -> str:
    """Another one for each content, since Detectron2 keeps data sets by their names."""
    content = io.BytesIO()
    pickler = pickle.Pickler(content, protocol=5)
    pickler.fast = True  # what is the same object twice is written twice: only values count
    pickler.dump((records, classes, bones and asdict(bones)))
    digest = hashlib.sha256(content.getbuffer()).hexdigest()
    return f"{label}_{digest[:8]}"


def register_dataset(dataset: DetectionDataset) -> None:
    """Make the dataset known to Detectron2's catalogs; doing so twice is harmless."""
    if dataset.name not in DatasetCatalog:
        # A fresh copy a call: Detectron2's COCO export shifts keypoints in place.
        DatasetCatalog.register(dataset.name, lambda: copy.deepcopy(list(dataset.records)))
    metadata = MetadataCatalog.get(dataset.name)
    metadata.thing_classes = list(dataset.classes)
    if dataset.skeleton is not None:
        metadata.keypoint_names = list(dataset.skeleton.keypoints)
        metadata.keypoint_flip_map = [tuple(pair) for pair in dataset.skeleton.swaps]
        metadata.keypoint_connection_rules = [
            (a, b, (255, 160, 0)) for a, b in dataset.skeleton.links
        ]


def _paths(files: str | Sequence[str]) -> list[Path]:
    paths = [Path(file) for file in ([files] if isinstance(files, str) else list(files or ()))]
    if not paths:
        raise UserError(
            "no annotation file given",
            key="files",
            found=files,
            expected="one file or a list",
            remedy="give files=FILE images=DIR",
        )
    for path in paths:
        if not path.is_file():
            raise UserError(
                "the annotation file does not exist",
                key="files",
                file=path,
                remedy="give files=FILE images=DIR",
            )
    return paths


def _roots(
    images: str | Sequence[str | Sequence[str]] | None, paths: Sequence[Path]
) -> list[tuple[Path, ...]]:
    """The folders of each file's images."""
    roots: list[tuple[Path, ...]]
    if images is None:
        roots = [(path.parent,) for path in paths]
    elif isinstance(images, str):
        roots = [(Path(images),)] * len(paths)
    elif len(paths) == 1:
        roots = [tuple(Path(root) for entry in images for root in _listed(entry))]
    else:
        roots = [tuple(map(Path, _listed(entry))) for entry in images]
    if len(roots) != len(paths) or not all(roots):
        raise UserError(
            "as many image folders as annotation files are needed, or one for all",
            key="images",
            found=len(roots),
            expected=len(paths),
        )
    for root in (root for folders in roots for root in folders):
        if not root.is_dir():
            raise UserError(
                "the image folder does not exist",
                key="images",
                file=root,
                remedy="give the folder of the images, images=DIR; images=null is the folder of "
                "the annotation file",
            )
    return roots


def _refuse_repeated(paths: Sequence[Path], roots: Sequence[Sequence[Path]]) -> None:
    known: set[object] = set()
    for path, below in zip(paths, roots, strict=True):
        # The same annotations may hold for other pictures in other folders.
        source = path.resolve(), tuple(root.resolve() for root in below)
        if source in known:
            raise UserError(
                "the annotation file is given twice",
                key="files",
                file=path,
                expected="each file once, since every image of it would be in the data set twice",
                remedy="remove it from the list",
            )
        known.add(source)


def _listed(entry: str | Sequence[str]) -> Sequence[str]:
    return [entry] if isinstance(entry, str) else entry


def _check_skeleton(skeleton: Skeleton | None, classes: Sequence[str], origin: str) -> None:
    if skeleton is not None and not set(skeleton.classes) & set(classes):
        raise UserError(
            f"no class of the data set has the keypoints of skeleton '{skeleton.name}'",
            file=origin,
            key="classes of the skeleton",
            found=list(classes),
            expected=f"one of {list(skeleton.classes)}",
            remedy=f"rename a class with {argument('class_map', {'OLD': skeleton.classes[0]})}, or "
            "name yours in the skeleton file",
        )


def _wanted(record: Mapping[str, Any], drop_empty: bool, min_keypoints: int) -> bool:
    annos = [anno for anno in record["annotations"] if not anno.get("iscrowd", 0)]
    if drop_empty and not annos:
        return False
    labelled = sum(v > 0 for anno in annos for v in anno.get("keypoints", ())[2::3])
    return labelled >= min_keypoints


def _refuse_nothing(
    total: int, missing: int, min_keypoints: int, origin: str, remedy: str
) -> NoReturn:
    left_out = f", and {missing} left out that are missing or broken" if missing else ""
    needed = f"at least {counted(min_keypoints, 'keypoint')}" if min_keypoints else "an instance"
    raise UserError(
        "no image is left after filtering",
        file=origin,
        found=f"{counted(total, 'image')}, none with {needed}{left_out}",
        expected=f"an image with {needed}",
        remedy=remedy,
    )
