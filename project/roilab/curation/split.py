"""Division of images into two parts: each class is in both if possible, and no picture is.

Iterative stratification of multi-label data: Sechidis, Tsoumakas, Vlahavas, "On the Stratification
of Multi-label Data", ECML PKDD 2011, algorithm 1, for two parts.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from pathlib import Path

from roilab import via
from roilab.errors import UserError, argument
from roilab.files import read_bytes
from roilab.text import counted


def image_fingerprint(record: via.ImageRecord, path: Path | None) -> str:
    """A value that two copies of one picture share: a hash of the file, else of its name and size.

    Raises:
        UserError: the file cannot be read.
    """
    if path is None:
        content = f"{record.filename}\0{record.size}".encode(errors="replace")
    else:
        remedy = "make the file readable, or remove it: its name and size identify the image"
        content = read_bytes(path, what="the image", remedy=remedy)
    return hashlib.sha256(content).hexdigest()


def stratified_split(
    groups: Mapping[str, Collection[Hashable]], share: float, seed: int
) -> set[str]:
    """Choose the groups of the first part. The order of the groups has no influence.

    Args:
        groups: fingerprint -> labels of each picture; those without labels count as one label.
        share: of the first part, in (0, 1).
        seed: another one gives another division.

    Returns:
        The fingerprints of the first part. Both parts have a picture, and one of each label that
        two pictures have, unless other labels need these elsewhere; the first part's share of a
        label is as near to `share` as the other labels allow.

    Raises:
        UserError: the share is out of range, or there are fewer than two pictures.
    """
    if not 0 < share < 1:
        raise UserError(
            "a part needs a share",
            key="share",
            found=share,
            expected="more than 0, less than 1",
            remedy="give a number such as 0.8",
        )
    if len(groups) < 2:
        message = "there is nothing to divide"
        remedy = "annotate more pictures; copies of one picture stay in one part"
        pictures = f"{len(groups)} different pictures"
        raise UserError(message, found=pictures, expected="at least 2", remedy=remedy)

    # A number drawn for each picture, which decides where nothing else does.
    luck = {key: hashlib.sha256(f"{seed}\0{key}".encode()).hexdigest() for key in groups}
    labels = {key: set(groups[key]) or {None} for key in sorted(groups, key=luck.__getitem__)}
    counts = Counter(label for names in labels.values() for label in names)
    # The number of pictures of each label that each part still needs.
    needed = [{label: part * counts[label] for label in counts} for part in (share, 1 - share)]
    left: dict[Hashable, list[str]] = defaultdict(list)
    for key, names in labels.items():
        for label in names:
            left[label].append(key)

    parts: tuple[set[str], set[str]] = (set(), set())
    total = [share * len(groups), (1 - share) * len(groups)]
    while open_labels := [name for name in left if left[name]]:
        # The rarest label first: it has the least room for a mistake.
        label = min(
            open_labels, key=lambda name: (len(left[name]), luck[left[name][0]], repr(name))
        )
        for key in list(left[label]):
            # To the part that needs the label more, else to the one that needs more pictures.
            needs = [(needed[part][label], total[part]) for part in (0, 1)]
            part = 0 if needs[0] >= needs[1] else 1
            parts[part].add(key)
            total[part] -= 1
            for name in labels[key]:
                needed[part][name] -= 1
                left[name].remove(key)

    for empty, full in (parts, parts[::-1]):
        if not empty:
            key = min(full, key=luck.__getitem__)
            full.remove(key)
            empty.add(key)
    _bring_labels_into_both(parts, labels, luck)
    return parts[0]


def _bring_labels_into_both(
    parts: tuple[set[str], set[str]],
    labels: Mapping[str, Collection[Hashable]],
    luck: Mapping[str, str],
) -> None:
    """Move a picture of each label that a part lacks, unless the other part would then lack one."""
    counts = [Counter(label for key in part for label in labels[key]) for part in parts]
    total = counts[0] + counts[1]
    for label in sorted(total, key=lambda name: (total[name], repr(name))):
        for lacking, having in ((0, 1), (1, 0)):
            if counts[lacking][label]:
                continue
            movable = [
                key
                for key in parts[having]
                if label in labels[key] and all(counts[having][name] > 1 for name in labels[key])
            ]
            if movable:
                # The one that changes the fewest shares.
                key = min(movable, key=lambda candidate: (len(labels[candidate]), luck[candidate]))
                parts[having].remove(key)
                parts[lacking].add(key)
                counts[having].subtract(labels[key])
                counts[lacking].update(labels[key])


def split_images(
    labelled: via.LabelledSet,
    find: Callable[[via.ImageRecord], Path | None],
    share: float,
    seed: int,
    progress: Callable[[Sequence[via.LabelledImage]], Iterable[via.LabelledImage]] = iter,
) -> tuple[set[str], int, int]:
    """Divide the images of a file by their content.

    Args:
        find: returns the file of an image, or None.
        progress: wraps the images while their files are read.

    Returns:
        The keys of the first part's records; how many images are copies of others; and how many
        have no file, so that their name and size identify them instead.

    Raises:
        UserError: see `stratified_split` and `image_fingerprint`.
    """
    members: dict[str, list[str]] = defaultdict(list)
    labels: dict[str, set[Hashable]] = defaultdict(set)
    missing = 0
    for image in progress(labelled.images):
        path = find(image.record)
        missing += path is None
        key = image_fingerprint(image.record, path)
        members[key].append(image.record.key)
        labels[key] |= {instance.label for instance in image.instances}
    chosen = stratified_split(labels, share, seed)
    copies = len(labelled.images) - len(members)
    return {name for key in chosen for name in members[key]}, copies, missing


def classes_in_one_part(labelled: via.LabelledSet, chosen: Collection[str]) -> list[via.Problem]:
    """Warnings of classes that one part lacks: they are not learnt, or not evaluated.

    Args:
        chosen: the keys of the records of the first part, which is called train.
    """
    parts: dict[str, list[str]] = {name: [] for name in labelled.classes}
    for image in labelled.images:
        for name in {instance.label for instance in image.instances}:
            parts[name].append("train" if image.record.key in chosen else "val")
    return [
        via.Problem(
            "warning",
            f"the class '{name}' is in {places[0]} only, in {counted(len(places), 'image')}",
            f"annotate more images of it, or drop it with {argument('class_map', {name: None})}",
            labelled.file,
        )
        for name, places in parts.items()
        if len(set(places)) == 1
    ]
