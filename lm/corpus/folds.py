"""Cross-validation: the documents that a corpus trains and validates on, dealt anew, so that each validates once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lm.corpus.documents import Document
from lm.errors import StudyError
from lm.text import identity, rank


def deal(splits: Mapping[str, Sequence[Document]], folds: int, fold: int) -> dict[str, list[Document]]:
    """The splits of one fold: fold ``fold`` of train and validation together validates, the others train.

    Documents keep their order, the training split's before the validation split's; the test split is as it was.
    Documents of one group (without one, of one name) or with the same text lie in one fold, and so do those that such
    documents join. What is joined has its first document's group. Groups are ranked by the SHA-256 of their name and
    dealt in turn, so that folds have as many groups as one another, give or take one, and depend on nothing but names
    and on which texts are the same.

    Raises :class:`StudyError` when there are fewer groups than folds.
    """
    documents = [*splits["train"], *splits["validation"]]
    groups = _join(documents)
    ranked = sorted(set(groups), key=rank)
    if len(ranked) < folds:
        raise StudyError(
            f"params.yaml: split.folds: {folds}: the corpus has {len(ranked)} documents (or groups of them) to train "
            f"and validate on; folds may be at most that"
        )
    validating = set(ranked[fold::folds])
    chosen = [group in validating for group in groups]
    return {
        "train": [each for each, validates in zip(documents, chosen, strict=True) if not validates],
        "validation": [each for each, validates in zip(documents, chosen, strict=True) if validates],
        "test": list(splits["test"]),
    }


def _join(documents: Sequence[Document]) -> list[str]:
    """Each document's group; of groups that have a text in common, or others with both, the one that comes first."""
    own = [each.group or each.name for each in documents]
    place = {group: number for number, group in enumerate(dict.fromkeys(own))}
    joined_to = {group: group for group in place}

    def first(group: str) -> str:
        while joined_to[group] != group:
            joined_to[group] = group = joined_to[joined_to[group]]
        return group

    first_with: dict[bytes, str] = {}
    for each, group in zip(documents, own, strict=True):
        one, other = sorted(
            (first(group), first(first_with.setdefault(identity(each.text), group))), key=place.__getitem__
        )
        joined_to[other] = one
    return [first(group) for group in own]
