"""The dataset node of a lazy config: annotation files and images -> registered dicts."""

import copy
import hashlib
import io
import itertools
import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from roilab import skeleton as skeletons
from roilab import via
from roilab.data import coco, records, usable_images
from roilab.data.cityscapes import image_folder, is_cityscapes, read_cityscapes, require_labels
from roilab.data.mask_to_polygons import box_of_rle
from roilab.errors import UserError, argument
from roilab.image_files import ImageFolder
from roilab.skeleton import Skeleton
from roilab.text import counted, counts_line
from roilab.via.records import collector_paused

# An annotation file and the folders of its images.
_Source = tuple[Path, tuple[Path, ...]]


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
    coco_ids: coco.CocoIds
    dropped: int = 0
    missing: int = 0
    outside: int = 0

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.records[index]

    @property
    def is_cityscapes(self) -> bool:
        """Whether all images are of Cityscapes, by whose own rules masks are then evaluated."""
        return bool(self.records) and all("void" in record for record in self.records)

    @property
    def area_source(self) -> str:
        """The area that OKS uses: of the masks, or of the boxes where an outline is missing."""
        classes = self.skeleton.classes if self.skeleton is not None else ()
        have_area = all(
            "area" in anno or anno.get("segmentation")
            for record in self.records
            for anno in record["annotations"]
            if self.classes[anno["category_id"]] in classes
        )
        return "mask" if have_area else "box"

    def coco_json(self) -> dict[str, Any]:
        """The same images and instances as COCO json data, by the package's numbers: image ids are
        those of the records, category ids class index + 1.
        """
        return coco.dataset_to_coco(self.records, self.classes, self.skeleton)

    def summary(self) -> str:
        """One line for the log: images, instances by class, crowds, and what was left out."""
        annos = [anno for record in self.records for anno in record["annotations"]]
        counts = Counter(anno["category_id"] for anno in annos if not anno.get("iscrowd", 0))
        crowds = len(annos) - counts.total()
        by_class = {name: counts[place] for place, name in enumerate(self.classes)}
        dropped = counted(self.dropped, "image without annotations", "images without annotations")
        missing = counted(self.missing, "missing or broken image")
        outside = counted(
            self.outside, "instance outside its image", "instances outside their image"
        )
        parts = (
            (crowds, counted(crowds, "crowd")),
            (self.dropped, f"{dropped} left out"),
            (self.missing, f"{missing} left out"),
            (self.outside, f"{outside} left out"),
        )
        images = counted(len(self), "image")
        instances = counted(counts.total(), "instance")
        more = "".join(f"; {text}" for count, text in parts if count)
        return f"{images}, {instances}: {counts_line(by_class)}{more}"


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
    missing_images: usable_images.MissingImages = "error",
    on_problems: records.OnProblems = records.log_problems,
) -> DetectionDataset:
    """Read annotations (VIA or COCO files, by content, or Cityscapes), check and register them.

    Args:
        files: one annotation file or several, which are one data set, whatever their kinds; the
            labels of a split of Cityscapes, ROOT/gtFine/SPLIT, stand for a file.
        images: the folder of the images. For one file, several folders may be given; for several
            files, one entry a file, a folder or several. None: the folder of each annotation file,
            and for Cityscapes ROOT/leftImg8bit/SPLIT.
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
    bones = None if skeleton is None else skeletons.load_skeleton(skeleton)
    usable_images.check_missing_images(missing_images)
    sources = _sources(files, images)
    dataset = _read(sources, rules, classes, bones, strict, missing_images, on_problems)
    return registered(
        dataset,
        origin=", ".join(str(path) for path, _ in sources),
        drop_empty=drop_empty,
        min_keypoints=min_keypoints,
        remedy="look at the file and its folder of images with roilab data check",
    )


@collector_paused()
def _read(
    sources: Sequence[_Source],
    rules: via.LabelRules,
    classes: Sequence[str] | None,
    skeleton: Skeleton | None,
    strict: bool,
    missing_images: usable_images.MissingImages,
    on_problems: records.OnProblems,
) -> DetectionDataset:
    """All images that can be used, of each annotation file in its folders; see `load_dataset`."""
    files = [_read_annotations(path) for path, _ in sources]
    sets = [via.build_instances(annotations, rules, skeleton) for annotations in files]
    names = records.class_names(files, sets, rules, classes)
    problems = [problem for labelled in sets for problem in labelled.problems]
    problems += records.similar_classes(sets)
    located = usable_images.find_images(
        [
            (annotations, ImageFolder(*folders, default_path=annotations.default_path))
            for annotations, (_, folders) in zip(files, sources, strict=True)
        ]
    )

    missing: list[via.Problem] = []
    broken: list[via.Problem] = []
    outside = 0
    dicts: list[dict[str, Any]] = []
    for labelled, images in zip(sets, located, strict=True):
        problems += images.warnings
        problems += usable_images.with_other_bytes(labelled, images.places)
        for image, place in zip(labelled.images, images.places, strict=True):
            size = usable_images.usable_size(labelled.file, image.record, place)
            if isinstance(size, via.Problem):
                unusable = missing if isinstance(place, via.Problem) else broken
                unusable.append(size)
                continue
            fitting, more = usable_images.fit_instances(labelled.file, image, *size)
            problems += more
            outside += sum(problem.severity == "error" for problem in more)
            id_in_file = None if image.record.coco is None else image.record.coco.id
            dicts.append(
                records.detectron2_record(id_in_file, str(place), fitting, names, skeleton, size)
            )
    on_problems(problems)
    if strict:
        via.refuse_errors(problems)
    left_out = usable_images.leave_out_unusable(
        missing,
        broken,
        missing_images,
        total=sum(len(labelled.images) for labelled in sets),
        origin=", ".join(str(path) for path, _ in sources),
        key="images",
        remedy="give the folder that holds them, images=DIR, or leave them out with "
        "missing_images=skip",
    )

    ids = [record["image_id"] for record in dicts]
    # Ids of several files may be the same.
    numbers = coco.image_numbers(ids if len(files) == 1 else [None] * len(ids))
    coco_ids = _coco_ids(ids, numbers, names, records.declared_ids(files, rules))
    dicts = [record | {"image_id": number} for record, number in zip(dicts, numbers, strict=True)]
    # As Detectron2's reader of COCO files has them; for other files it is their order.
    dicts.sort(key=lambda record: record["image_id"])
    first = sources[0][0]
    label = f"{first.parent.name}_{first.stem}"
    return DetectionDataset(
        label, tuple(dicts), names, skeleton, coco_ids, missing=left_out, outside=outside
    )


def _read_annotations(path: Path) -> via.Annotations:
    """The annotations of a file, or of a split of Cityscapes, with a region for each of COCO's.

    The region is the box around a mask; `via.build_instances` takes the rest, also keypoints, from
    the annotation.
    """
    if is_cityscapes(path):
        return read_cityscapes(path, box_of_rle)
    return via.read(path, rings_of_rle=box_of_rle, keypoints_as_points=False)


def _coco_ids(
    ids: Sequence[Any], numbers: Sequence[int], names: Sequence[str], known: Mapping[str, Any]
) -> coco.CocoIds:
    """The ids of the files for results in COCO's format; own numbers where a file has none.

    Args:
        ids: of the images in their files; None for one without.
        numbers: of the images in the data set.
        names: of the classes.
        known: class name -> category id of the files.
    """
    if not known or None in ids or len(set(ids)) != len(ids):
        return coco.CocoIds.numbered(numbers, len(names))
    return coco.CocoIds(dict(zip(numbers, ids, strict=True)), coco.category_ids(names, known))


def registered(
    dataset: DetectionDataset,
    *,
    origin: str,
    drop_empty: bool,
    min_keypoints: int,
    remedy: str,
) -> DetectionDataset:
    """The data set with the images that training can use, known to Detectron2 by its whole name.

    Args:
        origin: where the data come from, for messages.
        remedy: for a data set of which no image is left.

    Raises:
        UserError: no class has the keypoints of the skeleton, or no image is left.
    """
    skeleton = dataset.skeleton
    classes = dataset.classes
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
    kept = tuple(image for image in dataset.records if _is_kept(image, drop_empty, min_keypoints))
    if not kept:
        count = dataset.missing
        left_out = f", and {count} left out that are missing or broken" if count else ""
        least = f"at least {counted(min_keypoints, 'keypoint')}" if min_keypoints else "an instance"
        message = "no image is left after filtering"
        images = f"{counted(len(dataset), 'image')}, none with {least}{left_out}"
        expected = f"an image with {least}"
        raise UserError(message, file=origin, found=images, expected=expected, remedy=remedy)
    # Another name for each content, since Detectron2 keeps data sets by their names.
    content = io.BytesIO()
    pickler = pickle.Pickler(content, protocol=5)
    pickler.fast = True  # an object that occurs twice is written twice: only values count
    pickler.dump((kept, classes, skeleton and asdict(skeleton)))
    name = f"{dataset.name}_{hashlib.sha256(content.getbuffer()).hexdigest()[:8]}"
    result = replace(dataset, name=name, records=kept, dropped=len(dataset) - len(kept))
    register_dataset(result)
    return result


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


def _sources(
    files: str | Sequence[str], images: str | Sequence[str | Sequence[str]] | None
) -> list[_Source]:
    """The annotation files with the folders of their images; all exist, and none is given twice."""
    paths = [Path(file) for file in _listed(files or ())]
    if not paths:
        message = "no annotation file given"
        expected = "one file or a list"
        remedy = "give files=FILE images=DIR"
        raise UserError(message, key="files", found=files, expected=expected, remedy=remedy)
    for path in paths:
        if is_cityscapes(path):
            require_labels(path)
        elif not path.is_file():
            message = "the annotation file does not exist"
            remedy = "give files=FILE images=DIR"
            parts = str(path).split(",")
            if len(parts) > 1 and all(Path(part.strip()).is_file() for part in parts):
                several = argument("files", [part.strip() for part in parts])
                remedy = f"several files are a list: {several}"
            raise UserError(message, key="files", file=path, remedy=remedy)
    sources = list(zip(paths, _folders(paths, images), strict=True))
    known: set[object] = set()
    for path, roots in sources:
        # The same annotations may hold for other pictures in other folders.
        source = path.resolve(), tuple(root.resolve() for root in roots)
        if source in known:
            message = "the annotation file is given twice"
            expected = "each file once, since every image of it would be in the data set twice"
            remedy = "remove it from the list"
            raise UserError(message, key="files", file=path, expected=expected, remedy=remedy)
        known.add(source)
    return sources


def _folders(
    paths: Sequence[Path], images: str | Sequence[str | Sequence[str]] | None
) -> list[tuple[Path, ...]]:
    """The folders of the images of each annotation file, by `images` of `load_dataset`."""
    folders: list[tuple[Path, ...]]
    if images is None:
        folders = [(image_folder(path),) for path in paths]
    elif isinstance(images, str):
        folders = [(Path(images),)] * len(paths)
    elif len(paths) == 1:
        folders = [tuple(Path(root) for entry in images for root in _listed(entry))]
    else:
        folders = [tuple(map(Path, _listed(entry))) for entry in images]
    if len(folders) != len(paths) or not all(folders):
        message = "as many image folders as annotation files are needed, or one for all"
        raise UserError(message, key="images", found=len(folders), expected=len(paths))
    for root in itertools.chain(*folders):
        if not root.is_dir():
            raise UserError(
                "the image folder does not exist",
                key="images",
                file=root,
                remedy="give the folder of the images, images=DIR; images=null is the folder of "
                "the annotation file",
            )
    return folders


def _listed(entry: str | Sequence[str]) -> Sequence[str]:
    return [entry] if isinstance(entry, str) else entry


def _is_kept(record: Mapping[str, Any], drop_empty: bool, min_keypoints: int) -> bool:
    annos = [anno for anno in record["annotations"] if not anno.get("iscrowd", 0)]
    if drop_empty and not annos:
        return False
    labelled = sum(v > 0 for anno in annos for v in anno.get("keypoints", ())[2::3])
    return labelled >= min_keypoints
