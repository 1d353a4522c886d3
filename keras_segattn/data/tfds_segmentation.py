"""Segmentation sets of TensorFlow Datasets."""

from os import PathLike

import tensorflow as tf

from keras_segattn.arguments import check_choice, is_integer
from keras_segattn.data.pictures import ELEMENT_SPEC


def tfds_segmentation(
    name: str,
    split: str,
    *,
    data_dir: str | PathLike[str] | None = None,
    label_offset: int = 0,
    download: bool = False,
) -> tf.data.Dataset:
    """Open any TFDS set with the features `image` and `segmentation_mask`. Nothing is downloaded unless asked for.

    Args:
        name: name of the set in `tfds.load`, such as `"oxford_iiit_pet"`.
        split: split in TFDS's form, such as `"train"` or `"test[:10%]"`.
        data_dir: folder in which the set was prepared; TFDS's default if `None`.
        label_offset: number added to every label except 255; `-1` for sets that count from 1 (oxford_iiit_pet).
        download: whether to download and prepare the set if it is not prepared yet.

    Returns:
        Data set with the features of `keras_segattn.data`; `file_name` is `"<split>_<number>"` if the set has none.

    Raises:
        FileNotFoundError: if the set is not prepared in `data_dir` and `download` is false.
        ValueError: if the set does not exist, lacks one of the two features, has them in another form than uint8
            with 3 and 1 channels, or if `label_offset` is no integer or `download` no bool.
        tf.errors.InvalidArgumentError: while iterating, if a label plus `label_offset` is not in 0..254; the message
            names the picture.

    Example:
        >>> pets = tfds_segmentation("oxford_iiit_pet", "train", label_offset=-1)
    """
    import tensorflow_datasets as tfds

    if not is_integer(label_offset):
        raise ValueError(f"label_offset must be an integer, received {label_offset!r}")
    check_choice("download", download, (True, False))
    try:
        builder = tfds.builder(name, data_dir=data_dir, try_gcs=False)
    except tfds.core.DatasetNotFoundError as error:
        raise ValueError(f"TensorFlow Datasets knows no set {name!r}") from error
    if download:
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    try:
        dataset = builder.as_dataset(split=split, shuffle_files=False)
    except AssertionError as error:  # TFDS asserts that the set is prepared
        raise FileNotFoundError(
            f"{name!r} is not prepared in {data_dir or 'the default data folder'}: "
            f"give download=True or run `tfds build {name}`"
        ) from error
    missing = {"image", "segmentation_mask"} - set(builder.info.features)
    if missing:
        raise ValueError(f"{name!r} lacks the features {sorted(missing)}; it has {sorted(builder.info.features)}")
    for key, expected in ELEMENT_SPEC.items():
        found = dataset.element_spec.get(key, expected)
        if not expected.is_compatible_with(found):
            raise ValueError(f"feature {key!r} of {name!r}: expected {expected}, found {found}")

    def features(index: tf.Tensor, example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        file_name = example.get("file_name", tf.strings.join([split, tf.strings.as_string(index)], "_"))
        mask = _shifted(example["segmentation_mask"], label_offset, file_name)
        found = {"image": example["image"], "segmentation_mask": mask, "file_name": file_name}
        return {key: tf.ensure_shape(value, ELEMENT_SPEC[key].shape) for key, value in found.items()}

    return dataset.enumerate().map(features, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _shifted(mask: tf.Tensor, offset: int, file_name: tf.Tensor) -> tf.Tensor:
    """Add `offset` to labels; 255 stays, and no other label may become 255 or wrap around."""
    if offset == 0:
        return mask
    void = mask == 255
    labels = tf.cast(mask, tf.int32)
    wrong = tf.logical_not(void) & ((labels + offset < 0) | (labels + offset > 254))
    message = ["mask of", file_name, "holds label", tf.reduce_max(tf.boolean_mask(labels, wrong)), "; plus", offset]
    with tf.control_dependencies([tf.Assert(~tf.reduce_any(wrong), [*message, "expected 0..254"])]):
        return tf.where(void, mask, tf.cast(labels + offset, mask.dtype))
