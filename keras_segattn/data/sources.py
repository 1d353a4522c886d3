"""Data from the text of the command-line option `--data`, with one table of the allowed texts by task.

A text is `KIND:PLACES[:SPLIT]`, such as `voc:VOCdevkit/VOC2012:val`; places are paths or names.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keras_segattn.arguments import suggestion, unknown
from keras_segattn.data.blue_marble import BLUE_MARBLE_LABELS, blue_marble
from keras_segattn.data.captions import coco_captions, flickr_captions, karpathy_captions
from keras_segattn.data.cmudict import cmudict
from keras_segattn.data.coco import coco_instances
from keras_segattn.data.fashion_mnist import FASHION_MNIST_LABELS, fashion_mnist
from keras_segattn.data.folder import folder
from keras_segattn.data.instance_folder import instance_folder
from keras_segattn.data.labelled_pictures import LabelledPictures, class_folder, picture_folder
from keras_segattn.data.mnist import mnist_arrays
from keras_segattn.data.parallel_text import parallel_text
from keras_segattn.data.tfds_segmentation import tfds_segmentation
from keras_segattn.data.voc import voc

DIGITS = tuple(map(str, range(10)))
SPLIT = "[:SPLIT]"


@dataclass(frozen=True)
class Found:
    """Examples, and the facts that are known about them.

    Args:
        examples: examples in the form that the task's trainers take: a `tf.data.Dataset` of the readers for `segment`,
            `LabelledPictures` for `classify` and `generate`, `Instances` for `detect`, pairs of lists of tokens or
            `Captioned` pictures for `write`.
        count: number of examples.
        labels: names of the classes, in order, for detectors without the background.
        classes: number of classes, if it is known without names.
        channels: number of channels of the pictures; `None` if they can be read with three or, in grey, with one.
        size: (height, width) of the pictures, if all have the same.
        mirrors: whether pictures are as plausible mirrored left to right.
    """

    examples: Any
    count: int
    labels: tuple[str, ...] | None = None
    classes: int | None = None
    channels: int | None = None
    size: tuple[int, int] | None = None
    mirrors: bool = True


@dataclass(frozen=True)
class Form:
    """A form of `--data` texts, one per kind of data.

    Args:
        text: template of the text for users, such as `"voc:ROOT[:SPLIT]"`.
        open: function from the places, and the split if there is one, to the data.
        split: default split; `None` if the data have no splits.
        options: word that may follow the places → keyword arguments of `open`, such as `"raw"`.
        unit: name for the examples in messages.
        kind: kind of the input that a model must take to be trained on them (`fields.Field.kind`).
    """

    text: str
    open: Callable[..., Found]
    split: str | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unit: str = "pictures"
    kind: str = "picture"

    @property
    def name(self) -> str:
        """Kind of the data, with which the text begins."""
        return self.text.partition(":")[0].partition("[")[0]

    @property
    def usage(self) -> str:
        """Template of the text with its options."""
        places, mark, split = self.text.partition(SPLIT)
        return "".join([places, *(f"[,{option}]" for option in self.options), mark, split])

    @property
    def places(self) -> tuple[int, int]:
        """Least and greatest number of places that the text names."""
        template = self.text.removesuffix(SPLIT).partition(":")[2]
        most = template.count(",") + bool(template)
        return most - template.count("[,"), most

    def read(self, text: str) -> Found:
        """Open the data of a text that begins with this form's name.

        Raises:
            ValueError: if the text has another form.
        """
        rest = text.partition(":")[2]
        least, most = self.places
        split = self.split
        if split is not None:
            place, _, named = rest.partition(":") if most else ("", "", rest)
            rest, split = place, named or split
        given: dict[str, Any] = {}
        while (last := rest.rpartition(","))[-1] in self.options:
            given |= self.options[last[-1]]
            rest = last[0]
        places = rest.split(",") if most > 1 else [rest] if rest else []
        if not least <= len(places) <= most or not all(places):
            raise ValueError(f"cannot read data {text!r}; expected {self.usage}")
        return self.open(*places, **given) if split is None else self.open(*places, split, **given)


@dataclass(frozen=True)
class Source:
    """Data that a text names.

    Args:
        text: text of `--data`.
        form: form of the text.
        data: data that were found.
    """

    text: str
    form: Form
    data: Found

    def __str__(self) -> str:
        """Text for the facts of a model, such as `"folder:flowers (1,234 pictures)"`."""
        return f"{self.text} ({self.data.count:,} {self.form.unit})"


def source_forms(task: str, kind: str | None = None) -> list[str]:
    """List the forms of text that name data for a task.

    Args:
        task: name of the task.
        kind: kind of the input that the model takes; `None` for all.

    Raises:
        ValueError: if there are no data for the task.

    Example:
        >>> source_forms("detect")
        ['coco:ANNOTATIONS.json,IMAGES[,raw][,skip_broken]', 'instances:IMAGES,INSTANCES[,CLASSES][,raw]']
    """
    return [form.usage for form in _forms(task, kind)]


def open_source(text: str, task: str, kind: str | None = None) -> Source:
    """Open the data that a text names.

    Args:
        text: text such as `"folder:images,masks"`; see `source_forms`.
        task: name of the task of the model that is trained on the data.
        kind: kind of the input that the model takes, if the task has models of several: `"picture"` or `"tokens"`.

    Raises:
        ValueError: if the text names no data for the task, or the data are wrong.
        FileNotFoundError: if a file or folder is missing.

    Example:
        >>> open_source("folder:flowers", "classify").data.labels
        ('daisy', 'tulip')
    """
    forms = _forms(task, kind)
    name = text.partition(":")[0]
    found = [form for form in forms if form.name == name]
    if not found:
        expected = ", ".join(form.usage for form in forms)
        raise ValueError(
            f"unknown data {text!r} to {task}; expected one of {expected}{suggestion(name, [f.name for f in forms])}"
        )
    source = Source(text, found[0], found[0].read(text))
    if not source.data.count:
        raise ValueError(f"{text} holds no {source.form.unit}")
    return source


def _forms(task: str, kind: str | None) -> Sequence[Form]:
    if task not in SOURCES:
        raise ValueError(unknown("task to read data for", task, SOURCES))
    return [form for form in SOURCES[task] if kind in (None, form.kind)]


def _masks(dataset: Any, labels: tuple[str, ...] | None = None) -> Found:
    return Found(dataset, int(dataset.cardinality()), labels)


def _pictures(pictures: LabelledPictures, labels: tuple[str, ...] | None, **known: Any) -> Found:
    return Found(pictures, len(pictures.pictures), labels, **known)


def _mnist(place: str, split: str) -> Found:
    images, digits = mnist_arrays(split, place)
    return _pictures(LabelledPictures(images, digits), DIGITS, channels=1, size=(28, 28), mirrors=False)


def _fashion_mnist(place: str, split: str) -> Found:
    examples = fashion_mnist(split, folder=place)
    both = next(iter(examples.batch(int(examples.cardinality())).as_numpy_iterator()))
    pictures = LabelledPictures(both["image"], both["label"])
    return _pictures(pictures, FASHION_MNIST_LABELS, channels=1, size=(28, 28))


def _coco(annotations: str, images: str, **options: bool) -> Found:
    examples = coco_instances(annotations, images, **options)
    return Found(examples, len(examples), tuple(examples.class_names[label] for label in sorted(examples.class_names)))


def _instances(images: str, instances: str, classes: str | None = None, *, upright: bool = True) -> Found:
    examples = instance_folder(images, instances, classes, upright=upright)
    return Found(examples, len(examples), classes=None if classes else 1)


def _pairs(pairs: Sequence[Any]) -> Found:
    return Found(pairs, len(pairs))


def _pronunciations(place: str, split: str) -> Found:
    return _pairs([(list(word), said) for word, listed in cmudict(place, split) for said in listed])


# Annotations were made on raw pixels, whatever the EXIF orientations of the pictures say.
RAW: dict[str, dict[str, Any]] = {"raw": {"upright": False}}
TOKENS: dict[str, Any] = {"unit": "pairs of sentences", "kind": "tokens"}
CAPTIONS: dict[str, Any] = {"unit": "pictures with captions"}
MNIST = Form(f"mnist:SOURCE{SPLIT}", _mnist, "train")
FASHION_MNIST = Form(f"fashion_mnist:FOLDER{SPLIT}", _fashion_mnist, "train")
SOURCES: dict[str, list[Form]] = {
    "segment": [
        Form("folder:IMAGES,MASKS", lambda *places, **options: _masks(folder(*places, **options)), options=RAW),
        Form(f"voc:ROOT{SPLIT}", lambda *places, **options: _masks(voc(*places, **options)), "train", RAW),
        Form(f"tfds:NAME{SPLIT}", lambda name, split: _masks(tfds_segmentation(name, split)), "train"),
        Form(f"blue_marble{SPLIT}", lambda split: _masks(blue_marble(split), BLUE_MARBLE_LABELS), "train"),
    ],
    "classify": [Form("folder:ROOT", lambda root: _pictures(*class_folder(root))), MNIST, FASHION_MNIST],
    "detect": [
        Form("coco:ANNOTATIONS.json,IMAGES", _coco, options=RAW | {"skip_broken": {"skip_broken": True}}),
        Form("instances:IMAGES,INSTANCES[,CLASSES]", _instances, options=RAW),
    ],
    "write": [
        Form("text:SOURCE,TARGET", lambda source, target: _pairs(parallel_text(source, target)), **TOKENS),
        Form(f"cmudict:FILE{SPLIT}", _pronunciations, "train", unit="pronunciations", kind="tokens"),
        Form("coco:CAPTIONS.json,IMAGES", lambda *places: _pairs(coco_captions(*places)), **CAPTIONS),
        Form("flickr:TOKENS,IMAGES", lambda *places: _pairs(flickr_captions(*places)), **CAPTIONS),
        Form(
            f"karpathy:DATASET.json,IMAGES{SPLIT}",
            lambda *places: _pairs(karpathy_captions(*places)),
            "train",
            **CAPTIONS,
        ),
    ],
    "generate": [Form("folder:ROOT", lambda root: _pictures(*picture_folder(root))), MNIST, FASHION_MNIST],
}
