"""The dataset node of a lazy config: annotation files and images -> registered dicts."""

import copy
import hashlib
import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from roilab import skeleton as skeletons
from roilab import via
from roilab.data.annotated_images import (
    MissingImages,
    check_missing_images,
    find_images,
    fit_instances,
    leave_out_unusable,
    usable_size,
)
from roilab.data.coco import CocoIds, category_ids, dataset_to_coco, image_numbers
from roilab.data.mask_to_polygons import box_of_rle
from roilab.data.records import (
    OnProblems,
    class_names,
    declared_ids,
    detectron2_record,
    log_problems,
    similar_classes,
)
from roilab.errors import UserError, argument
from roilab.image_files import ImageFolder
from roilab.skeleton import Skeleton
from roilab.text import counted, counts_line
from roilab.via.records import collector_paused


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
    dataset = _read(paths, roots, rules, classes, bones, strict, missing_images, on_problems)
    return registered(
        dataset,
        origin=", ".join(map(str, paths)),
        label=f"{paths[0].parent.name}_{paths[0].stem}",
        drop_empty=drop_empty,
        min_keypoints=min_keypoints,
        remedy="look at the file and its folder of images with roilab data check",
    )


@collector_paused()
def _read(
    paths: Sequence[Path],
    roots: Sequence[Sequence[Path]],
    rules: via.LabelRules,
    classes: Sequence[str] | None,
    skeleton: Skeleton | None,
    strict: bool,
    missing_images: MissingImages,
    on_problems: OnProblems,
) -> DetectionDataset:
    """All images that can be used. The arguments are those of `load_dataset`, checked."""
    # For masks the box around them, and no points for keypoints: a region stands for each COCO
    # annotation, and `via.build_instances` takes the rest from that.
    files = [via.read(path, rings_of_rle=box_of_rle, keypoints_as_points=False) for path in paths]
    sets = [via.build_instances(annotations, rules, skeleton) for annotations in files]
    names = class_names(files, sets, rules, classes)
    problems = [problem for labelled in sets for problem in labelled.problems]
    problems += similar_classes(sets)
    folders = [
        ImageFolder(*below, default_path=annotations.default_path)
        for annotations, below in zip(files, roots, strict=True)
    ]
    missing: list[via.Problem] = []
    broken: list[via.Problem] = []
    outside = 0
    records: list[dict[str, Any]] = []
    located = find_images(list(zip(files, folders, strict=True)))
    for labelled, located_images in zip(sets, located, strict=True):
        problems += located_images.warnings
        for image, place in zip(labelled.images, located_images.places, strict=True):
            size = usable_size(labelled.file, image.record, place)
            if isinstance(size, via.Problem):
                (missing if isinstance(place, via.Problem) else broken).append(size)
                continue
            fitting, more = fit_instances(labelled.file, image, *size)
            problems += more
            outside += sum(problem.severity == "error" for problem in more)
            number = image.record.coco.id if image.record.coco else None
            records.append(detectron2_record(number, str(place), fitting, names, skeleton, size))
    on_problems(problems)
    if strict:
        via.refuse_errors(problems)
    left_out = leave_out_unusable(
        missing,
        broken,
        missing_images,
        total=sum(len(labelled.images) for labelled in sets),
        origin=", ".join(map(str, paths)),
        key="images",
        remedy="give the folder that holds them, images=DIR, or leave them out with "
        "missing_images=skip",
    )
    ids = [record["image_id"] for record in records]
    # Ids of several files may be the same.
    numbers = image_numbers(ids if len(files) == 1 else [None] * len(ids))
    for record, number in zip(records, numbers, strict=True):
        record["image_id"] = number
    known = declared_ids(files, rules)
    if not known or None in ids or len(set(ids)) != len(ids):
        coco_ids = CocoIds.numbered(numbers, len(names))
    else:
        coco_ids = CocoIds(dict(zip(numbers, ids, strict=True)), category_ids(names, known))
    # As Detectron2's reader of COCO files has them; for other files it is their order.
    records.sort(key=lambda record: record["image_id"])
    return DetectionDataset("", tuple(records), names, skeleton, coco_ids, 0, left_out, outside)


def registered(
    dataset: DetectionDataset,
    *,
    origin: str,
    label: str,
    drop_empty: bool,
    min_keypoints: int,
    remedy: str,
) -> DetectionDataset:
    """The data set with the images that training can use, named and known to Detectron2.

    Args:
        origin: where the data come from, for messages.
        label: with which the name of the data set begins.
        drop_empty, min_keypoints: see `load_dataset`.
        remedy: where no image is left.

    Raises:
        UserError: no class has the keypoints of the skeleton, or no image is left.
    """
    skeleton, classes = dataset.skeleton, dataset.classes
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
    kept = tuple(r for r in dataset.records if _is_kept(r, drop_empty, min_keypoints))
    if not kept:
        count = dataset.missing
        left_out = f", and {count} left out that are missing or broken" if count else ""
        needed = "an instance"
        if min_keypoints:
            needed = f"at least {counted(min_keypoints, 'keypoint')}"
        raise UserError(
            "no image is left after filtering",
            file=origin,
            found=f"{counted(len(dataset), 'image')}, none with {needed}{left_out}",
            expected=f"an image with {needed}",
            remedy=remedy,
        )
    name = _name(label, kept, classes, skeleton)
    result = replace(dataset, name=name, records=kept, dropped=len(dataset) - len(kept))
    register_dataset(result)
    return result


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


def _is_kept(record: Mapping[str, Any], drop_empty: bool, min_keypoints: int) -> bool:
    annos = [anno for anno in record["annotations"] if not anno.get("iscrowd", 0)]
    if drop_empty and not annos:
        return False
    labelled = sum(v > 0 for anno in annos for v in anno.get("keypoints", ())[2::3])
    return labelled >= min_keypoints
